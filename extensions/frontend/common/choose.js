/**
 * Pure functions for choices: which factory starts first, and the choice that the page shows. They work on FactoryView
 * and SizeView JSON. The link decides what fits, the presets and the bounds, and sends them in each size's `offer` and
 * the factory's `bounds`.
 */

import { toMs } from "./format.js";

export const NAME_PATTERN = /^[a-z][a-z0-9-]{0,29}$/;
const SOON = 60_000; // ms; a start within a minute counts as "now"
const LADDER = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 36, 48, 72, 96, 120, 168, 240, 336, 480, 720];
const RUNGS = [1, 4, 12, 24, 48];

/** Whether a factory accepts requests now; true before its first answer has arrived. */
export function takesRequests(factory) {
  return factory.health.state === "ok" || factory.health.state === "starting";
}

/** The expected start of a size: {known, now, at}; `at`: epoch ms, null unless the start is known and later. */
export function sizeStart(view, now, estimate = view.estimate) {
  if (view.fits_now > 0) return { known: true, now: true, at: null };
  const at = toMs(estimate?.start);
  if (at === null) return { known: false, now: false, at: null };
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}

/** The expected start for a walltime by its own estimate; without an estimate, by what is free now. */
export function hoursStart(view, estimate, now) {
  const at = toMs(estimate?.start);
  if (at === null) return sizeStart(view, now, null);
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}

/** The size by which factories are compared: the smallest with a GPU, else the smallest; null if there is none. */
export function cardSize(factory) {
  const order = (a, b) => a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  const sizes = [...factory.sizes].sort(order);
  return sizes.find((view) => view.size.gpus > 0) ?? sizes[0] ?? null;
}

/** The load of the partition in which a size runs, or null. */
export function loadOf(factory, view) {
  return factory.partitions.find((load) => load.name === view?.size.partition) ?? null;
}

/**
 * The id of the factory where the smallest GPU size starts first; among equals, the one with the most free GPUs; null
 * if no start is known.
 */
export function earliest(factories, now) {
  let best = null;
  for (const factory of factories) {
    const view = cardSize(factory);
    if (factory.health.state !== "ok" || factory.rules_open || !view) continue;
    const start = sizeStart(view, now);
    if (!start.known) continue;
    const rank = { id: factory.id, at: start.at ?? 0, fits: view.fits_now };
    if (!best || rank.at < best.at || (rank.at === best.at && rank.fits > best.fits)) best = rank;
  }
  return best?.id ?? null;
}

/** @returns {Json} FactoryView, or null */
export const findFactory = (factories, id) => factories.find((factory) => factory.id === id) ?? null;
/** @returns {Json} SizeView, or null */
export const findSize = (factory, id) => factory?.sizes.find((view) => view.size.id === id) ?? null;
/** @returns {Json} Environment, or null */
export const findEnvironment = (factory, id) => factory?.environments.find((one) => one.id === id) ?? null;

/** The next size with more memory that the person may use and the choice's environment fits; null if there is none. */
export function roomier(factory, choice) {
  const had = findSize(factory, choice.size);
  const environment = findEnvironment(factory, choice.environment);
  if (!had || !environment) return null;
  const none = factory.project_needed === false && !choice.project; // no project is charged
  const open = ({ projects }) => !factory.projects?.length || none || (projects ?? []).some((one) => [one, null].includes(choice.project ?? null));
  const more = factory.sizes.filter((view) =>
    view.size.memory_gb > had.size.memory_gb && fits(view, environment.id) && open(view));
  const order = (a, b) => a.size.memory_gb - b.size.memory_gb || a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  return more.sort(order)[0] ?? null;
}

/** Whether an environment fits a size. */
export const fits = (view, environment) => view.offer.environments.includes(environment);

/** The most hours of a size; `limit`: what the paying project allows, null or undefined if it has no such limit. */
export function mostHours(view, limit) {
  return Math.max(view.offer.hours.least, Math.min(view.size.max_hours, limit ?? Infinity));
}

/** The walltimes of a slider's steps, in hours, up to and including the limit. */
export function ladder(maxHours) {
  return [...LADDER.filter((step) => step < maxHours), maxHours];
}

/** Up to three walltimes to compare, ascending: a short one, a longer one, and the chosen one. */
export function rungs(maxHours, chosen) {
  const offered = RUNGS.filter((step) => step <= maxHours).slice(0, 2);
  return [...new Set([...offered, chosen])].sort((a, b) => a - b);
}

/** The index of the step nearest to `hours`. */
export function nearest(steps, hours) {
  let best = 0;
  steps.forEach((step, index) => {
    if (Math.abs(step - hours) < Math.abs(steps[best] - hours)) best = index;
  });
  return best;
}

