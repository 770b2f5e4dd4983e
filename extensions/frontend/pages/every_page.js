/** Runs on every page: the language switch, and signing out in all tabs at once. */

import "./catalogue.js";
import "./language_switch.js";
import "./signout.js";
