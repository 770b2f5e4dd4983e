/** The room of a workshop, live: its seats, the stop of a seat, and messages to the class. */

import "../catalogue.js";

import { Trouble, ask, follow } from "../api.js";
import { announce, byId as at, h, render, settings, setText } from "../../common/dom.js";
import { W } from "../../common/words.js";
import { R, announcer, merged, messageItems, seatItem, shown } from "./room_view.js";

const page = settings("fg-room");
const factories = JSON.parse(page.factories); // their names, by id
const address = `${page.base}workshops/${page.slug}/room`;
const STOP_PATIENCE = 15_000; // ms until a stop may be asked for again
const REDRAWN = 30_000; // ms; the times on the page grow older without a change

/** @type {Json} */
const state = { room: null, trouble: null, busy: new Set(), stopping: null };
const told = announcer();

const names = () => at("fg-names").checked;
const filter = () => /** @type {HTMLInputElement} */ (document.querySelector("input[name=shown]:checked")).value;

function draw() {
  const { room } = state;
  const now = Date.now();
  const trouble = state.trouble ? `${R.silent} ${state.trouble.message} ${W.retrying}` : room?.trouble?.text;
  render(at("fg-trouble"), trouble ? h("p", { class: "fg-notice fg-notice-warn" }, trouble) : null);
  if (room === null) return; // the placeholder stays
  setText(at("fg-ready"), R.ready(room.ready, room.taken));
  setText(at("fg-taken"), R.taken(room.taken, room.total));
  at("fg-bar").value = room.ready;
  at("fg-bar").max = Math.max(1, room.taken);
  at("fg-names-part").hidden = !room.names;
  const mayStop = room.may.includes("stop-seat");
  const options = { names: room.names && names(), factories, mayStop, busy: state.busy, on: { stop: askStop }, now };
  const seats = shown(room.seats, filter());
  const nothing = room.taken === 0 ? R.nobody : seats.length ? "" : R.allReady;
  render(at("fg-seats"), seats.map((seat) => seatItem(seat, options)));
  render(at("fg-nothing"), nothing ? h("p", {}, nothing) : null);
  at("fg-message-form").hidden = !room.may.includes("broadcast");
  render(at("fg-messages"), room.messages.length ? messageItems(room.messages, now) : h("li", { key: "none" }, R.noMessages));
  const text = told(room, now);
  if (text !== null) announce(text);
}

function hear(change) {
  state.room = merged(state.room, change);
  state.trouble = null;
  draw();
}

/** Asks whether a seat is to be stopped. */
function askStop(seat) {
  if (state.busy.has(seat.seat)) return;
  state.stopping = seat.seat;
  setText(at("fg-stop-head"), `${R.stopSeat(seat.seat)}?`);
  at("fg-stop").showModal();
}

async function stop(seat) {
  state.busy.add(seat);
  draw();
  try {
    await ask(`${address}/seats/${seat}/stop`, { method: "POST" });
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(at("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, `${R.seat(seat)}: ${error.message}`));
    state.busy.delete(seat);
    draw();
    return;
  }
  setTimeout(() => {
    state.busy.delete(seat);
    draw();
  }, STOP_PATIENCE);
}

at("fg-stop").addEventListener("close", () => {
  const dialog = at("fg-stop");
  if (dialog.returnValue === "go") stop(state.stopping);
  dialog.returnValue = "";
});

/** The id of the message in the form: sent twice, it is one message. */
let messageId = crypto.randomUUID?.() ?? String(Date.now());

at("fg-message-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.currentTarget);
  const button = at("fg-send");
  if (button.getAttribute("aria-disabled") === "true") return;
  const fields = new FormData(form);
  const texts = [...fields].filter(([name, text]) => name.startsWith("text-") && String(text).trim())
    .map(([name, text]) => [name.slice("text-".length), String(text).trim()]);
  const body = {
    id: messageId, text: String(fields.get("text")).trim(), texts: Object.fromEntries(texts),
    kind: fields.has("stays") ? "warning" : "info",
  };
  button.setAttribute("aria-disabled", "true");
  try {
    const sent = await ask(`${address}/messages`, { method: "POST", body });
    messageId = crypto.randomUUID?.() ?? String(Date.now());
    form.reset();
    render(at("fg-sent"), h("p", { class: "fg-notice" }, R.sent(sent.received, sent.people)));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(at("fg-sent"), h("p", { class: "fg-notice fg-notice-bad" }, error.message));
  } finally {
    button.setAttribute("aria-disabled", "false");
  }
});

for (const input of document.querySelectorAll("input[name=shown], #fg-names")) input.addEventListener("change", draw);
setInterval(draw, REDRAWN);

follow({
  url: `${address}/seats`, events: `${address}/events`, event: "room",
  onData: (room) => hear({ head: room, seats: room.seats }),
  also: { change: hear },
  onTrouble: (trouble) => {
    state.trouble = trouble;
    draw();
  },
});
