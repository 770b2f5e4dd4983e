/** Pure formatting for people: moments, spans, sizes. Moments are ISO strings or epoch milliseconds; `now` is epoch ms. */

/** @typedef {string | number | null | undefined} Moment */

import { locale } from "./translate.js";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/**
 * Epoch milliseconds of an ISO string or number; null when there is none or it cannot be read.
 * @param {Moment} moment
 */
export function toMs(moment) {
  if (moment === null || moment === undefined || moment === "") return null;
  const ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isFinite(ms) ? ms : null;
}

/**
 * Epoch milliseconds of a moment that must exist; NaN if it cannot be parsed.
 * @param {Moment} moment
 */
export const msOf = (moment) => toMs(moment) ?? NaN;

/**
 * @param {number} ms
 * @param {Intl.DateTimeFormatOptions} options
 * @param {string} [timeZone]
 */
function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone }).format(ms);
}

/**
 * "14:20", "tomorrow 09:10", "Fri 14 Nov, 09:10": as short as it can be without being ambiguous.
 * @param {Moment} moment
 * @param {number} now
 * @param {string} [timeZone]
 */
export function clock(moment, now, timeZone) {
  const ms = toMs(moment);
  if (ms === null) return "";
  const time = parts(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, timeZone);
  const day = (/** @type {number} */ at) => parts(at, { year: "numeric", month: "2-digit", day: "2-digit" }, timeZone);
  if (day(ms) === day(now)) return time;
  for (const away of [1, -1]) {
    const name = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(away, "day"); // tomorrow, yesterday
    if (day(ms) === day(now + away * DAY)) return `${name} ${time}`;
  }
  const date = parts(ms, { weekday: "short", day: "numeric", month: "short" }, timeZone).replace(",", "");
  return `${date}, ${time}`;
}

/**
 * "14 Nov 2026"; days are counted in UTC.
 * @param {string} iso
 */
export const day = (iso) => parts(Date.parse(iso), { dateStyle: "medium" }, "UTC");

/**
 * "14 Nov"; days are counted in UTC.
 * @param {string} iso
 */
export const shortDay = (iso) => parts(Date.parse(iso), { day: "numeric", month: "short" }, "UTC");

/**
 * "14 Nov 2026, 09:10".
 * @param {string} iso
 */
export const dayAndTime = (iso) => parts(Date.parse(iso), { dateStyle: "medium", timeStyle: "short" });

/**
 * A number with its unit in the reader's language: amount(2, "hour") is "2 hours", in German "2 Stunden".
 * @param {number} value
 * @param {string} unit
 * @param {"long" | "short"} [unitDisplay]
 */
function amount(value, unit, unitDisplay = "long") {
  /** @type {Intl.NumberFormatOptions} */
  const options = { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(locale(), options).format(value);
}

/**
 * A number in the format of the reader's language.
 * @param {number} value
 * @param {number} [digits] the most after the point
 */
export const number = (value, digits = 2) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

/**
 * "37%".
 * @param {number} value of 100
 */
export const percent = (value) => new Intl.NumberFormat(locale(), { style: "percent" }).format(value / 100);

/**
 * A text of the larger unit, and of the smaller unit unless it is 0.
 * @param {number} large
 * @param {string} unit
 * @param {number} small
 * @param {string} rest
 * @param {"long" | "short"} display
 */
const both = (large, unit, small, rest, display) =>
  amount(large, unit, display) + (small ? ` ${amount(small, rest, display)}` : "");

/**
 * Seconds as "45 seconds", "3 minutes", "1 hour 20 minutes", "2 days 4 hours". Negative spans count as none.
 * @param {number} seconds
 * @param {"long" | "short"} [display] "short": "1 hr 20 min"
 */
export function span(seconds, display = "long") {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return amount(whole, "second", display);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return amount(minutes, "minute", display);
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return both(hours, "hour", minutes % 60, "minute", display);
  return both(Math.floor(hours / 24), "day", hours % 24, "hour", display);
}

const COUNTED = 300; // seconds before the end in which the seconds are shown

/**
 * The remaining time as a short text; the last five minutes show seconds: "1 hr 20 min", "4 min 30 sec".
 * @param {number} seconds
 */
export function countdown(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60 || whole >= COUNTED) return span(whole, "short");
  return both(Math.floor(whole / 60), "minute", whole % 60, "second", "short");
}

/**
 * Hours as text: 0.25 -> "15 minutes", 1.5 -> "1 hour 30 minutes", 72 -> "72 hours".
 * @param {number} hours
 */
export function hoursText(hours) {
  if (hours >= 48) return amount(hours, "hour");
  return span(Math.round(hours * 60) * 60);
}

/**
 * Gigabytes (10**9 bytes) as "120 GB" or "1.1 TB".
 * @param {number} gb
 */
export function gigabytes(gb) {
  return gb >= 1000 ? amount(gb / 1000, "terabyte", "short") : amount(gb, "gigabyte", "short");
}

/**
 * Bytes as "5 MB", "2.1 GB" or "1.1 TB".
 * @param {number} count
 */
export function bytes(count) {
  const gb = count / 1e9;
  if (gb < 1) return amount(Math.round(count / 1e6), "megabyte", "short");
  return gigabytes(gb < 100 ? gb : Math.round(gb));
}

/**
 * The name of an ISO 3166 country code, or the code itself.
 * @param {string} code
 */
export function country(code) {
  try {
    return new Intl.DisplayNames([locale()], { type: "region" }).of(code) ?? code;
  } catch {
    return code; // not a code that Intl knows: show the catalogue's text
  }
}

/**
 * Seconds between two moments; null when either is missing.
 * @param {Moment} from
 * @param {Moment} to
 */
export function secondsBetween(from, to) {
  const a = toMs(from);
  const b = toMs(to);
  return a === null || b === null ? null : (b - a) / 1000;
}

/**
 * The time until a moment in hours and minutes, such as 1:05; never less than 0:00. Both are in ms since 1970.
 * @param {number} until
 * @param {number} now
 */
export function hoursUntil(until, now) {
  const minutes = Math.max(0, Math.ceil((until - now) / 60_000));
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}
