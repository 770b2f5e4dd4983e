/** Home: the person's sessions and clusters, live. */

import "./catalogue.js";

import { Trouble, addresses, ask, follow, startAgain, stopSession, troubleText } from "./api.js";
import { freeName } from "../common/choose.js";
import { clusters } from "./clusters.js";
import { announce, byId as at, h, render, settings } from "../common/dom.js";
import { clock, hoursText } from "../common/format.js";
import { endedRow, hubCard, nameRow, sessionCard } from "./home_view.js";
import { logins } from "./logins.js";
import { askPermission, canAsk, mayTell } from "./notify.js";
import { isLive, runsIn } from "./session.js";
import { say, soonBoxes } from "./soon.js";
import { W } from "../common/words.js";

const page = settings("fg-home");
const to = addresses(page.base, page.user, page.userUrl);
const RECENT = 6;
const STOP_PATIENCE = 15_000;
const WORKSHOP = "workshop-"; // the ids of workshops' projects begin with it

/** @type {Json} */
const state = {
  sessions: null, factories: [], trouble: null, busy: new Set(), troubles: new Map(), asking: null, next: null,
  renew: null, longer: null, moreAsked: new Map(), starting: null, told: new Set(),
  titles: new Map(), // of workshops, by the ids of their projects
  heard: 0, // number of received updates of the sessions
  servers: JSON.parse(at("fg-servers").textContent),
};

/** The title of a session's workshop; "" if it has none, or if its title is not known yet. */
const workshopOf = (session) => state.titles.get(session.choice.project) ?? "";

/** Asks once for the titles of workshops whose sessions are new on the page. */
async function askTitles(sessions) {
  const fresh = sessions.map((one) => one.choice.project).filter((id) => id?.startsWith(WORKSHOP) && !state.titles.has(id));
  if (!fresh.length) return;
  for (const id of fresh) state.titles.set(id, "");
  const projects = await attempt(() => ask(to.projects), () => undefined);
  for (const one of projects ?? []) if (one.id.startsWith(WORKSHOP)) state.titles.set(one.id, one.title || one.id);
  draw();
}

const live = () => (state.sessions ?? []).filter(isLive);
const moment = (session) => Date.parse(session.ended ?? session.created);

/** Servers that are active for the hub and that the gateway does not list. */
function hubOnly() {
  const told = new Set(live().map((session) => session.server));
  return state.servers.filter((server) => server.active && !told.has(server.name));
}

function drawNew() {
  const silent = state.sessions ? [] : hubOnly();
  const taken = [...live().map((session) => session.server), ...silent.map((server) => server.name)];
  const known = state.servers.map((server) => server.name);
  const name = freeName(taken, known, Number(page.limit), page.named === "yes");
  const button = at("fg-new");
  button.hidden = name === null;
  if (name !== null) button.href = to.spawn(name);
  at("fg-limit").textContent = name === null ? W.limitReached : "";
}

function tellButton() {
  if (mayTell()) return h("p", { class: "fg-quiet", key: "told" }, W.toldEnd);
  if (!canAsk()) return null;
  return h("button", {
    type: "button", class: "btn btn-sm btn-outline-contrast", key: "tell", onclick: async () => {
      if (await askPermission()) listen(); // from now on also while the tab is hidden
      draw();
    },
  }, W.tellEnd);
}

function draw() {
  const now = Date.now();
  render(at("fg-trouble"), state.trouble
    ? h("p", { class: "fg-notice fg-notice-warn" }, state.trouble.status === 401 ? state.trouble.message : `${W.homeSilent} ${troubleText(state.trouble)}`) : null);
  drawNew();
  if (!state.sessions && !state.trouble) return; // the placeholder stays
  const running = live().sort((a, b) => a.server.localeCompare(b.server, "en", { numeric: true }));
  // The data that came with the page are outdated once the gateway has sent newer ones.
  const only = state.sessions ? [] : hubOnly();
  render(at("fg-live"),
    running.map((one) =>
      sessionCard(one, state.factories, now, to, on, state.busy, state.moreAsked, state.troubles.get(one.id),
        workshopOf(one))),
    only.map((server) => hubCard(server, to, on)));
  at("fg-none").hidden = !state.sessions || running.length + only.length > 0;
  const ended = (state.sessions ?? []).filter((one) => !isLive(one)).sort((a, b) => moment(b) - moment(a)).slice(0, RECENT);
  at("fg-ended-part").hidden = ended.length === 0;
  render(at("fg-ended"), ended.map((one) =>
    endedRow(one, state.factories, now, to, on, state.starting === one.id, state.troubles.get(one.id))));
  render(at("fg-soon"), soonBoxes(running, now, to), running.length ? tellButton() : null);
  const kept = state.servers.filter((server) => server.name && !server.active && !running.some((one) => one.server === server.name));
  at("fg-names-part").hidden = kept.length === 0;
  render(at("fg-names"), kept.map((server) => nameRow(server.name, to, on)));
  ownClusters.show({ factories: state.factories, sessions: state.sessions ?? [] });
}

