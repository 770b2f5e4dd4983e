/** Who pays for a session and what it will cost, shown before the click. Builds elements, asks nothing, keeps nothing. */

import { findFactory, findSize } from "./choose.js";
import { h } from "./dom.js";
import { clock, hoursText, number, secondsBetween, toMs } from "./format.js";
import { W } from "./words.js";

const HOUR = 3_600_000;

/** A sum in the site's own unit: "1/4 node-hour per hour" for 2 hours is {amount: 0.5, unit: "node-hour"}; else null. */
export function siteBill(billedAs, hours) {
  const found = /^(\d+(?:\.\d+)?)(?:\/(\d+))? (\S+?)s? per hour$/.exec(billedAs);
  if (!found) return null;
  return { amount: (Number(found[1]) / Number(found[2] ?? 1)) * hours, unit: found[3] };
}

/** GPU-hours that a job of so many hours costs, as the site counts its GPUs. */
export const gpuHours = (view, hours) => (view.billed_gpus ?? view.size.gpus) * hours;

/** So much of a site's unit, in words: "1 node-hour", "0.5 core-hours". A unit that nobody translated stays as it is. */
function inUnit(amount, unit) {
  const known = Object.hasOwn(W.unit, unit) ? W.unit[unit] : null;
  return known ? known(amount, number(amount)) : `${number(amount)} ${unit}${amount === 1 ? "" : "s"}`;
}

/** GPU-hours that the factory charges for an hour of a size; null where it charges in another unit, or says nothing. */
function chargedGpuHours({ size }) {
  const text = size.billed_as ?? "";
  const rate = siteBill(text, 1);
  if (rate) return rate.unit === "GPU-hour" ? rate.amount : null;
  const [, count] = /^(\d+(?:\.\d+)?) GPU(?:s|-h|-hours?)?$/.exec(text) ?? [];
  return count === undefined ? null : Number(count);
}

/** GPU-hours that an hour of a size costs its person: as the factory charges them, else by its GPUs. */
export const gpuHoursAnHour = (view) => chargedGpuHours(view) ?? gpuHours(view, 1);

export const gpuHoursText = (amount) => inUnit(amount, "GPU-hour");

/** What an hour of a size costs, in words: in GPU-hours, else in the factory's own unit; else as the catalogue says. */
export function billedText(view) {
  const own = gpuHoursAnHour(view);
  const rate = siteBill(view.size.billed_as, 1);
  if (own > 0) return W.billed(W.perHour(gpuHoursText(own)));
  if (rate) return W.billed(W.perHour(inUnit(rate.amount, rate.unit)));
  return view.size.billed_as ? W.billedAs(view.size.billed_as) : "";
}

/** What a size is charged for: "4 GPUs", "half a GPU (1 GCD)", "a whole node with 8 GPUs", "16 cores". */
function chargedFor(factory, view) {
  const { unit } = factory.accelerator;
  const { cores, gpus } = view.size;
  if (!gpus) return W.onCores(cores);
  const own = chargedGpuHours(view);
  if (unit !== "GPU" && own !== null && own !== gpus) {
    return own === 0.5 ? W.halfGpu(W.onGpus(gpus, unit)) : W.partsOf(own, number(own), W.onGpus(gpus, unit));
  }
  if (Math.max(own ?? 0, view.billed_gpus ?? 0) > gpus) return W.onWholeNode(Math.max(own ?? 0, view.billed_gpus ?? 0), unit);
  return W.onGpus(gpus, unit);
}

/** "It costs at most 1 GPU-hour: 2 hours on half a GPU (1 GCD)." One sentence with what is charged, and for what. */
export function costLine(factory, view, hours) {
  const billed = siteBill(view.size.billed_as, hours);
  const amount = gpuHoursAnHour(view) * hours;
  const what = chargedFor(factory, view);
  const own = billed && billed.unit !== "GPU-hour" ? inUnit(billed.amount, billed.unit) : null;
  if (amount > 0 && own) return W.costsBoth(gpuHoursText(amount), hoursText(hours), what, own, factory.site.machine);
  if (amount > 0 || own) return W.costs(own ?? gpuHoursText(amount), hoursText(hours), what);
  return W.costsNothing;
}

