/** Home's elements: cards of live sessions, a list of ended ones, names that the hub keeps. */

import { h } from "../common/dom.js";
import { clock, hoursText, secondsBetween, span } from "../common/format.js";
import { chargedText } from "../common/cost.js";
import { endText, idling, isFailure, isOutOfMemory, larger, names, standing, used } from "./session.js";
import { ending, whose, wordsBox } from "./session_view.js";
import { W } from "../common/words.js";

const DOT = { pending: "wait", starting: "wait", running: "free", ending: "wait", unreachable: "down" };

const link = (href, text, kind) => h("a", { href, class: `btn btn-sm ${kind}` }, text);

function button(text, kind, onclick, more = {}) {
  return h("button", { type: "button", class: `btn btn-sm ${kind}`, onclick, ...more }, text);
}

/**
 * A card of one live session. `on` has stop(session), other(session), more(session); `busy` and `asking`: sets of
 * session ids that are being stopped, and for which an extension was requested; `workshop`: the title of its workshop.
 */
export function sessionCard(session, factories, now, to, on, busy, asking, trouble, workshop = "") {
  const named = names(session, factories);
  const stopping = busy.has(session.id) || session.state === "ending" || session.wish === "stop";
  const stop = stopping ? W.stopping : session.state === "pending" ? W.cancel : W.stop;
  const share = used(session, now);
  const idle = idling(session, now);
  const id = `session-${session.id}`;
  return h("article", { class: "fg-session", key: session.id, "aria-labelledby": id },
    h("header", { class: "fg-session-head" },
      h("h2", { id }, W.server(session.server)),
      h("span", { class: `fg-status fg-status-${DOT[session.state]}` },
        h("span", { class: "fg-dot", "aria-hidden": "true" }), W.state[session.state])),
    h("p", { class: "fg-session-what" }, h("strong", {}, named.machine), ` · ${named.size}`,
      h("span", { class: "fg-quiet fg-line" }, named.environment),
      workshop ? h("span", { class: "fg-line" }, W.ofWorkshop(workshop)) : null),
    session.state === "running" && share !== null
      ? h("div", {
        class: "fg-bar", role: "progressbar", "aria-labelledby": `${id} ${id}-line`, "aria-valuemin": "0",
        "aria-valuemax": "100", "aria-valuenow": String(Math.round(share * 100)),
      }, h("span", { style: `width:${Math.round(share * 100)}%` }))
      : null,
    h("p", { id: `${id}-line`, class: "fg-session-line" }, standing(session, now)),
    ["pending", "starting", "unreachable"].includes(session.state) ? whose(session.waits_for) : null,
    session.state === "pending" && session.expected_start && session.waits_for
      ? h("p", { class: "fg-quiet" }, `${session.waits_for.what} ${session.waits_for.do ?? ""}`.trim()) : null,
    session.state === "unreachable" ? h("p", { class: "fg-quiet" }, session.waits_for?.do || W.unreachableDo) : null,
    session.remark && session.state !== "unreachable" ? wordsBox(session.remark, "fg-notice-warn", W.details) : null,
    idle ? h("p", { class: "fg-quiet" }, idle) : null,
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null,
    h("div", { class: "fg-buttons" },
      session.state === "running"
        ? link(to.open(session.server), W.open, "fg-primary")
        : ["pending", "starting"].includes(session.state) ? link(to.pending(session.server), W.view, "fg-primary") : null,
      button(stop, "btn-outline-danger", () => on.stop(session), {
        key: `stop-${session.id}`, "aria-disabled": String(stopping), "data-stop": session.server,
        "aria-label": W.named(stop, W.server(session.server)),
      }),
      stopping || !(session.extend_hours > 0) ? null : button(asking.has(session.id) ? W.moreAsked : W.more,
        "btn-outline-contrast", () => on.more(session), {
          key: `extend-${session.id}`, "aria-disabled": String(asking.has(session.id)), "data-more": session.server,
          "aria-label": W.named(W.more, W.server(session.server)),
        }),
      stopping ? null : button(W.otherSize, "btn-outline-contrast", () => on.other(session), { key: `other-${session.id}` })));
}

/** A session that only the hub knows at the moment: {name, ready}. */
export function hubCard(server, to, on) {
  return h("article", { class: "fg-session", key: `hub-${server.name}` },
    h("header", { class: "fg-session-head" }, h("h2", {}, W.server(server.name))),
    h("p", { class: "fg-session-line" }, W.hubOnly),
    h("div", { class: "fg-buttons" },
      link(server.ready ? to.open(server.name) : to.pending(server.name), server.ready ? W.open : W.view, "fg-primary"),
      button(W.stop, "btn-outline-danger", () => on.stopServer(server.name), { "data-stop": server.name })));
}

/** An ended session. `on` has again(session); `starting`: it is being started again; `trouble`: why that failed. */
export function endedRow(session, factories, now, to, on, starting, trouble) {
  const named = names(session, factories);
  const ran = session.started ? span(secondsBetween(session.started, session.ended) ?? 0) : "";
  const failed = isFailure(session);
  const charged = chargedText(session);
  const more = larger(session, factories);
  const again = isOutOfMemory(session) ? W.startSame : W.again;
  return h("li", { class: "fg-ended", key: session.id },
    h("div", { class: "fg-ended-main" },
      h("p", {}, h("strong", {}, W.server(session.server)), ` · ${named.machine} · ${named.size}, ` +
        hoursText(session.choice.hours)),
      h("p", { class: failed ? "fg-bad" : "fg-quiet" },
        `${endText(session)} · ${W.endedAt(clock(session.ended, now), ran)}`,
        charged ? ` · ${session.started ? W.charged(charged) : charged}` : ""),
      h("details", { class: "fg-history", key: `more-${session.id}` }, h("summary", {}, W.details),
        ending(session, now, null, { heading: false, factories })),
      trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null),
    h("div", { class: "fg-buttons" },
      more ? button(starting ? W.starting : W.startLarger(more.view.gpu_label), "fg-primary",
        () => on.again({ ...session, choice: more.choice }), { key: `larger-${session.id}`, "aria-disabled": String(starting) }) : null,
      button(starting ? W.starting : again, "btn-outline-contrast", () => on.again(session), {
        key: `again-${session.id}`, "aria-disabled": String(starting), "data-again": session.server,
        "aria-label": W.named(again, `${W.server(session.server)}, ${named.machine}`),
      }),
      link(`${to.spawn(session.server)}#again=${session.id}`, W.change, "btn-outline-contrast")));
}

export function nameRow(name, to, on) {
  return h("li", { class: "fg-ended", key: `name-${name}` },
    h("p", {}, name),
    h("span", { class: "fg-buttons" },
      link(to.spawn(name), W.start, "btn-outline-contrast"),
      button(W.remove, "btn-outline-contrast", () => on.remove(name), { "aria-label": W.named(W.remove, name) })));
}
