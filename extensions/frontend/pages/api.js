/** Requests to the gateway and the hub, and event streams. */

import { W } from "../common/words.js";

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
  if (method !== "GET") headers["X-XSRFToken"] = window.jhdata.xsrf_token;
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
  if (response.type === "opaqueredirect") throw new Trouble(401, W.signedOut);
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

/**
 * Keeps `onData` informed: one GET of `url`, then the event stream. After anything that may have broken the stream
 * unnoticed (a phone that slept, a network that changed) it asks anew. `also`: who hears other events of that stream, by
 * name. `onTrouble(error)` tells of failures, which are retried for ever. A hidden tab gives its connection back unless
 * `whileHidden`: browsers allow six to one server. Returns {stop, again}.
 * @param {{
 *   url: string, events: string, event: string, onData: (data: Json) => void,
 *   also?: Record<string, (data: Json) => void>, onTrouble?: (error: Trouble) => void, whileHidden?: boolean,
 * }} what
 */
export function follow({ url, events, event, onData, also = {}, onTrouble, whileHidden = false }) {
  let stream = null;
  let timer = null;
  let tries = 0;
  let stopped = false;
  let round = 0;

  function close() {
    round += 1;
    clearTimeout(timer);
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
    stream = new EventSource(events);
    stream.onopen = () => {
      tries = 0;
    };
    for (const [name, hear] of Object.entries({ [event]: onData, ...also })) {
      stream.addEventListener(name, (message) => {
        if (mine === round) hear(JSON.parse(message.data));
      });
    }
    stream.onerror = () => {
      if (mine === round) later(new Trouble(0, W.streamLost));
    };
  }

  function wake() {
    if (stopped) return;
    if (document.visibilityState === "hidden" && !whileHidden) close();
    else if (document.visibilityState === "visible") {
      tries = 0;
      open();
    }
  }

  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", (shown) => shown.persisted && wake());
  open();
  return {
    again: open,
    stop() {
      stopped = true;
      close();
      document.removeEventListener("visibilitychange", wake);
      window.removeEventListener("online", wake);
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
    tokens: `${base}api/users/${name}/tokens`,
    token: (id) => `${base}api/users/${name}/tokens/${encodeURIComponent(id)}`,
    home: `${base}home`,
  };
  return to;
}
