/** The waiting page. It becomes the notebook, or an explanation. Also the pages "not running" and "stopping". */

import "./catalogue.js";

import { FIRST_EVENT, POLL, Trouble, addresses, ask, backoff, follow, startAgain, stopSession, troubleText } from "./api.js";
import { announce, byId, h, render, settings } from "../common/dom.js";
import { canAsk, askPermission, icon, isDenied, mayTell, tell } from "./notify.js";
import { change, endHead, isLive, isOutOfMemory, larger, names, ofServer, title } from "./session.js";
import { ending, factList, headline, reasonBox, stepper, story } from "./session_view.js";
import { watch } from "./soon.js";
import { W } from "../common/words.js";

const page = settings("fg-waiting");
const to = addresses(page.base, page.user, page.userUrl);
const body = byId("fg-waiting-body");
const FIND_AGAIN = 700;
const STOP_PATIENCE = 15_000;
const PRODUCT = document.title.split(" · ").at(-1); // the operator's name for the gateway
const JUST_NOW = 15_000;
const MOVING = 300_000; // ms after a class has moved, while the new seat is waited for

/** @type {Json} */
const state = {
  session: null, factories: [], trouble: null, cancelling: false, cancelFailed: null, ready: false,
  again: null, againFailed: null, moved: false,
};
let following = null;
let progress = null;
let looks = 0;
let coming = null; // the pause before the hub is asked again for a session that it does not know yet

const link = (href, text, kind) => h("a", { href, class: `btn ${kind}`, key: text }, text);

function buttonsAtEnd() {
  const home = link(to.home, W.toHome, "btn-outline-contrast");
  const { session } = state;
  if (!session) return [link(to.spawn(page.server), W.startAgain, "fg-primary"), home];
  const more = larger(session, state.factories);
  const button = (key, text, kind, choice) => h("button", {
    type: "button", class: `btn ${kind}`, key, "aria-disabled": String(state.again !== null), onclick: () => startOver(choice, key),
  }, state.again === key ? W.starting : text);
  const same = isOutOfMemory(session);
  const again = button("again", same ? W.startSame : W.startAgain, same ? "btn-outline-contrast" : "fg-primary", session.choice);
  return [more ? button("larger", W.startLarger(more.view.gpu_label), "fg-primary", more.choice) : null, again, link(`${to.spawn(page.server)}#again=${session.id}`, W.change, "btn-outline-contrast"), home];
}

function notifyButton() {
  if (mayTell()) return h("p", { class: "fg-quiet", key: "told" }, W.notify.on);
  if (canAsk()) {
    return h("button", {
      type: "button", class: "btn btn-outline-contrast", key: "ask", onclick: async () => {
        await askPermission();
        draw();
      },
    }, W.notify.ask);
  }
  return isDenied() && "Notification" in window ? h("p", { class: "fg-quiet", key: "denied" }, W.notify.denied) : null;
}

function cancelButton() {
  return h("button", {
    type: "button", id: "cancel", class: "btn btn-outline-danger", key: "cancel", "aria-disabled": String(state.cancelling),
    "aria-describedby": "fg-cancel-text", onclick: cancel,
  }, state.cancelling ? W.cancelling : W.cancel);
}

function drawActions() {
  const waiting = !state.session || ["pending", "starting", "unreachable"].includes(state.session.state);
  byId("fg-waiting-actions").hidden = !waiting || page.mode !== "pending";
  render(byId("fg-buttons"), cancelButton(), notifyButton());
  render(byId("fg-trouble"),
    state.cancelFailed ? h("p", { class: "fg-notice fg-notice-bad", key: "cancel" }, state.cancelFailed) : null,
    state.trouble ? h("p", { class: "fg-notice fg-notice-warn", key: "trouble" }, troubleText(state.trouble))
      : null);
}

