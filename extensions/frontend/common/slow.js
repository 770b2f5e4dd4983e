/** A notice on the page: its updates come every few seconds, since something holds event streams back. */

import { byId, h, render } from "./dom.js";
import { W } from "./words.js";

const slow = new Set();

/**
 * Shows the notice as long as updates of one part of the page are slow.
 * @param {symbol} part
 * @param {boolean} isSlow
 */
export function showSlow(part, isSlow) {
  if (slow.has(part) === isSlow) return;
  if (isSlow) slow.add(part);
  else slow.delete(part);
  const place = byId("fg-slow");
  if (!place) return;
  render(place, slow.size
    ? h("div", { class: "container fg-page" }, h("p", { class: "fg-notice fg-notice-warn" }, W.slow, " ",
      h("a", { href: `${window.jhdata.base_url}check` }, W.toCheck)))
    : null);
}
