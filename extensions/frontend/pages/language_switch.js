/** The language switch in the page's head. */

import { language } from "../common/translate.js";

const COOKIE = "fg-lang";
const YEAR = 365 * 24 * 3600;

/** Stores the language in a cookie of this browser. */
function keep(language, path) {
  document.cookie = `${COOKIE}=${language}; path=${path}; max-age=${YEAR}; samesite=lax`;
}

function begin(choice) {
  const { path } = choice.dataset;
  const here = new URL(location.href);
  if (here.searchParams.has("lang")) keep(language(), path);
  choice.addEventListener("change", () => {
    keep(choice.value, path);
    here.searchParams.delete("lang");
    location.replace(here);
  });
}

const choice = document.getElementById("fg-language");
if (choice) begin(choice);
