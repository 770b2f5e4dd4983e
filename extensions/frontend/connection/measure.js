/** The tests of the connection check: each measures one thing and returns facts, which `verdicts.js` judges. */

import { ECHOES, EVENTS } from "./verdicts.js";

const TRIPS = 5;
const PATIENCE = 8000; // ms for an answer, also for the download, which the gateway ends after 5 s
const UPLOAD_BYTES = 256 * 1024;
const RANDOM_BYTES = 65_536; // the most that a browser makes at once
const BUSY_TRIES = 3;
const BUSY_MS = 20_000; // the longest wait if the gateway is busy

/** What JupyterLab 4 needs of a browser, by the name under which people find it. */
const NEEDED = {
  "custom elements": () => "customElements" in window && "attachShadow" in Element.prototype,
  "ResizeObserver": () => "ResizeObserver" in window,
  "IntersectionObserver": () => "IntersectionObserver" in window,
  "IndexedDB": () => "indexedDB" in window,
  "WebSocket": () => "WebSocket" in window,
  "CSS.grid": () => CSS.supports("display", "grid"),
  "String.replaceAll": () => "replaceAll" in String.prototype,
  "Promise.allSettled": () => "allSettled" in Promise,
};

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const isThere = (feature) => {
  try {
    return feature();
  } catch {
    return false;
  }
};

/** A page may store data; reading `localStorage` alone throws an error where the browser forbids it. */
function stores() {
  const key = "fg-check";
  localStorage.setItem(key, "1");
  localStorage.removeItem(key);
  return true;
}

/**
 * Fetches, and tries again if many people test at once. Returns the response and when its request began; throws an
 * error if there is no answer. `patience`: ms after which the response, also its body, is cut off.
 * @param {string} url
 * @param {number} patience
 * @param {RequestInit} [more]
 */
async function get(url, patience, more = {}) {
  for (let tries = 1; ; tries += 1) {
    const began = performance.now();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), patience);
    const response = await fetch(url, {
      cache: "no-store", credentials: "same-origin", redirect: "error", signal: stop.signal, ...more,
    });
    if (response.status !== 429 || tries === BUSY_TRIES) return { response, began };
    const seconds = Number(response.headers.get("Retry-After")) || 3;
    await pause(Math.min(BUSY_MS, 1000 * seconds));
  }
}

/** Reads a response piece by piece until it ends or is cut off. */
async function read(response, hear) {
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      hear(value);
    }
  } catch {
    // it was cut off: what has arrived counts
  }
}

/** A browser that cannot be asked at all counts as one without an answer. */
const orNothing = (work, nothing) => work.catch(() => nothing);

async function trips(base) {
  const times = [];
  let failed = 0;
  let busy = false;
  let kept = null;
  for (let n = 0; n < TRIPS; n += 1) {
    try {
      const { response, began } = await get(`${base}trip`, PATIENCE);
      busy ||= response.status === 429;
      if (!response.ok) throw new Error(String(response.status));
      kept = (await response.json()).cookie === true;
      times.push(performance.now() - began);
    } catch {
      failed += 1;
    }
  }
  return { times, failed, kept, busy: busy && !times.length };
}

async function download(base) {
  const { response, began } = await get(`${base}download`, PATIENCE);
  if (response.status === 429) return { busy: true };
  if (!response.ok) return { bytes: 0, ms: 0 };
  let bytes = 0;
  await read(response, (piece) => {
    bytes += piece.length;
  });
  return { bytes, ms: performance.now() - began };
}

async function upload(base) {
  const body = new Uint8Array(UPLOAD_BYTES);
  for (let at = 0; at < UPLOAD_BYTES; at += RANDOM_BYTES) crypto.getRandomValues(body.subarray(at, at + RANDOM_BYTES));
  const headers = { "Content-Type": "application/octet-stream" };
  const { response, began } = await get(`${base}upload`, 2 * PATIENCE, { method: "POST", headers, body });
  if (response.status === 429) return { busy: true };
  return { bytes: response.ok ? UPLOAD_BYTES : 0, ms: performance.now() - began };
}

async function stream(base) {
  const { response } = await get(`${base}stream`, PATIENCE, { headers: { Accept: "text/event-stream" } });
  if (response.status === 429) return { busy: true };
  const arrivals = [];
  const text = new TextDecoder();
  let rest = "";
  if (response.ok) {
    await read(response, (piece) => {
      const events = (rest + text.decode(piece, { stream: true })).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) if (event.includes("event: check")) arrivals.push(performance.now());
    });
  }
  return { arrivals: arrivals.slice(0, EVENTS) };
}

function socket(base) {
  const url = new URL(`${base}socket`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return new Promise((done) => {
    /** @type {Json} */
    const facts = { opened: false, echoes: [], closed: null };
    const connection = new WebSocket(url);
    const timer = setTimeout(end, PATIENCE);
    let sent = 0;

    function end() {
      clearTimeout(timer);
      connection.onclose = null;
      connection.close();
      done(facts);
    }

    function send() {
      sent = performance.now();
      connection.send(String(facts.echoes.length + 1));
    }

    connection.onopen = () => {
      facts.opened = true;
      send();
    };
    connection.onmessage = (message) => {
      if (message.data !== String(facts.echoes.length + 1)) return;
      facts.echoes.push(performance.now() - sent);
      if (facts.echoes.length === ECHOES) end();
      else send();
    };
    connection.onclose = (event) => {
      facts.closed = event.code;
      end();
    };
  });
}

/**
 * Does all tests, one after the other, and calls `begin(test)` before and `hear(test, facts)` after each.
 * @param {string} base path of the check, with a slash at its end
 * @param {(test: string) => void} begin
 * @param {(test: string, facts: Json) => void} hear
 */
export async function measure(base, begin, hear) {
  begin("browser");
  const missing = Object.keys(NEEDED).filter((name) => !isThere(NEEDED[name]));
  hear("browser", { missing, storage: isThere(stores) });
  begin("cookies");
  const { kept, ...trip } = await trips(base);
  hear("cookies", { kept });
  begin("trip");
  hear("trip", trip);
  begin("download");
  hear("download", await orNothing(download(base), { bytes: 0, ms: 0 }));
  begin("upload");
  hear("upload", await orNothing(upload(base), { bytes: 0, ms: 0 }));
  begin("stream");
  hear("stream", await orNothing(stream(base), { arrivals: [] }));
  begin("socket");
  hear("socket", await orNothing(Promise.resolve().then(() => socket(base)), { opened: false, echoes: [], closed: null }));
}
