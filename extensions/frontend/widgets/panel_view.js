/** The panel's elements for a summary and rows. Builds elements; requests and stores nothing. */

import { h } from "../common/dom.js";
import { clock } from "../common/format.js";
import { figures, pages } from "./panel_state.js";
import { V } from "./words.js";

const KIND = {
  asked: "wait", pending: "wait", running: "free", ending: "wait", lost: "bad", failed: "bad", ended: "down",
  unreachable: "down",
  starting: "wait", closing: "wait", closed: "down",
};

function status(state, words) {
  return h("span", { class: `fg-status fg-status-${KIND[state]}` },
    h("span", { class: "fg-dot", "aria-hidden": "true" }), words);
}

export function head(summary) {
  return [
    h("div", { key: "title", class: "fg-head-line" },
      h("strong", { class: "fg-name" }, V.panel(summary.name)), status(summary.status, V.status[summary.status]),
      summary.dashboard
        ? h("a", { href: summary.dashboard, target: "_blank", rel: "noopener noreferrer" }, V.dashboard)
        : null),
    h("p", { key: "where", class: "fg-quiet" }, V.where(summary.factory, summary.size)),
    h("dl", { key: "figures", class: "fg-figures" }, figures(summary).map(({ name, label, text, bad }) =>
      h("div", { key: name }, h("dt", {}, label), h("dd", { class: bad ? "fg-bad" : null, "data-figure": name }, text)))),
    summary.message
      ? h("p", { key: "message", class: "fg-notice fg-notice-warn", role: "status" }, summary.message)
      : null,
  ];
}

/** Filter buttons; `on(filter)`. */
export function filters(summary, current, on) {
  return Object.entries(V.filter).map(([name, words]) => h("button", {
    key: name, type: "button", class: `fg-chip${name === current ? " fg-chip-on" : ""}`,
    "aria-pressed": String(name === current), "data-filter": name, onclick: () => on(name),
  }, words(summary.counts[name])));
}

function facts(row, now) {
  return [
    row.job && V.job(row.job), row.node, row.workers && V.jobWorkers(row.workers), row.position && V.place(row.position),
    row.expected_start && V.expected(clock(row.expected_start, now)), row.ends && V.ends(clock(row.ends, now)),
  ].filter(Boolean).join(" · ");
}

/** One job; `onLog(name, open)` requests its log. */
function job(name, row, now, onLog) {
  return h("li", { key: name, class: "fg-job" },
    h("div", { class: "fg-job-line" },
      status(row.state, V.state[row.state]), h("strong", {}, name), h("span", { class: "fg-quiet" }, facts(row, now))),
    row.why || row.do ? h("p", {}, [row.why, row.do].filter(Boolean).join(" ")) : null,
    row.has_log
      ? h("details", { ontoggle: (event) => onLog(name, event.target.open) },
        h("summary", {}, V.log),
        h("pre", { class: "fg-log", tabindex: "0", role: "region", "aria-label": V.logOf(name) },
          row.log ? row.log.join("\n") : V.fetching))
      : null);
}

export function jobs(shown, now, onLog) {
  return shown.order.map((name) => job(name, shown.rows[name], now, onLog));
}

/** The position in a long list, with buttons to move; `on(first)`. Nothing for a complete list. */
export function pager(shown, on) {
  const { from, to, total, earlier, later } = pages(shown);
  if (total === 0) return h("p", { key: "none", class: "fg-quiet" }, V.noJobs);
  if (earlier === null && later === null) return [];
  const button = (key, words, first) => h("button", {
    key, type: "button", class: "fg-button", disabled: first === null, onclick: () => on(first),
  }, words);
  return [
    button("earlier", V.earlier, earlier), h("span", { key: "where", role: "status" }, V.shown(from, to, total)),
    button("later", V.later, later),
  ];
}
