/**
 * The verdicts of the connection check: pure functions from what the browser measured (`measure.js`) to a verdict, the
 * code of the texts that explain it (`words.js`), and the values in these texts.
 */

/** @typedef {"good" | "limited" | "bad" | "unknown"} Verdict */
/** @typedef {{test: string, verdict: Verdict, code: string, values: Record<string, number | string[]>}} Result */

/** The tests, in their order. */
export const TESTS = /** @type {const} */ (["browser", "cookies", "trip", "download", "upload", "stream", "socket"]);
export const ECHOES = 3; // messages that the test of WebSockets sends
export const EVENTS = 3; // events that the stream sends
export const BUSY = 4429; // code with which the gateway closes a WebSocket if many people test at once

const SLOW_TRIP = 400; // ms
const USELESS_DOWNLOAD = 0.3; // Mbit/s
const SLOW_DOWNLOAD = 2;
const SLOW_UPLOAD = 0.2;
const HELD_BACK = 300; // ms between the first and the last event, which are sent 600 ms apart

/** The middle one of some numbers; of an even number of them, the higher one of the two in the middle. */
export const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Mbit/s, rounded to at most two significant digits. */
export const megabits = ({ bytes, ms }) => Number(((bytes * 8) / 1000 / Math.max(ms, 1)).toPrecision(2));

const good = (code, values = {}) => ({ verdict: "good", code, values });
const limited = (code, values = {}) => ({ verdict: "limited", code, values });
const bad = (code, values = {}) => ({ verdict: "bad", code, values });
const UNKNOWN = { verdict: "unknown", code: "not-tested", values: {} };

/** For each test, from its facts to its verdict. A test that could not be done since the gateway is busy: `busy`. */
const JUDGES = {
  /** `missing`: names of what JupyterLab needs and the browser lacks; `storage`: it may store data of a page */
  browser({ missing, storage }) {
    if (missing.length) return bad("browser-old", { missing });
    return storage ? good("browser-fits") : limited("no-storage");
  },

  /** `kept`: the browser sent the page's cookie; null: no answer said so */
  cookies({ kept }) {
    if (kept === null) return UNKNOWN;
    return kept ? good("cookies-kept") : bad("cookies-lost");
  },

  /** `times`: ms of each answer; `failed`: the number of requests without an answer */
  trip({ times, failed }) {
    if (!times.length) return bad("no-answer");
    const ms = Math.round(median(times));
    if (failed) return limited("answers-lost", { failed, all: failed + times.length });
    return ms > SLOW_TRIP ? limited("answers-slow", { ms }) : good("answers", { ms });
  },

  /** `bytes` that arrived in `ms` */
  download({ bytes, ms }) {
    if (!bytes) return bad("download-blocked");
    const speed = megabits({ bytes, ms });
    if (speed < USELESS_DOWNLOAD) return bad("download-useless", { speed });
    return speed < SLOW_DOWNLOAD ? limited("download-slow", { speed }) : good("download", { speed });
  },

  /** `bytes` that the gateway took in `ms` */
  upload({ bytes, ms }) {
    if (!bytes) return bad("upload-blocked");
    const speed = megabits({ bytes, ms });
    return speed < SLOW_UPLOAD ? limited("upload-slow", { speed }) : good("upload", { speed });
  },

  /** `arrivals`: when each event arrived, in ms */
  stream({ arrivals }) {
    if (!arrivals.length) return limited("stream-blocked");
    if (arrivals.length < EVENTS) return limited("stream-cut");
    return arrivals[EVENTS - 1] - arrivals[0] < HELD_BACK ? limited("stream-held") : good("stream");
  },

  /** `opened`: the connection was accepted; `echoes`: ms of each answer; `closed`: the code with which it was closed */
  socket({ opened, echoes, closed }) {
    if (closed === BUSY) return UNKNOWN;
    if (!opened) return bad("socket-blocked");
    if (echoes.length < ECHOES) return bad("socket-silent");
    return good("socket", { ms: Math.round(median(echoes)) });
  },
};

/**
 * The result of a test. `facts`: as `measure.js` returns them; null: the test was not done.
 * @returns {Result}
 */
export function judge(test, facts) {
  const { verdict, code, values } = facts === null || facts.busy ? UNKNOWN : JUDGES[test](facts);
  return { test, verdict: /** @type {Verdict} */ (verdict), code, values };
}

/**
 * The verdict of all tests: of the worst one. A test that was not done hides no worse one.
 * @param {readonly Result[]} results
 * @returns {Verdict}
 */
export function overall(results) {
  const found = new Set(results.map((one) => one.verdict));
  return /** @type {const} */ (["bad", "unknown", "limited"]).find((one) => found.has(one)) ?? "good";
}
