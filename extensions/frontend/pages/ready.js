/** What a person has of what they need before they can begin: projects, and an account at each factory of theirs. */

import { h } from "../common/dom.js";
import { W } from "../common/words.js";

/** Words for somebody who may begin nothing: what it is, and what to do. */
export function nothingBox(ready) {
  const words = ready?.nothing;
  return words ? h("p", { class: "fg-notice fg-notice-warn", key: "nothing" }, words.what, " ", words.do) : null;
}

/** Why nothing can be started just now; where rules wait to be accepted, with the way to them and back here. */
export function obstacleBox(text, factory, base) {
  const next = encodeURIComponent(location.pathname);
  const way = factory?.rules_open?.what === text
    ? [" ", h("a", { href: `${base}checklist?next=${next}` }, W.toChecklist)]
    : null;
  return h("p", { class: "fg-notice fg-notice-warn" }, text, way);
}

/** A line for each project and factory, that leads to the project's page. `ready`: ReadyView JSON; `base`: the hub's. */
export function readyList(ready, base) {
  return ready.accounts.map(({ project, machine, account }, index) =>
    h("li", { key: `ready-${index}` },
      h("a", { href: `${base}project/${encodeURIComponent(project)}` }, W.projectAt(project, machine)),
      h("span", { class: "fg-card-line" }, W.account[account])));
}

/** Whether something is missing that the person should see without asking. */
export const lacks = (ready) => ready.accounts.some((one) => one.account === "missing");
