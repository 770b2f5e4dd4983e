/**
 * Sets the catalogue for the connection check: the texts of all pages, and those of this page, which no other page
 * loads.
 */

import { readCatalogue, use } from "../common/translate.js";

const read = (id) => readCatalogue(JSON.parse(document.getElementById(id)?.textContent ?? "null"));

if (typeof document !== "undefined") {
  const all = read("fg-texts");
  use({ ...all, texts: { ...all.texts, ...read("fg-check-texts").texts } });
}
