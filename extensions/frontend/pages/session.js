/** Pure functions of Session JSON: its state, its texts, and the session of a server. */

import { roomier } from "../common/choose.js";
import { clock, hoursText, msOf, secondsBetween, span, toMs } from "../common/format.js";
import { W } from "../common/words.js";

export const LIVE = ["pending", "starting", "running", "ending", "unreachable"];
const IDLE_AFTER = 5 * 60; // seconds without activity after which the page shows it

export const isLive = (session) => LIVE.includes(session.state);

/** The live session of a server, else the one that ended last; null if there is none. */
export function ofServer(sessions, user, server) {
  const mine = sessions.filter((one) => one.server === server && (!user || one.user === user));
  const latest = (a, b) => (toMs(b.ended ?? b.created) ?? 0) - (toMs(a.ended ?? a.created) ?? 0);
  return mine.find(isLive) ?? [...mine].sort(latest)[0] ?? null;
}

/** The names for the ids of a choice, if the factories are known: {machine, size, environment}. */
export function names(session, factories = []) {
  const factory = factories.find((one) => one.id === session.choice.factory);
  const view = factory?.sizes.find((one) => one.size.id === session.choice.size);
  const environment = factory?.environments.find((one) => one.id === session.choice.environment);
  return {
    machine: factory?.site.machine ?? session.choice.factory,
    size: view?.gpu_label ?? session.choice.size,
    environment: environment?.title ?? session.choice.environment,
  };
}

/**
 * The steps to a running session with their states: done, current, todo. An unreachable session has its last known
 * step.
 */
export function stages(session) {
  const seen = session === null ? "pending" : session.state === "unreachable" ? session.before ?? "pending" : session.state;
  const order = ["pending", "starting", "running"];
  const place = seen === "ending" || seen === "ended" ? order.length : order.indexOf(seen);
  return order.map((stage, index) => {
    if (index < place) return { stage, is: "done" };
    return { stage, is: index === place ? "current" : "todo" };
  });
}

/** The waiting page's topic: looking (no session yet), or the session's state. */
export const phase = (session) => (session === null ? "looking" : session.state);

/** Window title for a phase, without the product's name. */
export function title(session) {
  const said = W.title[phase(session)];
  return typeof said === "function" ? said(session.position) : said;
}

/** Rows [label, text] of the waiting page, in the order of people's questions. */
export function facts(session, named, now) {
  const rows = [];
  const { choice } = session;
  const pending = session.state === "pending" || session.before === "pending";
  if (pending) {
    if (session.position) rows.push([W.facts.place, W.position(session.position)]);
    const expected = toMs(session.expected_start);
    rows.push([W.facts.expected, expected === null ? W.noPlan : expectedText(expected, now)]);
  }
  rows.push([W.facts.asked, `${named.size}, ${hoursText(choice.hours)}, ${named.environment}`]);
  if (pending && choice.give_up_hours) {
    rows.push([W.facts.giveUp, clock(msOf(session.created) + choice.give_up_hours * 3_600_000, now)]);
  }
  if (session.node) rows.push([W.facts.node, session.node]);
  if (session.job) rows.push([W.facts.job, session.job]);
  return rows;
}

function expectedText(at, now) {
  if (at <= now + 60_000) return W.startsNow;
  return `${W.about(clock(at, now))} (${span((at - now) / 1000)})`;
}

/** Seconds for which it has waited or been starting. */
export function elapsed(session, now) {
  return secondsBetween(session.state === "starting" ? session.started ?? session.created : session.created, now) ?? 0;
}