/** The allowed number nearest to `value` within {least, most, preset}; the preset if `value` is no number. */
export function within(bounds, value) {
  const number = typeof value === "number" ? value : parseFloat(value);
  return Number.isFinite(number) ? Math.min(bounds.most, Math.max(bounds.least, number)) : bounds.preset;
}

/** A valid choice: the wanted values as far as the factory offers them, else its presets. */
export function settle(wanted, factory) {
  const view = findSize(factory, wanted.size) ?? sameGpus(factory, wanted.gpus) ??
    findSize(factory, factory.default_size) ?? factory.sizes[0];
  const { offer, projects } = view;
  const { bounds } = factory;
  const preset = offer.project_in[wanted.reservation] ?? (factory.project_needed === false ? null : offer.project);
  const project = !factory.projects?.length || projects?.includes(wanted.project) ? wanted.project ?? null : preset;
  const reservation = factory.reservations?.find((one) => one.id === wanted.reservation && isIn(project, one));
  return {
    factory: factory.id,
    size: view.size.id,
    gpus: view.size.gpus,
    environment: fits(view, wanted.environment) ? wanted.environment : offer.environment,
    hours: within(offer.hours, wanted.hours),
    idle_minutes: within(bounds.idle_minutes, wanted.idle_minutes),
    unopened_minutes: within(bounds.unopened_minutes, wanted.unopened_minutes),
    give_up_hours: within(bounds.give_up_hours, wanted.give_up_hours),
    url_tokens: wanted.url_tokens === true, // the text "true" in a link does not count
    project,
    reservation: reservation?.id ?? null,
  };
}

/** Whether a project may use a reservation; if no project is needed, anybody who is offered the reservation may. */
export const isIn = (project, reservation) => !reservation.projects?.length || reservation.projects.includes(project);

/** The number of GPUs of a choice for another factory, since sizes have other ids there. */
function sameGpus(factory, gpus) {
  if (gpus === undefined || gpus === null) return null;
  return factory.sizes.find((view) => view.size.gpus === gpus) ?? null;
}

/**
 * The choice in a URL's `opt-…` parameters; null if there is none. Its values are checked later against the catalogue.
 */
export function fromQuery(search) {
  const found = {};
  for (const [key, value] of new URLSearchParams(search)) {
    if (key.startsWith("opt-") && key.length > 4) found[key.slice(4)] = value;
  }
  return Object.keys(found).length ? found : null;
}

/** Values of a link's choice that the catalogue does not have: list of [field, value]. */
export function unknownIn(wanted, factories) {
  const factory = findFactory(factories, wanted.factory);
  if (!factory) return wanted.factory ? [["factory", wanted.factory]] : [];
  const unknown = [];
  if (wanted.size && !findSize(factory, wanted.size)) unknown.push(["size", wanted.size]);
  if (wanted.environment && !findEnvironment(factory, wanted.environment)) {
    unknown.push(["environment", wanted.environment]);
  }
  return unknown;
}

/**
 * The first choice shown. `sources` in order of weight: {posted, link, again, last}, each a choice or null.
 * A source counts only if its factory is in the list (one that names none leaves that to the rest).
 * Returns {choice, from}; choice null when there is no factory at all.
 */
export function preset(factories, sources) {
  for (const from of ["posted", "link", "again", "last"]) {
    // Whether tokens may be in addresses is asked for each time.
    const wanted = from === "last" && sources.last ? { ...sources.last, url_tokens: false } : sources[from];
    if (!wanted) continue;
    const factory = wanted.factory ? findFactory(factories, wanted.factory) : usual(factories);
    if (factory?.sizes.length) return { choice: settle(wanted, factory), from };
  }
  const factory = usual(factories);
  return { choice: factory ? settle({}, factory) : null, from: "default" };
}

function usual(factories) {
  const able = factories.filter((factory) => factory.sizes.length);
  const well = able.filter((one) => one.health.state === "ok");
  const soonest = findFactory(able, earliest(able, Date.now()));
  return soonest ?? well.find((one) => !one.rules_open) ?? well[0] ?? able.find(takesRequests) ?? able[0] ?? null;
}

/**
 * A server name for one more session: "" first, then session-2, session-3, …
 * taken: names in use. known: names the hub already keeps (each counts against the limit, 0 = none).
 * Returns null when the limit leaves none.
 */
export function freeName(taken, known = [], limit = 0, named = true) {
  const used = new Set(taken);
  if (!used.has("")) return "";
  if (!named) return null;
  const kept = new Set(known.filter((name) => name !== ""));
  const room = limit <= 0 || kept.size < limit;
  for (let n = 2; n < 1000; n += 1) {
    const name = `session-${n}`;
    if (!used.has(name) && (room || kept.has(name))) return name;
  }
  return null;
}
