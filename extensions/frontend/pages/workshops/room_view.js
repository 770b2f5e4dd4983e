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
  handUp: t("Hand up"),
  look: (file) => t("See {file}", { file }),
  asked: t("Asked…"),
  start: t("Start"),
  startSeat: (n) => t("Start a session on seat {n}", { n: number(n) }),
  restart: t("Restart"),
  restartSeat: (n) => t("Restart the session on seat {n}", { n: number(n) }),
  reset: t("Reset"),
  resetSeat: (n) => t("Reset seat {n}", { n: number(n) }),
  stopLost: t("What runs there ends, and everything in memory is lost. Saved files stay. The person may start a new session while the workshop is open."),
  restartLost: t("What runs there ends, and everything in memory is lost. Saved files stay. A new session is then asked for, which may have to wait."),
  resetLost: t("What runs there ends, and everything in memory is lost. In a new session the person finds the material as it was given out; the person’s own files of the class stay, in a folder with today’s date."),
  stopIt: t("Stop it"),
  restartIt: t("Restart it"),
  resetIt: t("Reset it"),
  step: (done, of) => t("{done} of {of} steps done", { done: number(done), of: number(of) }),
  stepHead: (n) => t("Step {n}", { n: number(n) }),
  stepDone: (done, of) => tn(of, "{done} of {n} person", "{done} of {n} people", { done: number(done) }),
  told: (n, what) => t("Seat {n}: {what}", { n: number(n), what }),
  actEnds: t("The old session ends…"),
  actStarts: t("A new session is asked for…"),
  actDelivers: t("The new session gets the material as soon as it is open…"),
  actFailed: (why) => t("Not done: {why}", { why }),
  allReady: t("Everybody who has a seat is ready."),
  nobody: t("Nobody has a seat."),
  silent: t("The room cannot be read just now, so this may be old. Sessions go on."),
  sent: (told, people) => tn(people, "Sent. {told} of {n} person has it; the others get it when their session starts.",
    "Sent. {told} of {n} people have it; the others get it when their session starts.", { told: number(told) }),
  sentAt: (when, by) => t("{when}, {by}", { when, by }),
  toldTo: (n) => tn(n, "{n} person has it", "{n} people have it"),
  noMessages: t("None yet."),
  halted: (failed, of) => t("Halted: {failed} of {of} seats failed, so no others are begun.", { failed: number(failed), of: number(of) }),
  goOn: t("Go on"),
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

/** What a trainer may do to a seat now: `may.stop`, `may.start`: what they may do at all. */
export function acts(seat, may) {
  if (!seat.taken) return [];
  const runs = RUNS.includes(standing(seat));
  const going = Boolean(seat.act) && seat.act.state !== "failed";
  const found = [];
  if (may.start && !going && !runs) found.push("start");
  if (may.stop && (runs || going)) found.push("stop");
  if (may.start && !going && runs) found.push("restart");
  if (may.start && !going) found.push("reset");
  return found;
}

/** What a dialog asks before a seat is stopped, restarted or reset: its head, what is lost, and its button. */
export function question(n, act) {
  /** @type {Record<string, {head: string, lost: string, go: string}>} */
  const asked = {
    stop: { head: `${R.stopSeat(n)}?`, lost: R.stopLost, go: R.stopIt },
    restart: { head: `${R.restartSeat(n)}?`, lost: R.restartLost, go: R.restartIt },
    reset: { head: `${R.resetSeat(n)}?`, lost: R.resetLost, go: R.resetIt },
  };
  return asked[act];
}

/** What a screen reader says once something was asked for. */
export function told(n, act) {
  return R.told(n, act === "start" ? R.actStarts : R.asked);
}

/** How far what is being done to a seat is, in words; "" if nothing is. */
export function progress(seat) {
  if (!seat.act) return "";
  if (seat.act.state === "failed") return R.actFailed(seat.act.why?.text ?? "");
  /** @type {Record<string, string>} */
  const words = { stopping: R.actEnds, starting: R.actStarts, delivering: R.actDelivers };
  return words[seat.act.state] ?? "";
}

