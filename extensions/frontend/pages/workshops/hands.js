/** Raised hands in the room: their list in order of time, what was sent with one, and what helpers do about it. */

import { Trouble, ask } from "../api.js";
import { announce, byId as at, h, render, setText } from "../../common/dom.js";
import { R } from "./room_view.js";
import { H, handItem, hands, newHands } from "./hands_view.js";

/**
 * Returns a function that draws the hands of a room; `names`: whether names and contents are shown.
 * @param {string} address of the room
 */
export function handsPart(address) {
  /** @type {Json} */
  let last = null;
  const busy = new Set();
  let redraw = () => {};

  async function act(seat, what) {
    if (busy.has(seat.seat)) return;
    busy.add(seat.seat);
    redraw();
    try {
      await ask(`${address}/seats/${seat.seat}/${what}`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      render(at("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, `${R.seat(seat.seat)}: ${error.message}`));
    } finally {
      busy.delete(seat.seat);
      redraw();
    }
  }

  async function show(seat) {
    setText(at("fg-hand-head"), R.seat(seat.seat));
    render(at("fg-hand-sent"), h("p", {}, H.reading));
    at("fg-hand").showModal();
    try {
      const sent = await ask(`${address}/seats/${seat.seat}/hand`);
      render(at("fg-hand-sent"),
        sent.question ? h("p", {}, sent.question) : null,
        sent.file ? h("p", { class: "fg-quiet" }, sent.file) : null,
        ...[sent.source, sent.error].filter(Boolean).map((text) => h("pre", { class: "fg-sent", tabindex: "0" }, text)));
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      render(at("fg-hand-sent"), h("p", { class: "fg-notice fg-notice-bad" }, error.message));
    }
  }

  return (room, names, now) => {
    redraw = () => {
      const raised = hands(room.seats);
      const options = { names, mayHelp: room.may.includes("help"), busy, on: { act, show }, now, address };
      at("fg-hands-part").hidden = raised.length === 0;
      render(at("fg-hands"), raised.map((seat) => handItem(seat, options)));
    };
    redraw();
    const text = newHands(last, room.seats);
    last = room.seats;
    if (text) announce(text);
  };
}
