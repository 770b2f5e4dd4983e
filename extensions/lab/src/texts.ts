/** The extension's language: English texts are the keys, and the notebook server has the catalogue. */

/** `plural`: which form is for 0, 1, 2, ..., as digits. */
export interface Catalogue {
  language: string;
  texts: Record<string, string | string[]>;
  plural: string;
}

export const ENGLISH: Catalogue = { language: "en", texts: {}, plural: "" };

/** A catalogue as it was told; English where it is none. */
export function readCatalogue(told: unknown): Catalogue {
  if (typeof told !== "object" || told === null) return ENGLISH;
  const { language, texts, plural } = told as Record<string, unknown>;
  if (typeof language !== "string" || typeof texts !== "object" || texts === null || typeof plural !== "string") return ENGLISH;
  const whole = Object.entries(texts).filter(([, text]) => [text].flat().every((form) => typeof form === "string"));
  return { language, texts: Object.fromEntries(whole), plural };
}

export class Texts {
  constructor(private readonly catalogue: Catalogue) {}

  get language(): string {
    return this.catalogue.language;
  }

  /** A text with its parts, `{name}`, filled in. */
  t(text: string, parts: Record<string, string> = {}): string {
    const found = this.catalogue.texts[text];
    return fill(typeof found === "string" ? found : text, parts);
  }

  /** The same of a text that depends on a number. */
  tn(n: number, one: string, many: string, parts: Record<string, string>): string {
    const forms = this.catalogue.texts[one];
    const form = Number(this.catalogue.plural[n < 100 ? n : 100 + (n % 100)]);
    const text = (Array.isArray(forms) ? forms[form] : undefined) ?? (n === 1 ? one : many);
    return fill(text, parts);
  }
}

function fill(text: string, parts: Record<string, string>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => parts[name] ?? whole);
}
