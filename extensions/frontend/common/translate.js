/**
 * The pages' language. Texts are English in the code; the page carries the catalogue of the reader's language
 * (`fg-texts`, from hub_config/locale). In a text, {name} stands for a part; a part may be anything but markup.
 */

const COOKIE = "fg-lang";
const YEAR = 365 * 24 * 3600;
const ENGLISH = { language: "en", texts: {}, plural: "" };

let catalogue = ENGLISH;

/** Takes a catalogue: {language, texts: {English: text or [form, form, ...]}, plural: the form for 0, 1, 2, ...}. */
export function use(given) {
  catalogue = given;
}

/** The language as Intl has it. English is European: 24 hours, day before month. */
export const locale = () => (catalogue.language === "en" ? "en-GB" : catalogue.language);

const fill = (text, parts) => text.replace(/\{(\w+)\}/g, (whole, name) => parts[name] ?? whole);

/** A text in the reader's language, with its parts filled in. */
export function t(text, parts = {}) {
  return fill(catalogue.texts[text] ?? text, parts);
}

/**
 * Which number's form a fraction takes, since a catalogue knows whole numbers only: where none counts as one (French),
 * that of its whole part; elsewhere that of two, which the Slavic and Baltic languages spell like their fractions.
 */
function counted(n) {
  if (Number.isInteger(n)) return n;
  return catalogue.plural[0] === catalogue.plural[1] ? Math.floor(n) : 2;
}

/** A text that depends on a number: tn(n, "{n} core", "{n} cores"). {n} is the number as the reader writes it. */
export function tn(n, one, many, parts = {}) {
  const forms = catalogue.texts[one];
  const whole = counted(n);
  const form = Number(catalogue.plural[whole < 100 ? whole : 100 + (whole % 100)]);
  const text = forms?.[form] ?? (n === 1 ? one : many);
  return fill(text, { n: new Intl.NumberFormat(locale()).format(n), ...parts });
}

/** Remembers a language for this browser; what asks the hub sends it along. */
function keep(language, path) {
  document.cookie = `${COOKIE}=${language}; path=${path}; max-age=${YEAR}; samesite=lax`;
}

function begin() {
  const texts = document.getElementById("fg-texts");
  const choice = document.getElementById("fg-language");
  if (texts) use(JSON.parse(texts.textContent));
  if (!choice) return;
  const here = new URL(location.href);
  if (here.searchParams.has("lang")) keep(catalogue.language, choice.dataset.path);
  choice.addEventListener("change", () => {
    keep(choice.value, choice.dataset.path);
    here.searchParams.delete("lang");
    location.replace(here);
  });
}

if (typeof document !== "undefined") begin();