function actButton(seat, act, asked, on) {
  /** @type {Record<string, [string, (n: number) => string]>} */
  const words = {
    start: [R.start, R.startSeat], stop: [R.stop, R.stopSeat], restart: [R.restart, R.restartSeat], reset: [R.reset, R.resetSeat],
  };
  const [text, label] = words[act];
  return h("button", {
    type: "button", class: "btn btn-sm btn-outline-contrast", key: `${act}-${seat.seat}`, onclick: () => on.act(seat, act),
    "aria-disabled": String(asked), "aria-label": label(seat.seat),
  }, text);
}

/** The name of a step: the trainer's, or its notebook; `index` from 0. */
export function stepName(step, index) {
  const notebook = step.notebook.replace(/\.ipynb$/, "");
  return `${R.stepHead(index + 1)}: ${step.name || notebook}`;
}

/** The steps of the material as a list with bars: how many of the class have done each. There are no names in it. */
export function stepItems(room) {
  return room.steps.map((step, index) => h("li", { key: String(index) },
    h("span", { class: "fg-step-name", id: `fg-step-${index}` }, stepName(step, index)),
    h("progress", { class: "fg-step-bar", value: String(step.done), max: String(Math.max(1, room.taken)), "aria-labelledby": `fg-step-${index}` }),
    h("span", { class: "fg-quiet" }, R.stepDone(step.done, room.taken))));
}

/** How far a person is, in words; "" if that is not known. `steps`: of the room. */
export function stepLine(seat, steps) {
  if (!steps.length || seat.step === null || seat.step === undefined) return "";
  const last = seat.step_last === null || seat.step_last === undefined ? undefined : steps[seat.step_last];
  return [R.step(seat.step, steps.length), last?.name].filter(Boolean).join(" · ");
}

/**
 * One seat. `on.act(seat, act)` is called by its buttons; `busy`: numbers of seats for which something was asked;
 * `names`: whether people's names are shown, and with them how far each is; `may`: see `acts`; `factories`: their
 * names, by id; `steps`: of the material.
 */
export function seatItem(seat, { names, factories, may, busy, on, now, address, steps = [] }) {
  const state = standing(seat);
  const who = names ? seat.name || seat.person || "" : "";
  const said = line(seat, now);
  const asked = busy.has(seat.seat);
  const doing = progress(seat);
  const at = names ? stepLine(seat, steps) : "";
  const buttons = acts(seat, may).map((act) => actButton(seat, act, asked, on));
  return h("li", { class: "fg-seat", key: String(seat.seat), "data-state": state },
    h("p", { class: "fg-seat-head" },
      h("span", { class: "fg-seat-number" }, R.seat(seat.seat)), who ? h("strong", { class: "fg-seat-who" }, who) : null),
    h("p", { class: "fg-seat-state" },
      h("span", { class: "fg-seat-mark", "aria-hidden": "true" }, MARKS[state]), standingWords(state),
      seat.factory && state !== "ended" ? h("span", { class: "fg-quiet" }, ` · ${factories[seat.factory] ?? seat.factory}`) : null),
    said ? h("p", { class: "fg-seat-line" }, said) : null,
    at ? h("p", { class: "fg-seat-line" }, at) : null,
    seat.hand ? h("p", { class: "fg-seat-line" }, h("span", { "aria-hidden": "true" }, "⚑ "), R.handUp) : null,
    names && seat.look && !seat.hand ? h("p", {}, h("a", {
      href: `${address}/seats/${seat.seat}/look`, target: "_blank", rel: "noopener",
    }, R.look(seat.look.file))) : null,
    doing ? h("p", { class: "fg-seat-line" }, doing) : null,
    buttons.length ? h("p", { class: "fg-seat-acts" }, buttons) : null,
    asked ? h("p", { class: "fg-quiet" }, R.asked) : null);
}

/** The messages that were sent, the newest first. */
export function messageItems(messages, now) {
  return messages.map((one) => h("li", { key: one.id },
    h("p", {}, one.text), h("p", { class: "fg-quiet" }, `${R.sentAt(clock(one.at, now), one.by)} · ${R.toldTo(one.received)}`)));
}
