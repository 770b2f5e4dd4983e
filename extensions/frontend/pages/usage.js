/** Pure functions: from the gateway's usage lines to the data of plot and table. */

/** Lines summed up by `by` ("day", "factory", "person"): [{key, jobs, seconds}]; days in their order, with those on
 * which nothing ran in between, else who used most first. */
export function grouped(lines, by) {
  const found = new Map();
  for (const line of lines) {
    const row = found.get(line[by]) ?? { key: line[by], jobs: 0, seconds: 0 };
    row.jobs += line.jobs;
    row.seconds += line.gpu_seconds;
    found.set(line[by], row);
  }
  const rows = [...found.values()];
  if (by !== "day") return rows.sort((a, b) => b.seconds - a.seconds || (a.key < b.key ? -1 : 1));
  rows.sort((a, b) => (a.key < b.key ? -1 : 1));
  return rows.flatMap((row, index) => [row, ...daysBetween(row.key, rows[index + 1]?.key)]);
}

const DAY = 24 * 3600 * 1000;

function daysBetween(first, last) {
  const days = [];
  for (let at = Date.parse(first) + DAY; last && at < Date.parse(last); at += DAY) {
    days.push({ key: new Date(at).toISOString().slice(0, 10), jobs: 0, seconds: 0 });
  }
  return days;
}

export const total = (rows) => rows.reduce(
  (sum, row) => ({ jobs: sum.jobs + row.jobs, seconds: sum.seconds + row.seconds }), { jobs: 0, seconds: 0 });

/** The day `n` days before `now` (epoch ms) in UTC; "" for all time. */
export const sinceDay = (days, now) => (days ? new Date(now - (days - 1) * DAY).toISOString().slice(0, 10) : "");

/**
 * The bars of a plot: {x, y, width, height, row} within `width` x `height`, from the left; the highest has the full
 * height.
 */
export function bars(rows, width, height) {
  const most = Math.max(1, ...rows.map((row) => row.seconds));
  const step = width / Math.max(1, rows.length);
  const wide = Math.min(48, step * 0.8);
  return rows.map((row, index) => {
    const high = (height * row.seconds) / most;
    return { x: index * step + (step - wide) / 2, y: height - high, width: wide, height: high, row };
  });
}
