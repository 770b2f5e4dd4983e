/** Pure functions of the panel: its rows after Python's changes, and its figures as texts. */

import { gigabytes, number } from "../common/format.js";
import { V } from "./words.js";

export const NOTHING = { order: [], rows: {}, filter: "all", first: 0, total: 0 };

/** The window after a change: {rows by name, order, filter, first, total, whole}; missing fields stay. */
export function merged(shown, told) {
  const order = told.order ?? shown.order;
  const all = { ...(told.whole ? {} : shown.rows), ...told.rows };
  const rows = Object.fromEntries(order.filter((name) => all[name]).map((name) => [name, all[name]]));
  const { filter, first, total } = told.order ? told : shown;
  return { order: order.filter((name) => rows[name]), rows, filter, first, total };
}

/** [name, label, text, whether it is a problem] of each figure. */
export function figures(summary) {
  const { counts, cap } = summary;
  const spent = number(summary.spent, 2);
  const memory = gigabytes(Math.round(summary.memory / 1e8) / 10);
  /** @type {[string, string, boolean][]} */
  const rows = [
    ["running", number(counts.running, 0), false],
    ["waiting", number(counts.waiting, 0), false],
    ["lost", number(summary.lost, 0), summary.lost > 0],
    ["failed", number(summary.failed, 0), summary.failed > 0],
    ["workers", summary.workers ? V.workersOf(number(summary.workers, 0), summary.threads, memory) : "0", false],
    ["spent", cap === null ? spent : V.ofCap(spent, number(cap, 2)), cap !== null && summary.spent >= cap],
    ["committed", number(summary.committed, 2), false],
    ["rate", number(summary.per_hour, 2), false],
  ];
  return rows.map(([name, text, bad]) => ({ name, label: V.figures[name], text, bad }));
}

/** A valid whole number of jobs, or null. */
export function jobsOf(text, most) {
  const value = Number(text);
  return text.trim() !== "" && Number.isInteger(value) && value >= 0 && value <= most ? value : null;
}

/** The shown part of the list: [from, to], from 1, and where the parts before and after begin; null: there is none. */
export function pages({ first, total, order }) {
  return {
    from: total ? first + 1 : 0, to: first + order.length, total,
    earlier: first > 0 ? Math.max(0, first - 50) : null,
    later: first + order.length < total ? first + order.length : null,
  };
}
