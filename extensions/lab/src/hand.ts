/** What a person sends with a raised hand: a question, and a cell's code and error as plain text. */

export const MOST_QUESTION = 500; // characters
export const MOST_SENT = 16_000; // characters of a cell's code, and of its error
export const LOOK_MINUTES = 30;

/** As the notebook server takes it. */
export interface Sent {
  question: string;
  file: string;
  source: string;
  error: string;
}

// Sequences that a terminal would execute; the gateway has the same.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\u0007\u001b]{0,256}(?:\u0007|\u001b\\)|[@-Z\\^_])/g;
// Control characters but line ends, and marks that are not seen or change the direction of text.
// eslint-disable-next-line no-control-regex
const BAD = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Plain text without colours and control characters, at most `MOST_SENT` characters. */
export function plain(text: string): string {
  return text
    .slice(0, 4 * MOST_SENT).replace(/\r\n/g, "\n").replace(/\t/g, "    ").replace(ESCAPES, "").replace(/\r/g, " ")
    .replace(BAD, "\ufffd").trimEnd().slice(0, MOST_SENT);
}

/** The error in a cell's outputs, "" if there is none. Of a long one the end is kept, which says what is wrong. */
export function errorOf(outputs: unknown): string {
  if (!Array.isArray(outputs)) return "";
  for (const output of outputs as unknown[]) {
    if (typeof output !== "object" || output === null) continue;
    const { output_type: kind, traceback } = output as { output_type?: unknown; traceback?: unknown };
    if (kind !== "error" || !Array.isArray(traceback)) continue;
    const lines = (traceback as unknown[]).filter((line) => typeof line === "string").join("\n");
    return plain(lines.replace(ESCAPES, "").slice(-MOST_SENT)).replace(/^\n+/, "");
  }
  return "";
}
