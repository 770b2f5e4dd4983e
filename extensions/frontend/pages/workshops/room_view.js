/** The room of a workshop: its state from what the gateway sends, and its elements. */

import { h } from "../../common/dom.js";
import { clock, number, percent, secondsBetween, span } from "../../common/format.js";
import { stateWords } from "../../common/state_words.js";
import { t, tn } from "../../common/translate.js";

const QUIET = 15_000; // ms between two announcements of how many are ready
const ACTIVE = 120; // seconds since the last activity, during which a person counts as active

/** @satisfies {Texts} */
export const R = {
  ready: (ready, taken) => tn(taken, "{ready} of {n} ready", "{ready} of {n} ready", { ready: number(ready) }),
  taken: (taken, total) => tn(total, "{taken} of {n} seat taken", "{taken} of {n} seats taken", { taken: number(taken) }),
  seat: (n) => t("Seat {n}", { n: number(n) }),
  free: t("Free"),
  none: t("Not started"),
  isReady: t("Ready"),
  expected: (when) => t("expected {when}", { when }),
  position: (n) => t("number {n} in the queue", { n: number(n) }),
  until: (when) => t("until {when}", { when }),
  active: t("active"),
  busy: t("computing"),
  idle: (since) => t("idle for {since}", { since }),
  gpu: (use) => t("GPU {use}", { use }),
  stop: t("Stop"),
  stopSeat: (n) => t("Stop the session on seat {n}", { n: number(n) }),
  stopping: t("Stopping…"),
  allReady: t("Everybody who has a seat is ready."),
  nobody: t("Nobody has joined yet."),
  silent: t("The room cannot be read just now, so this may be old. Sessions go on."),
  sent: (told, people) => tn(people, "Sent. {told} of {n} person has it; the others get it when their session starts.",
    "Sent. {told} of {n} people have it; the others get it when their session starts.", { told: number(told) }),
  sentAt: (when, by) => t("{when}, {by}", { when, by }),
  toldTo: (n) => tn(n, "{n} person has it", "{n} people have it"),
  noMessages: t("None yet."),
};

/**
 * The marks beside the words of a state: each differs in its shape, not in its colour only.
 * @type {Record<string, string>}
 */
const MARKS = {
  ready: "✓", running: "◐", starting: "◐", pending: "◷", ending: "◌", ended: "■", unreachable: "!", none: "–", free: "",
};

/** The room after a change; `room` is null before the first one. */
export function merged(room, change) {
  const head = change.head ?? room;
  if (head === null) return null;
  const seats = new Map((room?.seats ?? []).map((seat) => [seat.seat, seat]));
  for (const seat of change.seats) seats.set(seat.seat, seat);
  const left = [...seats.values()].filter((seat) => seat.seat <= head.total).sort((a, b) => a.seat - b.seat);
  return { ...head, seats: left };
}

/** The state of a seat, a key of `MARKS`. */
export function standing(seat) {
  if (!seat.taken) return "free";
  if (seat.state === null) return "none";
  if (seat.stopping && seat.state !== "ended") return "ending";
  return seat.ready ? "ready" : seat.state;
}

/** The words of a seat's state. */
export function standingWords(state) {
  /** @type {Record<string, string>} */
  const words = { ...stateWords(), running: stateWords().starting, ready: R.isReady, none: R.none, free: R.free };
  return words[state] ?? state;
}

/** The seats that a filter shows: "all", "taken" (somebody has them), or "waiting" (somebody has them, not ready). */
export function shown(seats, filter) {
  if (filter === "all") return seats;
  return seats.filter((seat) => seat.taken && (filter === "taken" || !seat.ready));
}

/**
 * Says when the number of ready seats is announced: at once if all are ready, else at most every 15 seconds. Returns a
 * function of room and time (ms) that gives the text, or null.
 */
export function announcer() {
  let last = "";
  let at = -Infinity;
  return (room, now) => {
    const text = room.taken > 0 && room.ready === room.taken ? R.allReady : R.ready(room.ready, room.taken);
    if (text === last || (text !== R.allReady && now - at < QUIET)) return null;
    const first = at === -Infinity;
    last = text;
    at = now;
    return first ? null : text; // what the page shows when it opens is read anyway
  };
}

/** What a running seat does, in words: computing, active, or idle; "" if that is not known. */
export function activity(seat, now) {
  if (!seat.ready) return "";
  const idle = secondsBetween(seat.last_activity, now);
  const use = seat.gpu_percent === null ? "" : R.gpu(percent(seat.gpu_percent));
  const does = seat.busy ? R.busy : idle === null ? "" : idle < ACTIVE ? R.active : R.idle(span(idle, "short"));
  return [does, use].filter(Boolean).join(" · ");
}

/** The line below a seat's state: why it waits or ended, when it is expected to start, or what it does. */
export function line(seat, now) {
  const state = standing(seat);
  const why = seat.words ? `${seat.words.what} ${seat.words.do ?? ""}`.trim() : "";
  if (state === "pending") {
    const when = seat.expected_start ? R.expected(clock(seat.expected_start, now)) : "";
    const place = seat.position ? R.position(seat.position) : "";
    return [when, place, why].filter(Boolean).join(" · ");
  }
  if (state === "ready") return [activity(seat, now), seat.ends ? R.until(clock(seat.ends, now)) : ""].filter(Boolean).join(" · ");
  return why;
}

const RUNS = ["pending", "starting", "running", "ready", "unreachable"];

/**
 * One seat. `on.stop(seat)` is called by its button; `busy`: numbers of seats whose stop was asked for; `names`: whether
 * people's names are shown; `factories`: their names, by id.
 */
export function seatItem(seat, { names, factories, mayStop, busy, on, now }) {
  const state = standing(seat);
  const who = names ? seat.name || seat.person || "" : "";
  const said = line(seat, now);
  const asked = busy.has(seat.seat);
  return h("li", { class: "fg-seat", key: String(seat.seat), "data-state": state },
    h("p", { class: "fg-seat-head" },
      h("span", { class: "fg-seat-number" }, R.seat(seat.seat)), who ? h("strong", { class: "fg-seat-who" }, who) : null),
    h("p", { class: "fg-seat-state" },
      h("span", { class: "fg-seat-mark", "aria-hidden": "true" }, MARKS[state]), standingWords(state),
      seat.factory && state !== "ended" ? h("span", { class: "fg-quiet" }, ` · ${factories[seat.factory] ?? seat.factory}`) : null),
    said ? h("p", { class: "fg-seat-line" }, said) : null,
    mayStop && RUNS.includes(state)
      ? h("button", {
        type: "button", class: "btn btn-sm btn-outline-contrast", key: `stop-${seat.seat}`, onclick: () => on.stop(seat),
        "aria-disabled": String(asked), "aria-label": R.stopSeat(seat.seat),
      }, asked ? R.stopping : R.stop) : null);
}

/** The messages that were sent, the newest first. */
export function messageItems(messages, now) {
  return messages.map((one) => h("li", { key: one.id },
    h("p", {}, one.text), h("p", { class: "fg-quiet" }, `${R.sentAt(clock(one.at, now), one.by)} · ${R.toldTo(one.received)}`)));
}
