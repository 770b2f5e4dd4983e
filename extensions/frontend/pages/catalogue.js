/** Gives the scripts the page's catalogue (`fg-texts`). Each page's script imports this first: texts are read on import. */

import { readCatalogue, use } from "../common/translate.js";

const texts = document.getElementById("fg-texts")?.textContent;
if (texts) use(readCatalogue(JSON.parse(texts)));