/** What an ended session was charged, in words; null while that is not known. `view`: its size, null where not known. */
export function chargedText(session, view) {
  if (!session.started) return W.notCharged;
  const seconds = secondsBetween(session.started, session.ended);
  if (!view || seconds === null) return null;
  const rate = gpuHoursAnHour(view);
  return rate > 0 ? gpuHoursText((rate * Math.max(0, seconds)) / 3600) : W.noGpuHours;
}

/** The projects that may pay for a size; null where none is needed. `projects`: ProjectView JSON, null while unknown. */
export function payers(factory, view, projects) {
  if (!factory.projects?.length) return null;
  const known = (id) => projects?.find((project) => project.id === id) ?? { id, title: "", left: null, ends: null };
  return (view.projects ?? []).map(known);
}

/** The project that is chosen, or null. */
export function payer(factory, choice, projects) {
  return payers(factory, findSize(factory, choice.size), projects)?.find((one) => one.id === choice.project) ?? null;
}

/** Why this project cannot pay for it, in words with what would fit; null where it can. */
export function tooMuch(factory, choice, projects, now) {
  if (!factory || !choice) return null;
  if (payers(factory, findSize(factory, choice.size), projects)?.length === 0) return W.noPayer;
  const project = payer(factory, choice, projects);
  if (!project) return null;
  const { hours } = choice;
  if (project.max_hours && hours > project.max_hours) return W.projectHours(project.id, number(project.max_hours));
  const ends = toMs(project.ends);
  if (ends !== null && now + hours * HOUR > ends) {
    return W.projectEnds(project.id, clock(ends, now), number(Math.max(0, Math.floor(((ends - now) / HOUR) * 100) / 100)));
  }
  const view = findSize(factory, choice.size);
  const needs = gpuHours(view, hours);
  if (project.left === null || needs <= project.left) return null;
  return W.overBudget(project.id, project.left, number(project.left), number(needs),
    number(Math.floor((project.left / gpuHours(view, 1)) * 100) / 100));
}

/** What a project has left and until when; "" where nothing is counted. */
export function standingLine(project, now) {
  const until = project.ends ? W.projectUntil(clock(project.ends, now)) : "";
  const left = project.left === null ? "" : W.projectLeft(project.granted, number(project.left), number(project.granted));
  return [left, until].filter(Boolean).join(" ");
}

/** What the gateway counts of a project's GPU-hours, where that is another number than what the factory charges. */
function countedLine(factory, choice, project) {
  const view = findSize(factory, choice.size);
  const counted = gpuHours(view, choice.hours);
  if (project.left === null || counted === gpuHoursAnHour(view) * choice.hours) return "";
  return W.counted(number(counted));
}

/** Lines of the summary: the cost, and what is left to who pays. */
export function costLines(factory, choice, projects, now) {
  const cost = costLine(factory, findSize(factory, choice.size), choice.hours);
  const project = payer(factory, choice, projects);
  return [
    cost ? h("p", { key: "costs" }, cost) : null,
    project ? h("p", { key: "payer" }, h("strong", {}, W.paidBy(project.id)),
      ` ${[standingLine(project, now), countedLine(factory, choice, project)].filter(Boolean).join(" ")}`) : null,
  ];
}

/** A choice of who pays, where there is one; else the one project, unseen. */
export function projectPicker(factory, choice, projects) {
  const able = payers(factory, findSize(factory, choice.size), projects);
  if (able === null) return [];
  const { project } = choice;
  if (!able.length) return [h("p", { class: "fg-notice fg-notice-warn", key: "none" }, W.noPayer)];
  if (able.length < 2) return [h("input", { type: "hidden", name: "project", key: "one", value: project ?? "" })];
  return [
    h("label", { for: "project", key: "label" }, W.project),
    h("select", { name: "project", id: "project", class: "form-select", key: "several" },
      able.map((one) => h("option", { value: one.id, selected: one.id === project },
        one.title ? `${one.id}: ${one.title}` : one.id))),
  ];
}

/** What stands in the way: of the factory first (`obstacle`), then of the project. */
export function barred(obstacle, state, now) {
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  return obstacle ?? tooMuch(factory, state.choice, state.projects, now);
}