/** The one-line text about a session on Home. */
export function standing(session, now) {
  switch (session.state) {
    case "pending": {
      const parts = [];
      if (session.position) parts.push(W.position(session.position));
      const expected = toMs(session.expected_start);
      parts.push(expected === null ? session.waits_for?.what || W.noPlan : W.expected(expectedText(expected, now)));
      return parts.join(" · ");
    }
    case "running": {
      const { at, idle } = endOf(session, now);
      const left = secondsBetween(now, at);
      if (left === null) return W.state.running;
      return (idle ? W.idleLeft : W.timeLeft)(span(left), clock(at, now));
    }
    case "starting": return session.waits_for?.what || W.waitSub.starting;
    case "unreachable": return session.waits_for?.what || W.unreachableWhat;
    case "ending": return W.waitSub.ending;
    default: return session.end?.what || endText(session);
  }
}

/**
 * When a running session ends if nothing changes: {at, idle}; `idle`: only if nobody uses it until then. Of several
 * ends, the first.
 */
export function endOf(session, now) {
  const { notice, ends, ends_idle: idleAt, last_activity: last } = session;
  // The session ends itself a little before its job, and says when.
  if (notice) return { at: notice.at, idle: ["idle", "unopened"].includes(notice.kind) };
  const unused = secondsBetween(last, now);
  const idle = toMs(idleAt) !== null && (unused === null || unused >= IDLE_AFTER) &&
    (toMs(ends) === null || msOf(idleAt) < msOf(ends));
  return { at: idle ? idleAt : ends, idle };
}

/** "idle for 12 minutes", "in use", or "not opened yet" of a running session; "" if it does not run. */
export function idling(session, now) {
  if (session.state !== "running") return "";
  const idle = secondsBetween(session.last_activity, now);
  if (idle === null) return W.neverOpened;
  return idle < IDLE_AFTER ? W.busy : W.idleFor(span(idle));
}

/** Whether the session was cancelled before it started. */
export const isWithdrawn = ({ end, end_reason: reason, ready }) =>
  reason === "stopped" && !ready && (!end?.code || end.code.startsWith("withdrawn"));

/** Why a session ended, in two or three words. */
export function endText(session) {
  if (isWithdrawn(session)) return W.withdrawn;
  return W.reason[session.end_reason] ?? W.state.ended;
}

/** Whether it used more memory than its size has. */
export const isOutOfMemory = (session) => session.end_reason === "out-of-memory";

/** A page's heading for an ended session. */
export function endHead(session) {
  if (isWithdrawn(session)) return W.withdrawnHead;
  if (isOutOfMemory(session)) return W.memoryHead;
  return isFailure(session) && !session.ready ? W.failedHead : W.endedHead;
}

/**
 * The choice with which a session that ran out of memory can be started again with more: {choice, view}; null if it
 * ended for another reason, or there is no larger size. `factories`: null while unknown.
 */
export function larger(session, factories) {
  const factory = factories?.find((one) => one.id === session.choice.factory);
  const view = factory && isOutOfMemory(session) ? roomier(factory, session.choice) : null;
  if (!view) return null;
  const hours = Math.min(session.choice.hours, view.offer.hours.most);
  return { factory, view, choice: { ...session.choice, size: view.size.id, hours } };
}

/** What would end with the session: busy notebooks, and its clusters. */
export function runsIn(session, clusters) {
  const busy = session.busy ? (session.busy_with?.length ? session.busy_with.map(W.isBusy) : [W.somethingBusy]) : [];
  const owned = clusters.filter((one) => one.session === session.id && one.state === "live");
  return [...busy, ...owned.map((one) => W.cluster.live(one.name))];
}

/** The used share of the walltime, 0 to 1; null if it is not known. */
export function used(session, now) {
  const whole = secondsBetween(session.started, session.ends);
  const gone = secondsBetween(session.started, now);
  return whole && gone !== null ? Math.min(1, Math.max(0, gone / whole)) : null;
}

/** Whether an end is a failure (coloured and explained), or what the person wanted. */
export const isFailure = (session) => !["finished", "stopped", "idle", "unopened", "walltime"].includes(session.end_reason);

/** The change since `known` for screen readers; null if nothing important changed. */
export function change(known, session) {
  if (!known || known.state !== session.state) return W.state[session.state];
  if (known.position !== session.position && session.position) return W.position(session.position);
  return null;
}
