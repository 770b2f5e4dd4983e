/** What every page does: its language can be changed, and who signs out in one tab is signed out in all. */

import "./catalogue.js";
import "./language_switch.js";
import "./signout.js";
