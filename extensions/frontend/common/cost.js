/**
 * The paying project and the cost of a session, shown before the click. Builds elements; requests and
 * stores nothing. The link computes what is billed: `price` of a size is for an hour, `charged` of a session for all
 * its runs.
 */

import { findFactory, findSize } from "./choose.js";
import { h } from "./dom.js";
import { clock, hoursText, number, toMs } from "./format.js";
import { W } from "./words.js";

const HOUR = 3_600_000;

/** An amount in a site's unit as text: "1 node-hour", "0.5 core-hours". A unit without a translation stays as it is. */
function inUnit(amount, unit) {
  const known = Object.hasOwn(W.unit, unit) ? W.unit[unit] : null;
  return known ? known(amount, number(amount)) : `${number(amount)} ${unit}${amount === 1 ? "" : "s"}`;
}

export const gpuHoursText = (amount) => inUnit(amount, "GPU-hour");

/** The price of an hour of a size as text: in GPU-hours, else in the factory's own unit, else as the catalogue says. */
export function billedText({ price, size }) {
  if (price.gpu_hours > 0) return W.billed(W.perHour(gpuHoursText(price.gpu_hours)));
  if (price.own) return W.billed(W.perHour(inUnit(price.own.amount, price.own.unit)));
  return size.billed_as ? W.billedAs(size.billed_as) : "";
}

/** What a size is charged for: "4 GPUs", "half a GPU (1 GCD)", "a whole node with 8 GPUs", "16 cores". */
function chargedFor({ price, size }) {
  const { number: count, unit } = price;
  switch (price.charged_for) {
    case "cores": return W.onCores(count);
    case "whole-node": return W.onWholeNode(count, unit);
    case "part": if (size.billed_gpus) return W.shareOf(size.billed_gpus); // a slice
      return count === 0.5 ? W.halfGpu(W.onGpus(size.gpus, unit))
      : W.partsOf(count, number(count), W.onGpus(size.gpus, unit));
    default: return W.onGpus(count, unit);
  }
}

/** "It costs at most 1 GPU-hour: 2 hours on half a GPU (1 GCD)." One sentence with what is charged, and for what. */
export function costLine(factory, view, hours) {
  const { gpu_hours: rate, own: site } = view.price;
  const what = chargedFor(view);
  const own = site ? inUnit(site.amount * hours, site.unit) : null;
  if (rate > 0 && own) return W.costsBoth(gpuHoursText(rate * hours), hoursText(hours), what, own, factory.site.machine);
  if (rate > 0 || own) return W.costs(own ?? gpuHoursText(rate * hours), hoursText(hours), what);
  return W.costsNothing;
}

/** The cost of an ended session as text; null while it is not known. */
export function chargedText({ charged, started }) {
  if (charged?.gpu_hours > 0) return gpuHoursText(charged.gpu_hours);
  if (!started) return W.notCharged;
  return charged ? W.noGpuHours : null;
}

/**
 * The projects that may pay for a size; null if there are none. `projects`: ProjectView JSON, null while unknown. Where a
 * person may also do without, the first one has no id.
 */
export function payers(factory, view, projects) {
  if (!factory.projects?.length) return null;
  const known = (id) => projects?.find((project) => project.id === id) ?? { id, title: "", left: null, ends: null };
  const able = (view.projects ?? []).map(known);
  return factory.project_needed === false ? [{ id: null, title: "", left: null, ends: null }, ...able] : able;
}

/** The project that is chosen, or null. */
export function payer(factory, choice, projects) {
  return payers(factory, findSize(factory, choice.size), projects)?.find((one) => one.id && one.id === choice.project) ?? null;
}

/** Why this project cannot pay for the session, as text with what would fit; null if it can. */
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
  const needs = view.price.counted * hours;
  if (project.left === null || needs <= project.left) return null;
  return W.overBudget(project.id, project.left, number(project.left), number(needs),
    number(Math.floor((project.left / view.price.counted) * 100) / 100));
}

/** The rest of a project's budget and its end; "" if the project has no budget. */
export function standingLine(project, now) {
  const until = project.ends ? W.projectUntil(clock(project.ends, now)) : "";
  const left = project.left === null || project.granted === null ? "" : W.projectLeft(project.granted, number(project.left), number(project.granted));
  return [left, until].filter(Boolean).join(" ");
}

/** The GPU-hours that the gateway counts for a project, if the factory charges another number. */
function countedLine(factory, choice, project) {
  const view = findSize(factory, choice.size);
  const { counted, gpu_hours: charged } = view.price;
  if (project.left === null || counted === charged) return "";
  return W.counted(number(counted * choice.hours));
}

/** Lines of the summary: the cost, and the rest of the paying project's budget. */
export function costLines(factory, choice, projects, now) {
  const cost = costLine(factory, findSize(factory, choice.size), choice.hours);
  const project = payer(factory, choice, projects);
  return [
    cost ? h("p", { key: "costs" }, cost) : null,
    project ? h("p", { key: "payer" }, h("strong", {}, W.paidBy(project.id)),
      ` ${[standingLine(project, now), countedLine(factory, choice, project)].filter(Boolean).join(" ")}`) : null,
  ];
}

/** The choice of the paying project; if there is only one, a hidden field. */
export function projectPicker(factory, choice, projects) {
  const able = payers(factory, findSize(factory, choice.size), projects);
  if (able === null) return [];
  const { project } = choice;
  if (!able.length) return [h("p", { class: "fg-notice fg-notice-warn", key: "none" }, W.noPayer)];
  if (able.length < 2) return [h("input", { type: "hidden", name: "project", key: "one", value: project ?? "" })];
  return [
    h("label", { for: "project", key: "label" }, W.project),
    h("select", { name: "project", id: "project", class: "form-select", key: "several" },
      able.map((one) => h("option", { value: one.id ?? "", selected: one.id === (project ?? null) },
        one.title ? `${one.id}: ${one.title}` : one.id ?? W.noProject))),
  ];
}

/** Why a start is not possible: first by the factory (`obstacle`), then by the project. */
export function barred(obstacle, state, now) {
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  return obstacle ?? tooMuch(factory, state.choice, state.projects, now);
}
