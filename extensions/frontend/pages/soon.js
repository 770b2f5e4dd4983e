/** Sessions that will soon end by themselves: their notices, and which of these were announced. */

import { follow } from "./api.js";
import { announce, byId, h, render } from "../common/dom.js";
import { clock } from "../common/format.js";
import { tell } from "./notify.js";
import { W } from "../common/words.js";

/** The sessions that end soon, the first one first. */
export function ending(sessions) {
  const near = sessions.filter((one) => one.notice && one.state === "running");
  return near.sort((a, b) => Date.parse(a.notice.at) - Date.parse(b.notice.at));
}

/** "Main session ends at 14:20: its time is over then. Save your work." */
export function soonText(session, now) {
  return W.soon[session.notice.kind](W.server(session.server), clock(session.notice.at, now));
}

/** The new notices; each step of a notice is new only once. `told`: the set of announced notices, which is extended. */
export function newly(sessions, told) {
  return ending(sessions).filter((one) => {
    const step = `${one.id} ${one.notice.kind} ${one.notice.minutes} ${one.notice.at}`;
    const fresh = !told.has(step);
    told.add(step);
    return fresh;
  });
}

/** Announces new notices to screen readers and, if the person allowed it and looks elsewhere, by a notification. */
export function say(sessions, told, now) {
  const fresh = newly(sessions, told).map((one) => soonText(one, now));
  if (!fresh.length) return;
  announce(fresh.join(" "));
  if (document.visibilityState === "hidden") tell(W.soonTitle, fresh.join("\n"));
}

/** The notices that stay on the page as long as they apply. */
export function soonBoxes(sessions, now, to) {
  return ending(sessions).map((one) =>
    h("p", { class: "fg-notice fg-notice-warn", key: `soon-${one.id}` },
      h("strong", {}, soonText(one, now)), " ", h("a", { href: to.open(one.server) }, W.open)));
}

/** Shows the notices in `#fg-soon` of another page. */
export function watch(to) {
  const told = new Set();
  let sessions = [];
  const draw = () => render(byId("fg-soon"), soonBoxes(sessions, Date.now(), to));
  follow({
    url: to.sessions, events: to.sessionsEvents, event: "sessions",
    onData: (found) => {
      sessions = found;
      say(sessions, told, Date.now());
      draw();
    },
  });
}