function draw() {
  const { session } = state;
  const now = Date.now();
  const named = session ? names(session, state.factories) : null;
  if (state.moved && !session) {
    render(body, h("h1", {}, W.movedHead), h("p", { class: "fg-lead" }, W.movedText));
  } else if (session && !isLive(session)) {
    render(body, ending(session, now, buttonsAtEnd(), { factories: state.factories }), state.againFailed
      ? h("p", { class: "fg-notice fg-notice-bad", key: "again-failed", role: "alert" }, state.againFailed) : null);
  } else if (page.mode === "pending" || session) {
    const returns = page.mode === "stopped" && session?.state === "running";
    const alive = returns ? h("p", { class: "fg-notice", key: "coming" }, W.comingBack) : null;
    render(body, headline(session, named), alive, stepper(session), session ? reasonBox(session) : null,
      session ? factList(session, named, now) : null, session ? story(session, now, true) : null,
      state.ready ? h("div", { class: "fg-buttons", key: "open" }, link(location.href, W.openNow, "fg-primary")) : null);
  }
  if (page.mode === "pending" || session) {
    document.title = `${title(session)} · ${PRODUCT}`;
    icon(session?.state ?? "pending");
  }
  drawActions();
}

/** Once the server is ready, the hub redirects this page to the wanted page of the server (`next`). */
function goOn() {
  location.reload();
}

function ready() {
  state.ready = true;
  draw();
  // A hidden tab stays on this page if the person was notified: opening the notebook there would count as use.
  if (document.visibilityState === "hidden" && mayTell()) {
    tell(W.notify.ready, state.session ? names(state.session, state.factories).machine : "");
    document.title = `● ${W.title.running} · ${PRODUCT}`;
    document.addEventListener("visibilitychange", goOn, { once: true });
  } else goOn();
}

/** The hub gave up the start. The session explains why; without a session, the hub's own page does. */
async function failed() {
  progress?.close();
  try {
    if (state.session) hear(await ask(to.session(state.session.id)));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
  }
  tell(state.session && !isLive(state.session) ? endHead(state.session) : W.notify.failed, state.session?.end?.what ?? "");
  if (!state.session || isLive(state.session)) goOn();
}

/** JupyterHub's own stream reports when its proxy serves the session; it is opened only when that is near. */
function followProgress() {
  if (progress || !page.progressUrl || page.mode !== "pending") return;
  let tries = 0;
  const open = () => {
    progress = new EventSource(page.progressUrl);
    const silence = setTimeout(lookAtServer, FIRST_EVENT); // the hub sends an event at once
    progress.onmessage = (message) => {
      const event = JSON.parse(message.data);
      tries = 0;
      clearTimeout(silence);
      if (event.session && !following) followSession(event.session.id); // the event's own text is English, for scripts
      if (event.ready || event.failed) progress.close();
      if (event.ready) ready();
      if (event.failed) failed();
    };
    progress.onerror = () => {
      clearTimeout(silence);
      progress.close();
      tries += 1;
      // The stream cannot be opened: the hub was restarted, or no longer starts this server. The hub decides.
      if (tries > 3 && state.session?.reachable) goOn();
      else setTimeout(open, backoff(tries));
    };
  };
  open();
}

/** Where JupyterHub's stream is held back: asks every few seconds whether the hub has the server ready. */
async function lookAtServer() {
  progress?.close();
  if (state.ready) return;
  try {
    const { servers } = await ask(to.person); // those that run or are being started
    const server = servers?.[page.server];
    if (server?.ready) ready();
    else if (servers && !server) failed();
    if (servers && (!server || server.ready)) return;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
  }
  setTimeout(lookAtServer, POLL);
}

/** Whether a session has just ended since its class moved: its person gets a new one. */
const isMoving = (session) =>
  session.end_reason === "moved" && Date.parse(session.ended ?? session.created) > Date.now() - MOVING;