/** The stream has live sessions only; a missing one has ended, and the full list says how. */
function hear(sessions, whole) {
  askTitles(sessions);
  const before = new Map((state.sessions ?? []).map((one) => [one.id, one]));
  for (const one of sessions) {
    const known = before.get(one.id);
    if (known && known.state !== one.state) announce(W.named(W.server(one.server), W.state[one.state]));
  }
  const now = new Set(sessions.map((one) => one.id));
  const alive = new Set(sessions.filter(isLive).map((one) => one.id));
  const gone = [...before.values()].filter((one) => isLive(one) && !alive.has(one.id));
  const rest = whole ? [] : [...before.values()].filter((one) => !now.has(one.id));
  state.sessions = [...sessions, ...rest];
  state.trouble = null;
  say(sessions, state.told, Date.now());
  for (const one of sessions) {
    const asked = state.moreAsked.get(one.id);
    if (asked !== undefined && asked !== one.ends) state.moreAsked.delete(one.id);
  }
  for (const one of gone) {
    state.busy.delete(one.id);
    state.troubles.delete(one.id);
    if (one.id === state.next) location.href = `${to.spawn(one.server)}#again=${one.id}`;
    if (one.id === state.renew) {
      state.renew = null; // it is found missing again when the full list arrives
      on.again(one);
    }
  }
  draw();
  if (!whole && gone.length) refresh();
}

async function attempt(work, fail) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    fail(error);
    return undefined;
  }
}

function setTrouble(trouble) {
  state.trouble = trouble;
  draw();
}

const refresh = () => attempt(async () => {
  const before = state.heard;
  const sessions = await ask(to.sessions);
  if (state.heard === before) hear(sessions, true);
  else await refresh(); // the stream may have sent newer data than this answer
}, setTrouble);

async function stop(session) {
  if (state.busy.has(session.id) || session.wish === "stop") return;
  state.busy.add(session.id);
  state.troubles.delete(session.id);
  draw();
  const sorry = (text) => {
    state.busy.delete(session.id);
    state.troubles.set(session.id, text);
    draw();
  };
  await attempt(() => stopSession(to, session), (error) => sorry(error.message));
  setTimeout(() => {
    const now = live().find((one) => one.id === session.id);
    if (now && now.wish === "run" && state.busy.has(session.id)) sorry(W.stillThere);
  }, STOP_PATIENCE);
}

const on = {
  /** Stops the session; asks first if work would be lost. */
  stop(session) {
    const lost = runsIn(session, ownClusters.live);
    if (!lost.length || state.busy.has(session.id) || session.wish === "stop") {
      stop(session);
      return;
    }
    state.asking = session;
    at("fg-stop-head").textContent = W.stopHead(W.server(session.server));
    render(at("fg-stop-what"), lost.map((text, index) => h("li", { key: String(index) }, text)));
    at("fg-stop").showModal();
  },

  async stopServer(name) {
    await attempt(() => ask(to.server(name), { method: "DELETE" }), setTrouble);
    state.servers = state.servers.map((one) => (one.name === name ? { ...one, active: false, ready: false } : one));
    draw();
  },

  async remove(name) {
    const done = await attempt(() => ask(to.server(name), { method: "DELETE", body: { remove: true } }), setTrouble);
    if (done === undefined) return;
    state.servers = state.servers.filter((one) => one.name !== name);
    draw();
  },

  other(session) {
    state.asking = session;
    at("fg-other").showModal();
  },

  more(session) {
    if (state.moreAsked.has(session.id)) return;
    state.longer = session;
    const most = session.extend_hours;
    const field = at("fg-more-hours");
    field.max = most;
    field.value = Math.min(1, most);
    at("fg-more-most").textContent = W.moreMost(hoursText(most));
    drawMore();
    at("fg-more").showModal();
  },

  /** Starts a session with the same choices and name; JupyterLab then opens the same documents. */
  async again(session) {
    if (state.starting) return;
    state.starting = session.id;
    state.troubles.delete(session.id);
    draw();
    const done = await attempt(async () => {
      await startAgain(to, session);
      return true;
    }, (error) => state.troubles.set(session.id, [error.message, error.advice].filter(Boolean).join(" ")));
    if (done) location.href = to.pending(session.server);
    else state.starting = null;
    draw();
  },
};

