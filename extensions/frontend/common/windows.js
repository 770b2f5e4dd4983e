/** Maintenances and reservations of a factory on the start page. Builds elements; requests and stores nothing. */

import { findSize, isIn, loadOf } from "./choose.js";
import { h } from "./dom.js";
import { clock, msOf, toMs } from "./format.js";
import { t, tn } from "./translate.js";

const HOUR = 3_600_000;
const SLACK = 300_000; // ms for the scheduler to consider, start and clean up a job

/**
 * The hours of a session that starts now and ends before its nodes' maintenance; null if there is none, or no time is
 * left.
 */
export function hoursBefore(view, now) {
  const begins = toMs(view.fits_until);
  const hours = begins === null ? null : Math.floor(((begins - SLACK - now) / HOUR) * 60) / 60;
  return hours !== null && hours >= view.offer.hours.least ? Math.min(hours, view.size.max_hours) : null;
}

/** The running maintenance that leaves a size no node; null if there is none. */
export const runsMaintenance = (factory, view, now) => (factory.maintenance ?? []).find((one) =>
  one.closes.includes(view.size.partition) && msOf(one.start) <= now && now < msOf(one.end)) ?? null;

/**
 * How much of the free resources one job could get, or null if it could get everything; a job never spans two nodes.
 */
export function together(load) {
  if (!load || load.gpus_free <= (load.node_gpus_free ?? load.gpus_free)) return null;
  return t("at most {n} on one node", { n: load.node_gpus_free });
}

/**
 * Lines about the next maintenance, with a button for fewer hours if these would fit before it, and the choice of a
 * reservation.
 */
export function windows(factory, choice, now, on) {
  return [...maintenance(factory, choice, now, on), outOfUse(factory, choice, now), reservations(factory, choice, now)];
}

/** Only the lines about the maintenance that the chosen session would wait for. */
export function delays(factory, choice, now, on) {
  const begins = toMs(findSize(factory, choice.size).fits_until);
  const waits = begins !== null && now + choice.hours * HOUR > begins;
  return waits ? maintenance(factory, choice, now, on, begins) : [];
}

function outOfUse(factory, choice, now) {
  const load = loadOf(factory, findSize(factory, choice.size));
  return load?.nodes_out ? h("p", { key: "out-of-use", class: "fg-quiet" },
    tn(load.nodes_out, "{n} node of partition {partition} is out of service since {when}.",
      "{n} nodes of partition {partition} are out of service since {when}.",
      { partition: load.name, when: clock(toMs(load.out_since), now) })) : null;
}

/** ``only``: when the maintenance begins of which a line is wanted; null: lines of all. */
function maintenance(factory, choice, now, on, only = /** @type {number | null} */ (null)) {
  const view = findSize(factory, choice.size);
  const begins = toMs(view.fits_until);
  const found = (factory.maintenance ?? []).filter((one) =>
    only === null || (one.closes.includes(view.size.partition) && msOf(one.start) === only));
  return found.map((one) => {
    const [start, end] = [msOf(one.start), msOf(one.end)];
    const times = { start: clock(start, now), end: clock(end, now) };
    const ours = one.closes.includes(view.size.partition) && start === begins;
    const key = `maintenance-${one.name}-${start}`;
    if (!ours) {
      return h("p", { key, class: "fg-quiet" }, one.nodes
        ? tn(one.nodes, "Maintenance of {n} node: {start} to {end}.", "Maintenance of {n} nodes: {start} to {end}.", times)
        : t("Maintenance: {start} to {end}.", times));
    }
    if (start <= now) {
      return h("p", { key, class: "fg-notice fg-notice-warn" },
        t("This part of the factory is under maintenance since {start}, until {end}. Your session starts after it.", times));
    }
    if (now + choice.hours * HOUR <= start) {
      return h("p", { key, class: "fg-notice" }, t("Maintenance from {start} to {end}: a session that starts now ends before it.", times));
    }
    const hours = hoursBefore(view, now);
    return h("p", { key, class: "fg-notice fg-notice-warn" },
      t("Maintenance from {start} to {end}: with so many hours your session starts only after it.", times),
      hours === null ? null : h("button", {
        type: "button", class: "fg-chip", id: only === null ? "fg-shorten" : "fg-shorten-delay", onclick: () => on({ hours }),
      }, t("Shorten to fit: until {time}", { time: clock(now + hours * HOUR, now) })));
  });
}

function reservations(factory, choice, now) {
  if (!factory.reservations?.length) return null;
  const option = (value, text, disabled = false) =>
    h("option", { value, disabled, selected: (choice.reservation ?? "") === value }, text);
  const offer = (one) => {
    const told = { name: one.name, end: clock(toMs(one.end), now), projects: one.projects?.join(", ") };
    return isIn(choice.project, one)
      ? option(one.id, t("{name}, until {end}", told))
      : option(one.id, t("{name}, until {end}: only for {projects}", told), true);
  };
  const shut = factory.reservations.every((one) => !isIn(choice.project, one));
  return h("div", { key: "reservation", class: "fg-reservation" },
    h("label", { for: "reservation" }, t("Reservation")),
    h("select", {
      id: "reservation", name: "reservation", class: "form-select", "aria-describedby": shut ? "reservation-hint" : null,
    },
    option("", t("Without a reservation")),
    factory.reservations.map(offer)),
    shut ? h("p", { class: "form-text", id: "reservation-hint", key: "hint" }, choice.project
      ? t("{project} is in none of these reservations.", { project: choice.project })
      : t("None of your projects is in one of these reservations.")) : null);
}
