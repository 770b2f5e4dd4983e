/**
 * Keeps a page that the hub made as it is now: asks for it again, and changes only what is another. Without this script
 * the page is whole, and has a link to load it anew.
 */

import "./catalogue.js";

import { backoff } from "./api.js";
import { announce, byId, h, render } from "../common/dom.js";
import { W } from "../common/words.js";

const EVERY = 20_000; // ms; the link asks what is free as often while somebody looks

/** What is to be said of a change: [name, state] pairs, before and after. */
export function changes(before, after) {
  const known = new Map(before);
  return after.filter(([name, state]) => known.get(name) !== state).map(([name, state]) => W.changed(name, state));
}

const states = (place) => [...place.querySelectorAll("[data-name]")].map(
  (one) => [one.dataset.name, one.querySelector(".fg-status")?.textContent.trim() ?? ""]);

function begin(place) {
  const unheard = byId("fg-unheard");
  let timer = null;
  let tries = 0;
  let asking = false;

  const later = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(renew, ms);
  };

  async function page() {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!response.ok) return null;
    return new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-fresh]");
  }

  async function renew() {
    if (asking || document.visibilityState === "hidden") return;
    asking = true;
    const fresh = await page().catch(() => null); // whatever it was, it is asked again
    asking = false;
    if (fresh === null) {
      render(unheard, h("p", { class: "fg-notice fg-notice-warn" }, W.pageOld)); // until a page comes that has it not
      later(backoff(tries));
      tries += 1;
      return;
    }
    tries = 0;
    const before = states(place);
    render(place, ...fresh.childNodes);
    const told = changes(before, states(place));
    if (told.length) announce(told.join(". "));
    later(EVERY);
  }

  document.addEventListener("visibilitychange", renew);
  window.addEventListener("online", renew);
  later(EVERY);
}

const place = typeof document === "undefined" ? null : document.querySelector("[data-fresh]");
if (place) begin(place);