/** Looks for the session at the place to which the class has moved. */
function leave() {
  following?.stop();
  following = null;
  state.session = null;
  state.trouble = null;
  if (!state.moved) announce(W.movedText);
  state.moved = true;
  draw();
  setTimeout(look, FIND_AGAIN);
}

function hear(session) {
  if (isMoving(session) && page.mode !== "stopping") {
    leave();
    return;
  }
  const said = change(state.session, session);
  const before = state.session;
  state.session = session;
  state.trouble = null;
  if (said) announce(said);
  if (session.reachable || session.state === "running") followProgress();
  if (!isLive(session)) {
    following?.stop();
    if (before && isLive(before) && !state.cancelling) tell(endHead(session), session.end?.what ?? "");
    if (page.mode === "stopping") location.replace(to.home);
  }
  if (page.mode === "stopped" && session.reachable) coming ??= setTimeout(goOn, backoff(2));
  draw();
}

function followSession(id) {
  following = follow({
    url: to.session(id), events: to.sessionEvents(id), event: "session", whileHidden: true, onData: hear,
    onTrouble: (trouble) => {
      state.trouble = trouble;
      draw();
    },
  });
}

/** The session of this page's user and server: the live one, else the last ended one, else null. */
const lastOne = async () => ofServer(await ask(to.sessions), page.user, page.server);

/**
 * Whether a message of the hub is about an ended session: the session has just ended, or the message contains its text.
 */
function isTold(session, message) {
  if (session.end?.what && message.includes(session.end.what)) return true;
  return Date.parse(session.ended ?? session.created) > Date.now() - JUST_NOW;
}

/** Whether the page is about this session. While the hub starts a session, an ended one is an older one. */
function isMeant(session) {
  if (isLive(session)) return true;
  if (isMoving(session)) return page.mode === "stopped" && !state.moved;
  if (page.mode !== "stopped") return false;
  return !page.failed || isTold(session, body.textContent);
}

async function look() {
  try {
    const session = await lastOne();
    state.trouble = null;
    if (session && isMeant(session)) {
      hear(session);
      if (isLive(session)) followSession(session.id);
      return;
    }
    if (page.mode !== "pending" && !state.moved) return;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    state.trouble = error;
    draw();
  }
  looks += 1;
  if (looks === 2) followProgress(); // the start may have been refused before there was a session
  if (!following) setTimeout(look, FIND_AGAIN + backoff(looks) / 4);
}

/** `choice`: the choice of the new session; `key`: the pressed button's. */
async function startOver(choice, key) {
  if (state.again !== null) return;
  state.again = key;
  draw();
  try {
    await startAgain(to, { ...state.session, choice });
    location.href = to.pending(state.session.server);
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    state.again = null;
    state.againFailed = [error.message, error.advice].filter(Boolean).join(" ");
    draw();
  }
}

async function cancel() {
  if (state.cancelling) return;
  state.cancelling = true;
  state.cancelFailed = null;
  draw();
  try {
    await stopSession(to, state.session, page.server);
    if (!state.session) location.replace(to.home);
    setTimeout(() => {
      if (!state.session || !isLive(state.session) || state.session.wish === "stop") return;
      state.cancelling = false;
      state.cancelFailed = W.stillThere;
      draw();
    }, STOP_PATIENCE);
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    state.cancelling = false;
    state.cancelFailed = error.message;
    draw();
  }
}

/** Removes the token of JupyterHub's form from the URL, where it is useless; `next` stays. */
function tidyAddress() {
  const here = new URL(location.href);
  if (!here.searchParams.has("_xsrf")) return;
  here.searchParams.delete("_xsrf");
  history.replaceState(history.state, "", here);
}

async function begin() {
  tidyAddress();
  draw();
  look();
  if (page.mode === "pending") watch(to);
  setInterval(() => state.session && document.visibilityState === "visible" && draw(), 1000);
  try {
    state.factories = await ask(to.factories);
    draw();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error; // without names of machines, ids are shown
  }
}

begin();
