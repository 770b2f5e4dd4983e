/** Requests to the gateway and the hub, and event streams. */

import { showSlow } from "../common/slow.js";
import { W } from "../common/words.js";

export const FIRST_EVENT = 8000; // ms in which a stream must have its first event, which the gateway sends at once
export const NO_EVENT = 40_000; // ms without an event after which a stream is opened anew; there is one every 15 s
export const POLL = 5000; // ms between two requests where streams are held back
export const STREAM_AGAIN = 300_000; // ms after which a stream is tried again
const FRUITLESS = 3;
const LEAST_WAIT = 1000;
const MOST_WAIT = 30_000;
const STILL_STOPPING = /is pending \w+$/; // JupyterHub's message while an ended server is being removed
const STARTS = 6;

/** An error answer with a text for people. `status` 0: there was no answer. */
export class Trouble extends Error {
  constructor(status, message, problem = {}) {
    super(message);
    this.status = status;
    this.kind = problem.kind ?? null;
    this.advice = problem.do ?? "";
    this.scheduler = problem.scheduler ?? "";
  }
}

async function readProblem(response) {
  try {
    return await response.json();
  } catch {
    return {}; // not JSON but a page of a proxy or the hub; only the status is used
  }
}

/**
 * Fetches JSON (null for an empty body). Throws Trouble with words for everything that is not a good answer.
 * @param {string} url
 * @param {{method?: string, body?: Json, signal?: AbortSignal}} [request]
 * @returns {Promise<Json>}
 */
export async function ask(url, { method = "GET", body, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  // JupyterHub's own API wants the token also for a GET.
  if (method !== "GET" || url.includes("/hub/api/")) headers["X-XSRFToken"] = window.jhdata.xsrf_token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method, headers, signal, cache: "no-store", credentials: "same-origin", redirect: "manual",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0, W.noAnswer);
  }
  // The hub redirects a person who is signed out to its login page.
  if (response.type === "opaqueredirect" || response.status === 401) throw new Trouble(401, W.signedOut);
  if (!response.ok) {
    const problem = await readProblem(response);
    throw new Trouble(response.status, problem.message ?? W.status(response.status), problem);
  }
  if (response.status === 204 || response.status === 202) return null;
  const text = await response.text();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new Trouble(response.status, W.misread);
  }
}

/** The text about an error of repeated requests; a person who is signed out has to reload the page. */
export const troubleText = (trouble) => (trouble.status === 401 ? trouble.message : `${trouble.message} ${W.retrying}`);

/**
 * The pause before try number `n` (from 0), in ms: it doubles, with jitter, so that many pages do not retry at once.
 */
export function backoff(n, random = Math.random()) {
  return Math.min(MOST_WAIT, LEAST_WAIT * 2 ** Math.min(n, 10)) * (0.75 + random / 2);
}

/**
 * Stops a session. If the hub has the server, it stops it. For some seconds after its restart the hub may not know a
 * server; then the gateway stops the session.
 */
export async function stopSession(to, session, server = session.server) {
  try {
    await ask(to.server(server), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404 || !session) throw error;
  }
  if (!session) return;
  try {
    await ask(to.session(session.id), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404 && error.status !== 409) throw error; // 409: the hub is already stopping it
  }
}

/** Requests a session with the choices and the name of an ended one; JupyterLab opens the same documents. */
export async function startAgain(to, session) {
  const body = Object.fromEntries(Object.entries(session.choice).filter(([, value]) => value !== null));
  for (let tries = 1; ; tries += 1) {
    try {
      await ask(to.server(session.server), { method: "POST", body });
      return;
    } catch (error) {
      if (error.status !== 400 || !STILL_STOPPING.test(error.message) || tries === STARTS) throw error;
      await new Promise((done) => setTimeout(done, backoff(tries - 1)));
    }
  }
}

// In the tab's storage, so that its next page does not wait for a stream in vain.
const HELD = "fg-streams-held-until";

/** Until when no stream is tried, in ms since 1970; 0: streams were not held back. */
function heldUntil() {
  try {
    return Math.min(Number(sessionStorage.getItem(HELD)) || 0, Date.now() + STREAM_AGAIN);
  } catch {
    return 0; // the browser forbids pages to store data
  }
}

function remember(until) {
  try {
    sessionStorage.setItem(HELD, String(until));
  } catch {
    // the next page finds out by itself
  }
}

/**
 * Keeps `onData` informed: one GET of `url`, then the event stream. After anything that may have broken the stream
 * unnoticed (a phone that slept, a network that changed) it asks anew. `also`: who hears other events of that stream, by
 * name. `onTrouble(error)` tells of failures, which are retried for ever. A hidden tab gives its connection back unless
 * `whileHidden`: browsers allow six to one server. Returns {stop, again}.
 *
 * The gateway sends an event at the beginning of a stream and every 15 s. If none arrives though the connection is open,
 * or if several streams in a row end without one, something in between holds streams back: then `url` is asked every few
 * seconds instead, and `polled` (who hears the answers of further addresses, by address), and the page says so. From
 * time to time, and when the network changes, a stream is tried again. The tab's next page begins with what this one
 * found.
 * @param {{
 *   url: string, events: string, event: string, onData: (data: Json) => void,
 *   also?: Record<string, (data: Json) => void>, polled?: Record<string, (data: Json) => void>,
 *   onTrouble?: (error: Trouble) => void, whileHidden?: boolean,
 * }} what
 */
