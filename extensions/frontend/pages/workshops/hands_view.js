/** Raised hands in the room: their order, and their elements. */

import { h } from "../../common/dom.js";
import { number, secondsBetween, span } from "../../common/format.js";
import { t } from "../../common/translate.js";
import { R } from "./room_view.js";

/** @satisfies {Texts} */
export const H = {
  upSeats: (seats) => t("Hand up: seat {seats}", { seats }),
  since: (since) => t("for {since}", { since }),
  comes: (helper) => t("{helper} comes", { helper }),
  somebody: t("somebody comes"),
  show: t("What was sent"),
  showSeat: (n) => t("What the person on seat {n} sent", { n: number(n) }),
  come: t("I come"),
  comeSeat: (n) => t("I come to seat {n}", { n: number(n) }),
  done: t("Done"),
  doneSeat: (n) => t("Lower the hand of seat {n}", { n: number(n) }),
  askLook: t("Ask to see the notebook"),
  askLookSeat: (n) => t("Ask the person on seat {n} to let helpers see the notebook", { n: number(n) }),
  asked: (helper) => t("{helper} asks to see the notebook", { helper }),
  reading: t("Reading what was sent…"),
};

/** The seats with a raised hand, the one that waits longest first, then those to which a helper comes. */
export function hands(seats) {
  const order = (seat) => [seat.hand.place === 0 ? 1 : 0, Date.parse(seat.hand.since), seat.seat];
  return seats.filter((seat) => seat.hand).sort((a, b) => {
    const [left, right] = [order(a), order(b)];
    const differs = left.findIndex((value, index) => value !== right[index]);
    return differs < 0 ? 0 : left[differs] - right[differs];
  });
}

/** The text that new hands are up, null if none is; `before` null: the page has just opened. */
export function newHands(before, seats) {
  if (before === null) return null;
  const known = new Set(before.filter((seat) => seat.hand).map((seat) => seat.seat));
  const fresh = hands(seats).filter((seat) => !known.has(seat.seat)).map((seat) => number(seat.seat));
  return fresh.length ? H.upSeats(fresh.join(", ")) : null;
}

/** The name of a button for a screen reader: it begins with the text on the button, by which people call it. */
const spoken = (text, label) => (label.startsWith(text) ? label : `${text}. ${label}`);

/**
 * One raised hand. `names` false: for a projector, so neither names nor what was sent; `on.act(seat, what)` and
 * `on.show(seat)` are called by its buttons; `busy`: numbers of seats for which a button was pressed just now.
 */
export function handItem(seat, { names, mayHelp, busy, on, now, address }) {
  const { hand, look, seat: n } = seat;
  const waits = secondsBetween(hand.since, now);
  const who = names ? seat.name || seat.person || "" : "";
  const comes = hand.place > 0 ? "" : names && hand.by ? H.comes(hand.by) : H.somebody;
  const state = [R.handUp, waits === null ? "" : H.since(span(waits, "short")), comes].filter(Boolean).join(" · ");
  const press = (what, text, label) => h("button", {
    type: "button", class: "btn btn-sm btn-outline-contrast", key: `${what}-${n}`, onclick: () => on.act(seat, what),
    "aria-disabled": String(busy.has(n)), "aria-label": spoken(text, label),
  }, text);
  const acts = names && mayHelp;
  return h("li", { class: "fg-hand", key: String(n), "data-comes": String(hand.place === 0) },
    h("p", { class: "fg-seat-head" },
      h("span", { class: "fg-seat-mark", "aria-hidden": "true" }, "⚑"),
      h("span", { class: "fg-seat-number" }, R.seat(n)), who ? h("strong", {}, who) : null, h("span", {}, state)),
    names && hand.question ? h("p", { class: "fg-hand-question" }, hand.question) : null,
    names && hand.asked_by && !look ? h("p", { class: "fg-quiet" }, H.asked(hand.asked_by)) : null,
    acts ? h("p", { class: "fg-hand-acts" },
      hand.has.length ? h("button", {
        type: "button", class: "btn btn-sm btn-outline-contrast", key: `show-${n}`, onclick: () => on.show(seat),
        "aria-label": spoken(H.show, H.showSeat(n)),
      }, H.show) : null,
      hand.place > 0 ? press("come", H.come, H.comeSeat(n)) : null,
      press("done", H.done, H.doneSeat(n)),
      look ? h("a", {
        class: "btn btn-sm btn-outline-contrast", key: `look-${n}`, href: `${address}/seats/${n}/look`, target: "_blank",
        rel: "noopener",
      }, R.look(look.file)) : hand.asked_by ? null : press("ask-look", H.askLook, H.askLookSeat(n))) : null);
}
