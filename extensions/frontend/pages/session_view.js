/** The elements for one session: steps, facts, history, and its end. */

import { h } from "../common/dom.js";
import { chargedText, costLine } from "../common/cost.js";
import { clock, gigabytes, hoursText, span } from "../common/format.js";
import {
  elapsed, endHead, endText, facts, isFailure, isLive, isOutOfMemory, larger, names, phase, stages,
} from "./session.js";
import { W } from "../common/words.js";

/** The steps to a running session, with a line that names the current step. */
export function stepper(session) {
  const steps = stages(session);
  const reached = steps.filter(({ is }) => is !== "todo").length;
  return h("div", { class: "fg-progress", key: "stepper" },
    h("p", { id: "fg-progress-text", class: "fg-progress-text" }, W.progress(reached, steps.length)),
    h("ol", { class: "fg-stepper", "aria-labelledby": "fg-progress-text" }, steps.map(({ stage, is }) =>
      h("li", { class: `fg-stage fg-stage-${is}`, "aria-current": is === "current" ? "step" : null },
        h("span", { class: "fg-stage-dot", "aria-hidden": "true" }),
        W.state[stage]))));
}

/** A sentence that may need the machine's name. */
const say = (words, machine) => (typeof words === "function" ? words(machine) : words ?? "");

export function headline(session, named) {
  const now = phase(session);
  return [
    h("h1", { key: "head" }, say(W.waitHead[now], named?.machine)),
    W.waitSub[now] ? h("p", { key: "sub", class: "fg-lead" }, W.waitSub[now]) : null,
  ];
}

/** Who has to act, as a sign and a text, so that colours are not needed. */
export function whose(words) {
  if (!words || !W.whose[words.whose]) return null;
  return h("p", { class: `fg-whose fg-whose-${words.whose}` },
    h("span", { class: "fg-whose-sign", "aria-hidden": "true" }), W.whose[words.whose]);
}

const flat = (text) => text.split(/\s+/).join(" ").trim();

/** The scheduler's own message, unless `what` contains it. */
const beside = (words) => (words.scheduler && !flat(words.what).includes(flat(words.scheduler)) ? words.scheduler : "");

/** An explanation {what, whose, do, scheduler} as a box. `from`: the label for a message of somebody else in it. */
export function wordsBox(words, kind = "", from = W.schedulerReason) {
  return h("div", { class: `fg-notice ${kind}`, key: "words" },
    h("p", {}, h("strong", {}, words.what)),
    whose(words),
    words.do ? h("p", {}, words.do) : null,
    beside(words) ? h("p", { class: "fg-said" }, `${from}: `, h("code", {}, beside(words))) : null);
}

export function reasonBox(session) {
  if (session.state === "unreachable") {
    return session.waits_for ? wordsBox(session.waits_for, "fg-notice-warn", W.details) : null;
  }
  if (session.remark) return wordsBox(session.remark, "fg-notice-warn", W.details);
  return session.waits_for && ["pending", "starting"].includes(session.state) ? wordsBox(session.waits_for) : null;
}

export function factList(session, named, now) {
  const rows = facts(session, named, now);
  const counting = session.state === "pending" || session.state === "starting";
  return h("dl", { class: "fg-facts", key: "facts" },
    counting ? h("div", { key: "elapsed" },
      h("dt", {}, session.state === "pending" ? W.facts.waiting : W.facts.starting),
      h("dd", { class: "fg-stopwatch" }, span(elapsed(session, now)))) : null,
    rows.map(([label, text]) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, text))));
}

export function story(session, now, open) {
  if (!session.log.length) return null;
  return h("details", { class: "fg-history", key: "history", open },
    h("summary", {}, isLive(session) ? W.soFar : W.history),
    h("ol", {}, session.log.map((line, index) =>
      h("li", { key: `line-${index}` }, h("time", { datetime: line.at }, clock(line.at, now)), h("span", {}, line.text)))));
}

/** The name of the session and its cost, as far as the page knows its factory. */
function about(session, factories) {
  const named = names(session, factories ?? []);
  const charged = chargedText(session);
  const rows = [
    [W.aboutSession.session, W.server(session.server)],
    [W.aboutSession.factory, named.machine],
    [W.aboutSession.size, W.sizeFor(named.size, hoursText(session.choice.hours))],
    [W.aboutSession.environment, named.environment],
    charged ? [W.aboutSession.cost, charged] : null,
  ].filter((row) => row !== null);
  return h("dl", { class: "fg-facts", key: "about" },
    rows.map(([label, text]) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, text))));
}

/** Help for a session that ran out of memory: a larger size with its cost, or the note that there is none. */
function memoryAdvice(session, factories) {
  if (!isOutOfMemory(session) || !factories?.length) return null;
  const found = larger(session, factories);
  if (!found) return h("p", { key: "advice" }, W.sameAgain);
  const { factory, view, choice } = found;
  return h("p", { key: "advice" },
    `${W.largerHas(view.gpu_label, gigabytes(view.size.memory_gb))} ${costLine(factory, view, choice.hours)}`);
}

/** The end of a session: its name, the cause, the scheduler's message, the end of its log, and what to do. */
export function ending(session, now, buttons, { heading = true, factories = null } = {}) {
  const failed = isFailure(session);
  return [
    heading ? h("h1", { key: "head" }, endHead(session)) : null,
    wordsBox(session.end ?? { what: endText(session) }, failed ? "fg-notice-bad" : ""),
    heading ? about(session, factories) : null,
    memoryAdvice(session, factories),
    session.log_tail.length ? h("details", { class: "fg-history", key: "tail", open: failed },
      h("summary", {}, W.logTail),
      h("pre", { class: "fg-log", tabindex: "0", role: "region", "aria-label": W.logTail }, session.log_tail.join("\n"))) : null,
    story(session, now, false),
    buttons ? h("div", { class: "fg-buttons", key: "buttons" }, buttons) : null,
  ];
}
