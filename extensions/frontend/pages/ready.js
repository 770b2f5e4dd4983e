/** The requirements for a start that a person meets: projects, and an account at each of their factories. */

import { h } from "../common/dom.js";
import { W } from "../common/words.js";

/** An explanation for a person who can start nothing: the reason and the advice. */
export function nothingBox(ready) {
  const words = ready?.nothing;
  return words ? h("p", { class: "fg-notice fg-notice-warn", key: "nothing" }, words.what, " ", words.do) : null;
}

/** Why nothing can be started now; if rules must be accepted, with a link to them and back. */
export function obstacleBox(text, factory, base) {
  const next = encodeURIComponent(location.pathname);
  const way = factory?.rules_open?.what === text
    ? [" ", h("a", { href: `${base}checklist?next=${next}` }, W.toChecklist)]
    : null;
  return h("p", { class: "fg-notice fg-notice-warn" }, text, way);
}

/**
 * A line for each project and factory, with a link to the project's page. `ready`: ReadyView JSON; `base`: the hub's
 * URL.
 */
export function readyList(ready, base) {
  return ready.accounts.map(({ project, machine, account }, index) =>
    h("li", { key: `ready-${index}` },
      h("a", { href: `${base}project/${encodeURIComponent(project)}` }, W.projectAt(project, machine)),
      h("span", { class: "fg-card-line" }, W.account[account])));
}

/** Whether a requirement is missing that the person should see. */
export const lacks = (ready) => ready.accounts.some((one) => one.account === "missing");
