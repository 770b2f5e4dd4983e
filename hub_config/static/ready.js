/** What a person has of what they need before they can begin: projects, and an account at each factory of theirs. */

import { h } from "./dom.js";
import { W } from "./words.js";

/** Words for somebody who may begin nothing: what it is, and what to do. */
export function nothingBox(ready) {
  const words = ready?.nothing;
  return words ? h("p", { class: "fg-notice fg-notice-warn", key: "nothing" }, words.what, " ", words.do) : null;
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
