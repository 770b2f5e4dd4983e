/**
 * Updates a page that the hub rendered: requests it again, and changes only what differs. Without this script the page
 * is complete, and has a link to reload it.
 */

import "./catalogue.js";

import { backoff } from "./api.js";
import { announce, byId, h, render } from "../common/dom.js";
import { W } from "../common/words.js";

const EVERY = 20_000; // ms; the link asks for free resources as often while somebody looks

/** Texts to announce for a change: [name, state] pairs, before and after. */
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
  let signedOut = false;

  const later = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(renew, ms);
  };

  async function page() {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!response.ok) return null;
    const found = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-fresh]");
    signedOut = found === null; // the hub has redirected to its login page
    return found;
  }

  async function renew() {
    if (asking || document.visibilityState === "hidden") return;
    asking = true;
    signedOut = false;
    const fresh = await page().catch(() => null); // any error: the next request may succeed
    asking = false;
    if (fresh === null) {
      // until a newer page without this notice arrives
      render(unheard, h("p", { class: "fg-notice fg-notice-warn" }, signedOut ? W.signedOut : W.pageOld));
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
