/** Pure formatting for people: moments, spans, sizes. Moments are ISO strings or epoch milliseconds; `now` is epoch ms. */

import { locale } from "./translate.js";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Epoch milliseconds of an ISO string or number; null when there is none or it cannot be read. */
export function toMs(moment) {
  if (moment === null || moment === undefined || moment === "") return null;
  const ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isFinite(ms) ? ms : null;
}

function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone }).format(ms);
}

/** "14:20", "tomorrow 09:10", "Fri 14 Nov, 09:10": as short as it can be without being ambiguous. */
export function clock(moment, now, timeZone) {
  const ms = toMs(moment);
  if (ms === null) return "";
  const time = parts(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, timeZone);
  const day = (at) => parts(at, { year: "numeric", month: "2-digit", day: "2-digit" }, timeZone);
  if (day(ms) === day(now)) return time;
  for (const away of [1, -1]) {
    const name = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(away, "day"); // tomorrow, yesterday
    if (day(ms) === day(now + away * DAY)) return `${name} ${time}`;
  }
  const date = parts(ms, { weekday: "short", day: "numeric", month: "short" }, timeZone).replace(",", "");
  return `${date}, ${time}`;
}

/** A number with its unit as the reader's language has it: amount(2, "hour") is "2 hours", in German "2 Stunden". */
function amount(number, unit, unitDisplay = "long") {
  const options = { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(locale(), options).format(number);
}

/** The larger unit, and the smaller where there is any of it. */
const both = (large, unit, small, rest) => amount(large, unit) + (small ? ` ${amount(small, rest)}` : "");

/** Seconds as "45 seconds", "3 minutes", "1 hour 20 minutes", "2 days 4 hours". Negative spans count as none. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return amount(whole, "second");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return amount(minutes, "minute");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return both(hours, "hour", minutes % 60, "minute");
  return both(Math.floor(hours / 24), "day", hours % 24, "hour");
}

/** Hours as they are asked for: 0.25 -> "15 minutes", 1.5 -> "1 hour 30 minutes", 72 -> "72 hours". */
export function hoursText(hours) {
  if (hours >= 48) return amount(hours, "hour");
  return span(Math.round(hours * 60) * 60);
}

/** Gigabytes (10**9 bytes) as "120 GB" or "1.1 TB". */
export function gigabytes(gb) {
  return gb >= 1000 ? amount(gb / 1000, "terabyte", "short") : amount(gb, "gigabyte", "short");
}

/** The name of an ISO 3166 country code, or the code itself. */
export function country(code) {
  try {
    return new Intl.DisplayNames([locale()], { type: "region" }).of(code) ?? code;
  } catch {
    return code; // not a code that Intl knows: what the catalogue says is still better than nothing
  }
}

/** Seconds between two moments; null when either is missing. */
export function secondsBetween(from, to) {
  const a = toMs(from);
  const b = toMs(to);
  return a === null || b === null ? null : (b - a) / 1000;
}
