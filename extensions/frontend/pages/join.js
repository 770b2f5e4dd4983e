/**
 * The pages for joining a workshop. They work without this script, which fills in the code of a link, sends a form only
 * once, and shows times also in the browser's time zone.
 */

import "./catalogue.js";

import { codeIn } from "./join_code.js";
import { sendOnce } from "./once.js";
import { byId, h } from "../common/dom.js";
import { dayAndTime } from "../common/format.js";
import { W } from "../common/words.js";

/** Fills in the link's code, and removes it from the address, so that it stays in no history. */
function takeCode() {
  const code = codeIn(location.hash);
  if (!code) return;
  history.replaceState(null, "", location.pathname + location.search);
  const field = byId("code");
  if (!(field instanceof HTMLInputElement) || field.value) return;
  field.value = code;
  const next = byId("mail") ?? field.form?.querySelector("button");
  if (next instanceof HTMLElement) next.focus();
}

/** Adds the browser's own time to a time in the workshop's zone. */
function showHere(time) {
  time.after(" ", h("span", { class: "fg-quiet" }, W.yourTime(dayAndTime(time.dateTime))));
}

function begin() {
  takeCode();
  for (const form of document.querySelectorAll("form[data-once]")) sendOnce(form, window);
  const zone = byId("fg-join")?.dataset.zone;
  if (!zone || zone === Intl.DateTimeFormat().resolvedOptions().timeZone) return;
  for (const time of document.querySelectorAll("#fg-join time")) showHere(time);
}

begin();
