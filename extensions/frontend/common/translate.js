/**
 * Translations for pages, widgets and JupyterLab. The code has English texts; a catalogue (hub_config/locale) has
 * translations. {name} in a text is replaced by a part, which may be any text but no markup.
 */

/**
 * `texts`: by English text, the translation or its plural forms; `plural`: the form for 0, 1, 2, ... as digits.
 * @typedef {{language: string, texts: Record<string, string | string[]>, plural: string}} Catalogue
 */

/** @typedef {Record<string, unknown>} Parts */

/** @type {Catalogue} */
export const ENGLISH = { language: "en", texts: {}, plural: "" };

let catalogue = ENGLISH;

/**
 * Returns a catalogue as it was received; English if it is none.
 * @param {unknown} given
 * @returns {Catalogue}
 */
export function readCatalogue(given) {
  if (typeof given !== "object" || given === null) return ENGLISH;
  const { language, texts, plural } = /** @type {Record<string, unknown>} */ (given);
  if (typeof language !== "string" || typeof texts !== "object" || texts === null || typeof plural !== "string") return ENGLISH;
  const whole = Object.entries(texts).filter(([, text]) => [text].flat().every((form) => typeof form === "string"));
  return { language, texts: Object.fromEntries(whole), plural };
}

/**
 * Sets the catalogue of all texts that are read from now on.
 * @param {Catalogue} given
 */
export function use(given) {
  catalogue = given;
}

/** The language as in `<html lang>`. */
export const language = () => catalogue.language;

/** The locale for Intl. English uses European formats: 24 hours, day before month. */
export const locale = () => (catalogue.language === "en" ? "en-GB" : catalogue.language);

/**
 * @param {string} text
 * @param {Parts} parts
 */
const fill = (text, parts) => text.replace(/\{(\w+)\}/g, (whole, name) => String(parts[name] ?? whole));

/**
 * A text in the reader's language, with its parts filled in.
 * @param {string} text
 * @param {Parts} [parts]
 */
export function t(text, parts = {}) {
  const found = catalogue.texts[text];
  return fill(typeof found === "string" ? found : text, parts);
}

/**
 * The number whose plural form a fraction takes, since a catalogue has forms for whole numbers only: where 0 has the
 * form of 1 (French), its whole part; otherwise 2, whose form Slavic and Baltic languages use for fractions.
 * @param {number} n
 */
function counted(n) {
  if (Number.isInteger(n)) return n;
  return catalogue.plural[0] === catalogue.plural[1] ? Math.floor(n) : 2;
}

/**
 * A text that depends on a number: tn(n, "{n} core", "{n} cores"). {n} is the number in the reader's format.
 * @param {number} n
 * @param {string} one
 * @param {string} many
 * @param {Parts} [parts]
 */
export function tn(n, one, many, parts = {}) {
  const forms = catalogue.texts[one];
  const whole = counted(n);
  const form = Number(catalogue.plural[whole < 100 ? whole : 100 + (whole % 100)]);
  const text = (Array.isArray(forms) ? forms[form] : undefined) ?? (n === 1 ? one : many);
  return fill(text, { n: new Intl.NumberFormat(locale()).format(n), ...parts });
}
