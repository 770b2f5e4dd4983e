/** A project's page: the rest of its budget, and each person's use, as a plot and as a table with the same numbers. */

import "./catalogue.js";

import { Trouble, ask } from "./api.js";
import { byId as at, h, render, settings } from "../common/dom.js";
import { day, dayAndTime, number, shortDay } from "../common/format.js";
import { t } from "../common/translate.js";
import { bars, grouped, sinceDay, total } from "./usage.js";

const WIDTH = 900; // maximum width
const HEIGHT = 200;
const LABELS = 26; // height of the labels below the plot
const LABEL = 72; // width of one label
const NAME = 9; // maximum characters of a name
const PERIODS = [[30, t("the last 30 days")], [90, t("the last 90 days")], [365, t("the last year")], [0, t("all time")]];
const BY = [["day", t("by day")], ["factory", t("by factory")], ["person", t("by person")]];
const KEY = { day: t("Day (UTC)"), factory: t("Factory"), person: t("Person") };

const page = settings("fg-project");
/** @type {Json} */
const state = { use: null, by: "day", days: 30 };

const hours = (seconds) => number(seconds / 3600, 2);
const label = (row) => (state.by === "day" ? day(row.key) : row.key);
const short = (row) => {
  if (state.by === "day") {
    return shortDay(row.key);
  }
  return row.key.length > NAME ? `${row.key.slice(0, NAME - 1)}…` : row.key;
};
const address = (file) => {
  const since = sinceDay(state.days, Date.now());
  const query = since ? `?since=${since}` : "";
  return `${page.base}gateway/api/projects/${encodeURIComponent(page.project)}/${file}${query}`;
};

function s(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

function figures(project) {
  const shown = [
    project.granted === null ? null : [t("Granted"), number(project.granted)],
    [t("Used"), number(project.spent, 2)],
    [t("Reserved"), number(project.reserved, 2)],
    project.left === null ? null : [t("Left"), number(project.left, 2)],
    project.ends === null ? null : [t("Until"), dayAndTime(project.ends)],
  ];
  return [
    h("h2", {}, t("GPU-hours")),
    h("dl", { class: "fg-budget-figures" },
      shown.filter((row) => row !== null).map(([term, value]) => h("div", {}, h("dt", { class: "fg-quiet" }, term), h("dd", {}, value)))),
    project.granted === null ? h("p", { class: "fg-quiet" }, t("This gateway sets no limit on what the project uses.")) : null,
  ];
}

function plot(rows) {
  // the displayed width, so that the letters' size does not change
  const width = Math.min(WIDTH, at("fg-usage").clientWidth || WIDTH);
  const every = Math.ceil((rows.length * LABEL) / width);
  const drawn = bars(rows, width, HEIGHT);
  return s("svg",
    { class: "fg-usage-plot", viewBox: `0 0 ${width} ${HEIGHT + LABELS}`, role: "img",
      "aria-label": t("Plot of the GPU-hours; the table below has the same numbers.") },
    s("line", { x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT }),
    ...drawn.map((bar) => s("rect", { x: bar.x, y: bar.y, width: bar.width, height: bar.height },
      s("title", {}, `${label(bar.row)}: ${hours(bar.row.seconds)}`))),
    ...drawn.filter((_, index) => index % every === 0).map((bar) => s("text",
      { x: bar.x + bar.width / 2, y: HEIGHT + 18, "text-anchor": "middle" }, short(bar.row))));
}

function table(rows) {
  const sum = total(rows);
  const row = (cell, key, jobs, used) => h("tr", {},
    h(cell, { scope: cell === "th" ? "col" : "row" }, key),
    h(cell, { class: "fg-number" }, jobs), h(cell, { class: "fg-number" }, used));
  return h("div", { class: "fg-usage-table", tabindex: "0", role: "region", "aria-label": t("Usage") },
    h("table", {},
      h("thead", {}, row("th", KEY[state.by], t("Jobs"), t("GPU-hours"))),
      h("tbody", {}, rows.filter((one) => one.seconds || one.jobs).map((one) => row("td", label(one), number(one.jobs), hours(one.seconds)))),
      h("tfoot", {}, row("td", t("All"), number(sum.jobs), hours(sum.seconds)))));
}

function select(name, options, value, change) {
  return h("label", {}, h("span", { class: "visually-hidden" }, name),
    h("select", { class: "form-select", "aria-label": name, onchange: (event) => change(event.target.value) },
      options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text))));
}

function draw() {
  const { use } = state;
  const rows = grouped(use.lines, state.by);
  at("fg-project-title").textContent = use.project.title;
  render(at("fg-budget"), figures(use.project));
  at("fg-usage-choice").hidden = false;
  render(at("fg-usage-choice"),
    select(t("Period"), PERIODS, state.days, (value) => { state.days = Number(value); void load(); }),
    select(t("Grouped by"), BY, state.by, (value) => { state.by = value; draw(); }),
    h("a", { href: address("usage.csv"), download: true }, t("Download as CSV")));
  at("fg-usage").replaceChildren(
    h("h2", {}, t("Usage")),
    h("p", { class: "fg-quiet" }, use.everybody
      ? t("Usage of the whole project through this gateway; running jobs count up to now.")
      : t("Your own usage; managers of the project see everybody’s. Running jobs count up to now.")),
    ...(rows.length ? [plot(rows), table(rows)] : [h("p", {}, t("Nothing was used in this period."))]));
}

async function load() {
  try {
    state.use = await ask(address("usage"));
    render(at("fg-trouble"));
    draw();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(at("fg-trouble"), h("p", { class: "fg-notice fg-notice-warn" }, `${error.message} ${error.advice}`.trim()));
  }
}

void load();
