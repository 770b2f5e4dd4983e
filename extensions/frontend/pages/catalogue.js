/**
 * Sets the page's catalogue (`fg-texts`) for the scripts. Each page's script imports this first, since texts are read
 * on import.
 */

import { readCatalogue, use } from "../common/translate.js";

const texts = document.getElementById("fg-texts")?.textContent;
if (texts) use(readCatalogue(JSON.parse(texts)));
