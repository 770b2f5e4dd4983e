/** Who pays for a session and what it will cost, shown before the click. Builds elements, asks nothing, keeps nothing. */

import { findFactory, findSize } from "./choose.js";
import { h } from "./dom.js";
import { clock, toMs } from "./format.js";
import { locale } from "./translate.js";
import { W } from "./words.js";

const HOUR = 3_600_000;

const number = (value) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 2 }).format(value);

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

/** What a size is billed as, in words: "1/4 node-hour per hour" is "0.25 node-hours per hour", "2 GPUs" as it is. */
export function billedText(billedAs) {
  const rate = siteBill(billedAs, 1);
  if (rate) return W.perHour(inUnit(rate.amount, rate.unit));
  const [, count, unit] = /^(\d+) (\S+?)s?$/.exec(billedAs) ?? [];
  return unit !== undefined && Object.hasOwn(W.unit, unit) ? inUnit(Number(count), unit) : billedAs;
}

/** "2 h × 4 GPUs = 8 GPU-hours; Leonardo bills 2 node-hours." A GPU-hour counts what the scheduler counts: a GCD at LUMI. */
export function costLine(factory, view, hours) {
  const gpus = view.billed_gpus ?? view.size.gpus;
  const billed = siteBill(view.size.billed_as, hours);
  const { unit } = factory.accelerator;
  const ours = gpus ? W.cost(number(hours), gpus, unit, inUnit(gpus * hours, `${unit}-hour`)) : null;
  const site = billed ? W.siteBills(factory.site.machine, inUnit(billed.amount, billed.unit)) : null;
  const sum = [ours, site].filter(Boolean).join("; ");
  const whole = gpus > view.size.gpus ? W.wholeNodeBilled(gpus, unit) : null;
  const otherwise = !billed && view.size.billed_as ? W.costs(billedText(view.size.billed_as)) : null;
  return [sum && `${sum}.`, whole, otherwise].filter(Boolean).join(" ");
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

/** Lines of the summary: the cost, and what is left to who pays. */
export function costLines(factory, choice, projects, now) {
  const cost = costLine(factory, findSize(factory, choice.size), choice.hours);
  const project = payer(factory, choice, projects);
  return [
    cost ? h("p", { key: "costs" }, cost) : null,
    project ? h("p", { key: "payer" }, h("strong", {}, W.paidBy(project.id)), ` ${standingLine(project, now)}`) : null,
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
