/** Pure parts of the panel: the rows of the page as Python's changes make them, and its figures as texts. */

import { gigabytes } from "../common/format.js";
import { locale } from "../common/translate.js";
import { V } from "./words.js";

export const NOTHING = { order: [], rows: {}, filter: "all", first: 0, total: 0 };

/** The window after a change: {rows by name, order, filter, first, total, whole}; what is not in it stays. */
export function merged(shown, told) {
  const order = told.order ?? shown.order;
  const all = { ...(told.whole ? {} : shown.rows), ...told.rows };
  const rows = Object.fromEntries(order.filter((name) => all[name]).map((name) => [name, all[name]]));
  const { filter, first, total } = told.order ? told : shown;
  return { order: order.filter((name) => rows[name]), rows, filter, first, total };
}

const number = (value, digits = 0) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

/** [name, label, text, whether it is bad] of each figure. */
export function figures(summary) {
  const { counts, cap } = summary;
  const spent = number(summary.spent, 2);
  const memory = gigabytes(Math.round(summary.memory / 1e8) / 10);
  return [
    ["running", number(counts.running), false],
    ["waiting", number(counts.waiting), false],
    ["lost", number(summary.lost), summary.lost > 0],
    ["failed", number(summary.failed), summary.failed > 0],
    ["workers", summary.workers ? V.workersOf(number(summary.workers), summary.threads, memory) : "0", false],
    ["spent", cap === null ? spent : V.ofCap(spent, number(cap, 2)), cap !== null && summary.spent >= cap],
    ["committed", number(summary.committed, 2), false],
    ["rate", number(summary.per_hour, 2), false],
  ].map(([name, text, bad]) => ({ name, label: V.figures[name], text, bad }));
}

/** A whole number of jobs that may be asked for, or null for what is none. */
export function jobsOf(text, most) {
  const value = Number(text);
  return text.trim() !== "" && Number.isInteger(value) && value >= 0 && value <= most ? value : null;
}

/** The parts of the page's list: [from, to], from 1, and where its neighbours begin; null: there is none. */
export function pages({ first, total, order }) {
  return {
    from: total ? first + 1 : 0, to: first + order.length, total,
    earlier: first > 0 ? Math.max(0, first - 50) : null,
    later: first + order.length < total ? first + order.length : null,
  };
}
