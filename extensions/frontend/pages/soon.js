/** Sessions that end by themselves soon: what is said of them, and to whom it was said already. */

import { follow } from "./api.js";
import { announce, byId, h, render } from "../common/dom.js";
import { clock } from "../common/format.js";
import { tell } from "./notify.js";
import { W } from "../common/words.js";

/** The sessions whose end is near, the nearest first. */
export function ending(sessions) {
  const near = sessions.filter((one) => one.notice && one.state === "running");
  return near.sort((a, b) => Date.parse(a.notice.at) - Date.parse(b.notice.at));
}

/** "Main session ends at 14:20: its time is over then. Save your work." */
export function soonText(session, now) {
  return W.soon[session.notice.kind](W.server(session.server), clock(session.notice.at, now));
}

/** What is new to say: a notice is said once at each of its steps. `told`: a set of what was said, added to. */
export function newly(sessions, told) {
  return ending(sessions).filter((one) => {
    const step = `${one.id} ${one.notice.kind} ${one.notice.minutes} ${one.notice.at}`;
    const fresh = !told.has(step);
    told.add(step);
    return fresh;
  });
}

/** Says what is new to screen readers and, to who allowed it and looks elsewhere, by a notification. */
export function say(sessions, told, now) {
  const fresh = newly(sessions, told).map((one) => soonText(one, now));
  if (!fresh.length) return;
  announce(fresh.join(" "));
  if (document.visibilityState === "hidden") tell(W.soonTitle, fresh.join("\n"));
}

/** The notices that stay on the page while they hold. */
export function soonBoxes(sessions, now, to) {
  return ending(sessions).map((one) =>
    h("p", { class: "fg-notice fg-notice-warn", key: `soon-${one.id}` },
      h("strong", {}, soonText(one, now)), " ", h("a", { href: to.open(one.server) }, W.open)));
}

/** Shows them in `#fg-soon` of a page that is about something else. */
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