function drawMore() {
  const hours = Number(at("fg-more-hours").value);
  const ends = Date.parse(state.longer?.ends ?? "") + hours * 3_600_000;
  at("fg-more-ends").textContent = hours > 0 && Number.isFinite(ends) ? W.moreEnds(clock(ends, Date.now())) : "";
}

async function askMore(session, hours) {
  state.moreAsked.set(session.id, session.ends);
  state.troubles.delete(session.id);
  draw();
  await attempt(() => ask(to.extend(session.id), { method: "POST", body: { hours } }), (error) => {
    state.moreAsked.delete(session.id);
    state.troubles.set(session.id, [error.message, error.advice].filter(Boolean).join(" "));
  });
  draw();
}

at("fg-more-hours").addEventListener("input", drawMore);
at("fg-more").addEventListener("close", () => {
  const session = state.longer;
  state.longer = null;
  const hours = Number(at("fg-more-hours").value);
  if (at("fg-more").returnValue === "go" && session && hours > 0) askMore(session, hours);
  at("fg-more").returnValue = "";
});

at("fg-stop").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (at("fg-stop").returnValue === "go" && session) stop(session);
  at("fg-stop").returnValue = "";
});

at("fg-other").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (at("fg-other").returnValue !== "go" || !session) return;
  at("fg-other").returnValue = "";
  state.next = session.id; // the start page opens once it has ended
  stop(session);
});

at("fg-again").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (at("fg-again").returnValue !== "go" || !session) return;
  at("fg-again").returnValue = "";
  state.renew = session.id; // it is started again once it has ended
  stop(session);
});

/**
 * The target of JupyterLab's "Start again": `#again=ID`. A link alone must not start or end anything, so the page asks.
 */
function askedFor() {
  const [, id] = /^#again=([0-9a-f]{32})$/.exec(location.hash) ?? [];
  const session = state.sessions?.find((one) => one.id === id);
  if (!session) return;
  history.replaceState(null, "", location.pathname + location.search); // so that a reload does not ask again
  if (isLive(session)) {
    state.asking = session;
    at("fg-again").showModal();
    return;
  }
  /** @type {HTMLElement | null} */
  const row = document.querySelector(`#fg-ended [data-again="${CSS.escape(session.server)}"]`);
  row?.focus();
}

let following = null;

/** Follows the sessions; in a hidden tab, too, for people who want notifications. */
function listen() {
  following?.stop();
  let first = true;
  following = follow({
    url: to.sessions, events: to.homeEvents, event: "sessions", whileHidden: mayTell(),
    onData: (sessions) => {
      state.heard += 1;
      hear(sessions, first || sessions.some((one) => !isLive(one)));
      if (first) askedFor();
      first = false;
    },
    also: { clusters: (told) => ownClusters.hear(told) },
    polled: { [to.clusters]: (told) => ownClusters.hear(told.filter((one) => one.state !== "ended")) },
    onTrouble: setTrouble,
  });
}

const ownLogins = logins(at("fg-logins-part"), to, (id, credential) => {
  setFactories(state.factories.map((one) => (one.id === id ? { ...one, credential } : one)));
});

const ownClusters = clusters(at("fg-clusters-part"), to);

function setFactories(factories) {
  state.factories = factories;
  ownLogins.show(factories);
  draw();
}

async function begin() {
  draw();
  listen();
  setInterval(() => document.visibilityState === "visible" && setFactories(state.factories), 10_000);
  const factories = await attempt(() => ask(to.factories), () => undefined);
  if (factories) setFactories(factories);
}

begin();
