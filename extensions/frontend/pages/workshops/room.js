/** The room of a workshop, live: its seats, what is done to one of them, and messages to the class. */

import "../catalogue.js";

import { Trouble, ask, follow, troubleText } from "../api.js";
import { announce, byId as at, h, render, settings, setText } from "../../common/dom.js";
import { handsPart } from "./hands.js";
import { R, announcer, merged, messageItems, question, seatItem, shown, stepItems, told } from "./room_view.js";

const page = settings("fg-room");
const factories = JSON.parse(page.factories); // their names, by id
const address = `${page.base}workshops/${page.slug}/room`;
const PATIENCE = 15_000; // ms until the same may be asked for again
const REDRAWN = 30_000; // ms; the times on the page grow older without a change

/** @type {Json} */
const state = { room: null, trouble: null, busy: new Set(), asked: null, goingOn: false };
const heard = announcer();
const drawHands = handsPart(address);

const names = () => at("fg-names").checked;
const filter = () => /** @type {HTMLInputElement} */ (document.querySelector("input[name=shown]:checked")).value;

/** The text about an error of repeated requests; a person who is signed out reads only that. */
const troubleOf = (trouble) => (trouble.status === 401 ? trouble.message : `${R.silent} ${troubleText(trouble)}`);

function draw() {
  const { room } = state;
  const now = Date.now();
  const trouble = state.trouble ? troubleOf(state.trouble) : room?.trouble?.text;
  render(at("fg-trouble"), trouble ? h("p", { class: "fg-notice fg-notice-warn" }, trouble) : null);
  if (room === null) return; // the placeholder stays
  drawHalt(room);
  setText(at("fg-ready"), R.ready(room.ready, room.taken));
  setText(at("fg-taken"), R.taken(room.taken, room.total));
  at("fg-bar").value = room.ready;
  at("fg-bar").max = Math.max(1, room.taken);
  at("fg-names-part").hidden = !room.names;
  const may = { stop: room.may.includes("stop-seat"), start: room.may.includes("start-seat") };
  const options = {
    names: room.names && names(), factories, may, busy: state.busy, on: { act: askAct }, now, address, steps: room.steps,
  };
  const seats = shown(room.seats, filter());
  const nothing = room.taken === 0 ? R.nobody : seats.length ? "" : R.allReady;
  render(at("fg-seats"), seats.map((seat) => seatItem(seat, options)));
  render(at("fg-nothing"), nothing ? h("p", {}, nothing) : null);
  drawHands(room, options.names, now);
  at("fg-steps-part").hidden = room.steps.length === 0;
  render(at("fg-steps"), stepItems(room));
  at("fg-message-form").hidden = !room.may.includes("broadcast");
  render(at("fg-messages"), room.messages.length ? messageItems(room.messages, now) : h("li", { key: "none" }, R.noMessages));
  const text = heard(room, now);
  if (text !== null) announce(text);
}

/** Why no further seats begin, in words, with the button to go on. */
function drawHalt(room) {
  const { halted } = room;
  const words = halted ? [R.halted(halted.failed, halted.of), halted.why?.what, halted.why?.do].filter(Boolean).join(" ") : "";
  const button = halted && room.may.includes("go-on") ? h("button", {
    type: "button", class: "btn fg-primary", key: "go-on", "aria-disabled": String(state.goingOn), onclick: goOn,
  }, R.goOn) : null;
  render(at("fg-halted"), halted ? h("div", { class: "fg-notice fg-notice-bad", key: "halted" }, h("p", {}, words), button) : null);
}

async function goOn() {
  if (state.goingOn) return;
  state.goingOn = true;
  draw();
  try {
    await ask(`${address}/go-on`, { method: "POST" });
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(at("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, error.message));
  }
  state.goingOn = false;
  draw();
}

function hear(change) {
  state.room = merged(state.room, change);
  state.trouble = null;
  draw();
}

/** Does something to a seat: a start at once, all else after a question. */
function askAct(seat, act) {
  if (state.busy.has(seat.seat)) return;
  if (act === "start") {
    send(seat.seat, act);
    return;
  }
  const { head, lost, go } = question(seat.seat, act);
  state.asked = { seat: seat.seat, act };
  setText(at("fg-stop-head"), head);
  setText(at("fg-stop-lost"), lost);
  setText(at("fg-stop-go"), go);
  at("fg-stop").showModal();
}

async function send(seat, act) {
  state.busy.add(seat);
  render(at("fg-said"), null);
  draw();
  try {
    await ask(`${address}/seats/${seat}/${act}`, { method: "POST" });
    announce(told(seat, act));
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
  }, PATIENCE);
}

at("fg-stop").addEventListener("close", () => {
  const dialog = at("fg-stop");
  if (dialog.returnValue === "go") send(state.asked.seat, state.asked.act);
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
