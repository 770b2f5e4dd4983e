/** Buttons of the extension's own elements. */

import { h } from "../../frontend/common/dom.js";

/** A button whose action may be asynchronous. */
export function button(text: string, act: () => Promise<unknown>): HTMLButtonElement {
  return h("button", { type: "button", class: "fg-Button", onclick: () => void act() }, text);
}