export function follow({ url, events, event, onData, also = {}, polled = {}, onTrouble, whileHidden = false }) {
  const me = Symbol(url);
  let stream = null;
  let timer = null;
  let silence = null;
  let tries = 0;
  let fruitless = 0; // streams in a row that ended without an event
  let streamAt = heldUntil(); // until then, in ms since 1970, no stream is tried
  let stopped = false;
  let round = 0;

  function close() {
    round += 1;
    clearTimeout(timer);
    clearTimeout(silence);
    stream?.close();
    stream = null;
  }

  function later(error) {
    if (stopped) return;
    close();
    onTrouble?.(error);
    timer = setTimeout(open, backoff(tries));
    tries += 1;
  }

  /** Asks every few seconds from now on. */
  function poll() {
    close();
    fruitless = 0;
    streamAt = Date.now() + STREAM_AGAIN;
    remember(streamAt);
    open();
  }

  async function askPolled(mine) {
    for (const [address, hear] of Object.entries(polled)) {
      const data = await ask(address).catch(() => undefined); // it is asked again in a few seconds
      if (mine !== round) return;
      if (data !== undefined) hear(data);
    }
  }

  async function open() {
    close();
    const mine = round;
    let data;
    try {
      data = await ask(url);
    } catch (error) {
      if (mine === round) later(error);
      return;
    }
    if (mine !== round || stopped) return;
    onData(data);
    if (mine !== round || stopped) return; // a handler may have stopped the stream
    if (Date.now() < streamAt) {
      tries = 0;
      showSlow(me, true);
      await askPolled(mine);
      if (mine === round) timer = setTimeout(open, POLL);
      return;
    }
    openStream(mine);
  }

  function openStream(mine) {
    let alive = false;
    stream = new EventSource(events);

    function hearing() {
      alive = true;
      tries = 0;
      fruitless = 0;
      if (streamAt) {
        streamAt = 0;
        remember(0);
      }
      showSlow(me, false);
      clearTimeout(silence);
      silence = setTimeout(open, NO_EVENT);
    }

    for (const [name, hear] of Object.entries({ alive: () => {}, [event]: onData, ...also })) {
      stream.addEventListener(name, (message) => {
        if (mine !== round) return;
        hearing();
        hear(JSON.parse(message.data));
      });
    }
    stream.onerror = () => {
      if (mine !== round) return;
      if (!alive) fruitless += 1;
      if (fruitless >= FRUITLESS) poll();
      else later(new Trouble(0, W.streamLost));
    };
    silence = setTimeout(poll, FIRST_EVENT);
  }

  function wake() {
    if (stopped) return;
    if (document.visibilityState === "hidden" && !whileHidden) close();
    else if (document.visibilityState === "visible") {
      tries = 0;
      open();
    }
  }

  /** The network may be another one. */
  function online() {
    streamAt = 0;
    wake();
  }

  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", online);
  window.addEventListener("pageshow", (shown) => shown.persisted && wake());
  open();
  return {
    again: open,
    stop() {
      stopped = true;
      close();
      showSlow(me, false);
      document.removeEventListener("visibilitychange", wake);
      window.removeEventListener("online", online);
    },
  };
}

/** Addresses, from JupyterHub's own base_url (ends in /hub/). */
export function addresses(base, user, userUrl) {
  const gateway = `${base}gateway/api/`;
  const name = encodeURIComponent(user);
  const part = (server) => (server ? `/${encodeURIComponent(server)}` : "");
  /** @satisfies {Record<string, string | ((...parts: Json[]) => string)>} */
  const to = {
    factories: `${gateway}factories`,
    factoriesEvents: `${gateway}factories/events`,
    coming: `${gateway}coming`,
    projects: `${gateway}projects`,
    ready: `${gateway}ready`,
    estimate: (factory, size, hours, project) =>
      `${gateway}factories/${encodeURIComponent(factory)}/estimate?${
        new URLSearchParams(project ? { size, hours, project } : { size, hours })}`,
    credential: (factory) => `${gateway}factories/${encodeURIComponent(factory)}/credential`,
    sessions: `${gateway}sessions`,
    sessionsEvents: `${gateway}sessions/events`,
    session: (id) => `${gateway}sessions/${encodeURIComponent(id)}`,
    extend: (id) => `${gateway}sessions/${encodeURIComponent(id)}/extend`,
    sessionEvents: (id) => `${gateway}sessions/${encodeURIComponent(id)}/events`,
    homeEvents: `${gateway}home/events`,
    clusters: `${gateway}clusters`,
    cluster: (id) => `${gateway}clusters/${encodeURIComponent(id)}`,
    choice: `${gateway}choice`,
    server: (server) => `${base}api/users/${name}/${server ? `servers/${encodeURIComponent(server)}` : "server"}`,
    spawn: (server) => `${base}spawn/${name}${part(server)}`,
    pending: (server) => `${base}spawn-pending/${name}${part(server)}`,
    open: (server) => (server ? `${userUrl}${encodeURIComponent(server)}/` : userUrl),
    person: `${base}api/users/${name}`,
    tokens: `${base}api/users/${name}/tokens`,
    token: (id) => `${base}api/users/${name}/tokens/${encodeURIComponent(id)}`,
    home: `${base}home`,
  };
  return to;
}
