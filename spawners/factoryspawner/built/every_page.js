// common/translate.js
var ENGLISH = { language: "en", texts: {}, plural: "" };
var catalogue = ENGLISH;
function readCatalogue(given) {
  if (typeof given !== "object" || given === null) return ENGLISH;
  const { language: language2, texts: texts2, plural } = (
    /** @type {Record<string, unknown>} */
    given
  );
  if (typeof language2 !== "string" || typeof texts2 !== "object" || texts2 === null || typeof plural !== "string") return ENGLISH;
  const whole = Object.entries(texts2).filter(([, text]) => [text].flat().every((form) => typeof form === "string"));
  return { language: language2, texts: Object.fromEntries(whole), plural };
}
function use(given) {
  catalogue = given;
}
var language = () => catalogue.language;

// pages/catalogue.js
var texts = document.getElementById("fg-texts")?.textContent;
if (texts) use(readCatalogue(JSON.parse(texts)));

// pages/language_switch.js
var COOKIE = "fg-lang";
var YEAR = 365 * 24 * 3600;
function keep(language2, path) {
  document.cookie = `${COOKIE}=${language2}; path=${path}; max-age=${YEAR}; samesite=lax`;
}
function begin(choice2) {
  const { path } = choice2.dataset;
  const here = new URL(location.href);
  if (here.searchParams.has("lang")) keep(language(), path);
  choice2.addEventListener("change", () => {
    keep(choice2.value, path);
    here.searchParams.delete("lang");
    location.replace(here);
  });
}
var choice = document.getElementById("fg-language");
if (choice) begin(choice);

// pages/signout.js
var KEY = "fg-signed-out";
function tell() {
  try {
    localStorage.setItem(KEY, String(Date.now()));
  } catch {
  }
}
function begin2() {
  if (document.getElementById("fg-sign-in")) tell();
  if (!document.getElementById("logout")) return;
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) location.reload();
  });
}
begin2();
