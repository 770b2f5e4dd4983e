/**
 * Pure choosing: which factory starts first, and a choice as the page shows it. Works on FactoryView and SizeView JSON.
 * What fits, what is preset and within which bounds is said by the link, in each size's `offer` and the factory's
 * `bounds`: nothing of that is decided here.
 */

import { toMs } from "./format.js";

export const NAME_PATTERN = /^[a-z][a-z0-9-]{0,29}$/;
const SOON = 60_000; // a start within a minute is "now" to a person
const LADDER = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 36, 48, 72, 96, 120, 168, 240, 336, 480, 720];
const RUNGS = [1, 4, 12, 24, 48];

/** A factory that takes requests now. One whose first answer is still on its way is given the benefit of the doubt. */
export function takesRequests(factory) {
  return factory.health.state === "ok" || factory.health.state === "starting";
}

/** When a size would start: {known, now, at}; `at` is epoch ms, null unless it is known and later. */
export function sizeStart(view, now, estimate = view.estimate) {
  if (view.fits_now > 0) return { known: true, now: true, at: null };
  const at = toMs(estimate?.start);
  if (at === null) return { known: false, now: false, at: null };
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}

/** When a walltime would start, by its own estimate; without one, what is free now tells for short and long alike. */
export function hoursStart(view, estimate, now) {
  const at = toMs(estimate?.start);
  if (at === null) return sizeStart(view, now, null);
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}

/** The size a factory is compared by: the smallest with a GPU, else the smallest; null when it has none. */
export function cardSize(factory) {
  const order = (a, b) => a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  const sizes = [...factory.sizes].sort(order);
  return sizes.find((view) => view.size.gpus > 0) ?? sizes[0] ?? null;
}

/** Load of the partition that a size runs in, or null. */
export function loadOf(factory, view) {
  return factory.partitions.find((load) => load.name === view?.size.partition) ?? null;
}

/** Id of the factory where the smallest GPU size starts first; null when none is known. Ties: most of them free. */
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

/** The size with the least more memory than the choice's, that its person may have and its environment runs on; or null. */
export function roomier(factory, choice) {
  const had = findSize(factory, choice.size);
  const environment = findEnvironment(factory, choice.environment);
  if (!had || !environment) return null;
  const open = ({ projects }) => !factory.projects?.length || (projects ?? []).some((one) => [one, null].includes(choice.project ?? null));
  const more = factory.sizes.filter((view) =>
    view.size.memory_gb > had.size.memory_gb && fits(view, environment.id) && open(view));
  const order = (a, b) => a.size.memory_gb - b.size.memory_gb || a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  return more.sort(order)[0] ?? null;
}

/** Whether an environment can run in a size. */
export const fits = (view, environment) => view.offer.environments.includes(environment);

/** The walltimes a slider steps through, in hours, up to and including the limit. */
export function ladder(maxHours) {
  return [...LADDER.filter((step) => step < maxHours), maxHours];
}

/** Up to three walltimes to compare: short, longer, and the chosen one, ascending. */
export function rungs(maxHours, chosen) {
  const offered = RUNGS.filter((step) => step <= maxHours).slice(0, 2);
  return [...new Set([...offered, chosen])].sort((a, b) => a - b);
}

/** Index of the ladder's step nearest to `hours`. */
export function nearest(steps, hours) {
  let best = 0;
  steps.forEach((step, index) => {
    if (Math.abs(step - hours) < Math.abs(steps[best] - hours)) best = index;
  });
  return best;
}

/** The number nearest to `value` within bounds {least, most, preset}; the preset one where `value` is no number. */
export function within(bounds, value) {
  const number = typeof value === "number" ? value : parseFloat(value);
  return Number.isFinite(number) ? Math.min(bounds.most, Math.max(bounds.least, number)) : bounds.preset;
}

/** A choice that can be shown and posted: what is wanted as far as the factory offers it, else what it presets. */
export function settle(wanted, factory) {
  const view = findSize(factory, wanted.size) ?? sameGpus(factory, wanted.gpus) ??
    findSize(factory, factory.default_size) ?? factory.sizes[0];
  const { offer, projects } = view;
  const { bounds } = factory;
  const preset = offer.project_in[wanted.reservation] ?? offer.project;
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
    url_tokens: wanted.url_tokens === true, // a link's text is not
    project,
    reservation: reservation?.id ?? null,
  };
}

/** Whether a project is in a reservation; where no project is needed, whoever is offered it is. */
export const isIn = (project, reservation) => !reservation.projects?.length || reservation.projects.includes(project);

/** What somebody wanted at another factory is a number of GPUs: sizes have other ids there. */
function sameGpus(factory, gpus) {
  if (gpus === undefined || gpus === null) return null;
  return factory.sizes.find((view) => view.size.gpus === gpus) ?? null;
}

/** The choice in a link's `opt-…` parameters; null when there is none. Values are checked later against the catalogue. */
export function fromQuery(search) {
  const found = {};
  for (const [key, value] of new URLSearchParams(search)) {
    if (key.startsWith("opt-") && key.length > 4) found[key.slice(4)] = value;
  }
  return Object.keys(found).length ? found : null;
}

/** What a link asked for and the catalogue does not have: list of [field, value]. */
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
