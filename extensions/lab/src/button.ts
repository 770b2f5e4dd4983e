/** Buttons of the extension's own parts. */

import { h } from "../../frontend/common/dom.js";

/** A button; what it does may take its time. */
export function button(text: string, act: () => Promise<unknown>): HTMLButtonElement {
  return h("button", { type: "button", class: "fg-Button", onclick: () => void act() }, text);
}
