/** Pure formatting for people: moments, spans, sizes. Moments are ISO strings or epoch milliseconds; `now` is epoch ms. */

const LOCALE = "en-GB";
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Epoch milliseconds of an ISO string or number; null when there is none or it cannot be read. */
export function toMs(moment) {
  if (moment === null || moment === undefined || moment === "") return null;
  const ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isFinite(ms) ? ms : null;
}

function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(LOCALE, { ...options, timeZone }).format(ms);
}

/** "14:20", "tomorrow 09:10", "Fri 14 Nov, 09:10": as short as it can be without being ambiguous. */
export function clock(moment, now, timeZone) {
  const ms = toMs(moment);
  if (ms === null) return "";
  const time = parts(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, timeZone);
  const day = (at) => parts(at, { year: "numeric", month: "2-digit", day: "2-digit" }, timeZone);
  if (day(ms) === day(now)) return time;
  if (day(ms) === day(now + DAY)) return `tomorrow ${time}`;
  if (day(ms) === day(now - DAY)) return `yesterday ${time}`;
  const date = parts(ms, { weekday: "short", day: "numeric", month: "short" }, timeZone).replace(",", "");
  return `${date}, ${time}`;
}

/** Seconds as "45 s", "3 min", "1 h 20 min", "2 d 4 h". Negative spans count as none. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** Seconds counting up on a waiting page: "0:07", "12:03", "1:02:03". */
export function stopwatch(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Hours as they are asked for: 0.25 -> "15 min", 1.5 -> "1 h 30 min", 72 -> "72 h" (never days). */
export function hoursText(hours) {
  if (hours >= 48) return `${trim(hours)} h`;
  return span(Math.round(hours * 60) * 60);
}

/** Gigabytes (10**9 bytes) as "120 GB" or "1.1 TB". */
export function gigabytes(gb) {
  if (gb >= 1000) return `${trim(gb / 1000)} TB`;
  return `${trim(gb)} GB`;
}

function trim(number) {
  return String(Math.round(number * 10) / 10);
}

/** The English name of an ISO 3166 country code, or the code itself. */
export function country(code) {
  try {
    return new Intl.DisplayNames([LOCALE], { type: "region" }).of(code) ?? code;
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

/** "1 core", "16 cores". */
export function count(n, one, many) {
  return `${n} ${n === 1 ? one : many}`;
}
