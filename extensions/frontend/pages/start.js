/** The start page: stores the choice, follows the factories, and posts the form. */

import "./catalogue.js";

import { Trouble, addresses, ask, follow, troubleText } from "./api.js";
import {
  NAME_PATTERN, findEnvironment, findFactory, findSize, fromQuery, mostHours, preset, settle, unknownIn, within,
} from "../common/choose.js";
import { barred, costLines, payer, projectPicker } from "../common/cost.js";
import { announce, byId as at, h, render, settings } from "../common/dom.js";
import { lacks, nothingBox, obstacleBox, readyList } from "./ready.js";
import { watch } from "./soon.js";
import { delays, windows } from "../common/windows.js";
import { W } from "../common/words.js";
import {
  comingList, environmentCards, factoryCards, hoursPicker, obstacle, sizeCards, startLine, summary,
} from "../common/start_view.js";

const page = settings("fg-start");
const to = addresses(page.base, page.user, page.userUrl);
const form = at("spawn_form");
const FRESH = 30_000; // ms; the link caches estimates as long
const DEBOUNCE = 300;
const PROJECTS_WAIT = 1000; // ms; after it the page is shown without projects, and moves when they arrive
const MINUTES = ["idle_minutes", "unopened_minutes"];
const POSTED = "fg-posted";

/** @type {Json} */
const state = { factories: null, projects: null, ready: null, choice: null, from: null, sources: null, trouble: null, posting: false };
const estimates = new Map(); // "factory/size/hours" -> {at, value}; value is undefined while requested
/** @type {AbortController | null} */
let asked = null; // aborts the requested estimates of an older choice
let timer = 0;
let projectsAt = 0; // time of the last request

const key = (hours) => `${state.choice.factory}/${state.choice.size}/${hours}/${state.choice.project}`;
const estimateOf = (hours) => estimates.get(key(hours))?.value;

async function quiet(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Trouble) return null; // without presets the page shows its usual defaults
    throw error;
  }
}

/** The sources of the first choice: a refused post, a link, an earlier session, the last choice. */
async function gatherSources() {
  const again = new URLSearchParams(location.hash.slice(1)).get("again");
  const [last, session] = await Promise.all([
    quiet(ask(to.choice)), again ? quiet(ask(to.session(again))) : null,
  ]);
  const kept = page.refused ? sessionStorage.getItem(POSTED) : null;
  sessionStorage.removeItem(POSTED);
  return { posted: kept ? JSON.parse(kept) : null, link: fromQuery(location.search), again: session?.choice, last };
}

/** A choice, with fewer hours if the paying project does not allow as many. */
function withAllowedHours(factory, choice) {
  const most = mostHours(findSize(factory, choice.size), payer(factory, choice, state.projects)?.max_hours);
  return { ...choice, hours: Math.min(choice.hours, most) };
}

function choose(change, { settled = true } = {}) {
  const wanted = { ...state.choice, ...change };
  if (Object.keys(change).length > 0) state.changed = true;
  const factory = findFactory(state.factories, wanted.factory);
  state.choice = settled ? settle(wanted, factory) : wanted;
  if (settled && !("hours" in change)) state.choice = withAllowedHours(factory, state.choice);
  draw();
  clearTimeout(timer);
  timer = setTimeout(askEstimates, DEBOUNCE);
}

async function askEstimates() {
  clearTimeout(timer);
  timer = setTimeout(askEstimates, FRESH);
  if (document.visibilityState !== "hidden" && Date.now() - projectsAt > FRESH - 1000) {
    projectsAt = Date.now();
    askProjects();
  }
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  if (!factory || factory.health.state !== "ok" || document.visibilityState === "hidden") return;
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const hours = [...form.querySelectorAll("[data-hours]")].map((chip) => Number(chip.dataset.hours));
  await Promise.all(hours.map(async (each) => {
    const name = key(each);
    if (Date.now() - (estimates.get(name)?.at ?? 0) < FRESH - 1000) return;
    try {
      const value = await ask(to.estimate(state.choice.factory, state.choice.size, each, state.choice.project), { signal });
      estimates.set(name, { at: Date.now(), value });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Trouble)) throw error;
      estimates.set(name, { at: Date.now(), value: null });
    }
    draw();
  }));
}

function drawNotice() {
  const notices = [];
  const link = state.sources?.link;
  if (link && state.from === "link") {
    notices.push(h("p", { key: "link", class: "fg-notice" }, W.fromLink));
  }
  const unknown = link && state.factories ? unknownIn(link, state.factories) : [];
  if (unknown.length) {
    const pairs = unknown.map(([field, value]) => W.fromLinkPair(field, value)).join(", ");
    notices.push(h("p", { key: "unknown", class: "fg-notice fg-notice-warn" }, W.fromLinkUnknown(pairs)));
  }
  if (state.from === "again") notices.push(h("p", { key: "again", class: "fg-notice" }, W.fromAgain));
  if (state.trouble) {
    const silent = !state.factories && state.trouble.status !== 401 ? `${W.listSilent} ` : "";
    notices.push(h("p", { key: "trouble", class: "fg-notice fg-notice-warn", role: "status" },
      `${silent}${troubleText(state.trouble)}`));
  }
  render(at("fg-notices"), notices);
}

function drawButton(factory) {
  const button = at("fg-start-button");
  const blocked = barred(obstacle(factory, state.choice), state, Date.now());
  button.setAttribute("aria-disabled", String(Boolean(blocked) || state.posting));
  button.textContent = state.posting ? W.starting : W.start;
  render(at("fg-obstacle"), blocked && state.factories ? obstacleBox(blocked, factory, page.base) : []);
}

function draw() {
  drawNotice();
  const now = Date.now();
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  form.dataset.ready = String(Boolean(factory));
  drawButton(factory);
  if (!state.factories) return; // the placeholder stays until there are data
  at("fg-empty").hidden = Boolean(factory);
  at("fg-choose").hidden = !factory;
  render(at("fg-nothing"), nothingBox(state.ready));
  if (!factory) return;
  const { choice } = state;
  render(at("fg-factories"), factoryCards(state.factories, choice, now));
  render(at("fg-sizes"), sizeCards(factory, choice, now));
  render(at("fg-environments"), environmentCards(factory, choice));
  render(at("fg-hours"), [
    ...hoursPicker(factory, choice, estimateOf, now, (hours) => choose({ hours }),
      payer(factory, choice, state.projects)?.max_hours),
    ...windows(factory, choice, now, choose),
  ]);
  render(at("fg-delays"), isFolded() ? delays(factory, choice, now, choose) : []);
  const told = summary(factory, choice, estimateOf(choice.hours), now, costLines(factory, choice, state.projects, now),
    state.ready?.accounts ?? null);
  render(at("fg-asked"), told.asked);
  render(at("fg-mind"), told.mind);
  render(at("fg-happens"), told.happens);
  at("fg-aside-head").textContent = heading();
  render(at("fg-project"), projectPicker(factory, choice, state.projects));
  at("fg-short").textContent = startLine(factory, choice, estimateOf(choice.hours), now);
  for (const name of MINUTES) {
    const input = form.elements[name];
    const { least, most } = factory.bounds[name];
    input.max = most;
    at(`${name}-hint`).textContent = W.within(least, most);
    if (input !== document.activeElement) input.value = choice[name];
  }
  const giveUp = form.elements.give_up_hours;
  if (giveUp !== document.activeElement) giveUp.value = choice.give_up_hours ?? "";
  form.elements.url_tokens.checked = choice.url_tokens;
}

function hear(factories) {
  const before = state.choice && findFactory(state.factories, state.choice.factory);
  state.factories = factories;
  state.trouble = null;
  const { choice } = state;
  const factory = choice && findFactory(factories, choice.factory);
  if (!factory?.sizes.length) { // the factory was removed, or offers this person nothing any more
    const first = preset(factories, state.sources);
    state.choice = first.choice && withAllowedHours(findFactory(factories, first.choice.factory), first.choice);
    state.from = choice ? "default" : first.from;
  } else if (!findSize(factory, choice.size) || !findEnvironment(factory, choice.environment)) {
    state.choice = settle(choice, factory);
  }
  if (before && factory && findSize(before, choice.size)?.fits_now !== findSize(factory, choice.size)?.fits_now) {
    estimates.clear(); // they are outdated
    askEstimates();
  }
  draw();
  if (before && factory) {
    const estimate = estimateOf(state.choice.hours);
    announce(obstacle(factory, state.choice) ??
      W.changed(factory.site.machine, startLine(factory, state.choice, estimate, Date.now())));
  } else if (state.choice) askEstimates();
}

const isFolded = () => !at("fg-choose").open;

/** The heading of the choice: folded, and not changed by the person, the choice is the last one or a suggestion. */
function heading() {
  if (!isFolded() || state.changed) return W.youAsk;
  return state.from === "last" ? W.lastTime : W.suggestion;
}

/**
 * Folded, the page shows one choice with Start, and a link to all other choices. The suggestion then comes first, also
 * for keyboard and screen reader.
 */
function fold() {
  const folded = isFolded();
  form.classList.toggle("fg-folded", folded);
  if (folded) form.prepend(at("fg-aside"));
  else form.append(at("fg-aside"));
  at("fg-what").open = !folded;
  at("fg-aside-head").textContent = heading();
}

/** A link with options opens all choices at once. */
function unfoldIfAsked() {
  const again = new URLSearchParams(location.hash.slice(1)).has("again");
  const plain = page.folded && !page.refused && !again && !fromQuery(location.search) && !nameFromAddress();
  at("fg-choose").open = !plain;
  at("fg-choose").classList.toggle("fg-bare", !plain);
  fold();
}

function setAction(name) {
  const url = new URL(form.action, location.href);
  url.pathname = to.spawn(name);
  form.action = url.href;
}

form.addEventListener("change", (event) => {
  const { name, value } = event.target;
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  if (!factory) return;
  if (["factory", "environment", "project"].includes(name)) choose({ [name]: value });
  else if (name === "size") choose({ size: value, gpus: findSize(factory, value).size.gpus });
  else if (name === "hours") {
    const hours = within({ ...findSize(factory, state.choice.size).offer.hours, preset: state.choice.hours }, value);
    event.target.value = hours;
    choose({ hours });
  } else if (MINUTES.includes(name)) {
    const minutes = Math.round(within(factory.bounds[name], value));
    event.target.value = minutes;
    choose({ [name]: minutes });
  } else if (name === "reservation") choose({ reservation: value || null });
  else if (name === "url_tokens") choose({ url_tokens: event.target.checked });
  else if (name === "give_up_hours") choose({ give_up_hours: value === "" ? null : value });
});

form.addEventListener("input", (event) => {
  if (event.target.name !== "hours" || !state.choice) return;
  const { least, most } = findSize(findFactory(state.factories, state.choice.factory), state.choice.size).offer.hours;
  const hours = Number(event.target.value);
  if (hours >= least && hours <= most) choose({ hours }, { settled: false });
});

at("session-name").addEventListener("change", (event) => {
  const name = event.target.value.trim();
  const good = name === "" || NAME_PATTERN.test(name);
  event.target.setAttribute("aria-invalid", String(!good));
  at("session-name-hint").textContent = good ? page.nameHint : W.nameBad;
  if (good) setAction(name);
});

form.addEventListener("submit", (event) => {
  const name = at("session-name");
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  if (state.posting || barred(obstacle(factory, state.choice), state, Date.now())) {
    event.preventDefault();
    return;
  }
  if (name.getAttribute("aria-invalid") === "true") {
    event.preventDefault();
    at("fg-more").open = true;
    name.focus();
    return;
  }
  state.posting = true;
  sessionStorage.setItem(POSTED, JSON.stringify(state.choice));
  // Empty fields are not posted, so that the factory's defaults are used.
  if (form.elements.give_up_hours.value === "") form.elements.give_up_hours.disabled = true;
  drawButton(factory);
});

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  state.posting = false; // back from the waiting page: the form can be used again
  form.elements.give_up_hours.disabled = false;
  draw();
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") askEstimates();
});

/** The server's name in the URL: /hub/spawn/USER/NAME. */
function nameFromAddress() {
  const here = decodeURIComponent(location.pathname);
  const mine = decodeURIComponent(to.spawn(""));
  return here.startsWith(`${mine}/`) ? here.slice(mine.length + 1).replace(/\/$/, "") : "";
}

/** Planned factories change only with the catalogue, so they are requested once; they are optional. */
async function nameComing() {
  const coming = await quiet(ask(to.coming));
  at("fg-coming").hidden = !coming?.length;
  if (coming?.length) render(at("fg-coming-list"), comingList(coming));
}

/** Projects and budgets, requested with the estimates; without them, the link decides at the start. */
async function askProjects() {
  const first = state.ready === null;
  [state.projects, state.ready] = await Promise.all([quiet(ask(to.projects)), quiet(ask(to.ready))]);
  const { ready } = state;
  at("fg-ready").hidden = !ready?.accounts.length;
  if (ready?.accounts.length) {
    render(at("fg-ready-list"), readyList(ready, page.base));
    if (first && !isFolded()) at("fg-ready").open = lacks(ready);
  }
  if (first && state.choice) choose({});
  else if (state.factories) draw();
}

/**
 * Requests everything that the first choice needs at the same time. The choice is first shown with its projects, if these
 * arrive soon, so that no button moves away from under a pointer.
 */
function begin() {
  projectsAt = Date.now();
  const projects = Promise.race([askProjects(), new Promise((done) => { setTimeout(done, PROJECTS_WAIT); })]);
  const first = Promise.all([gatherSources(), projects]);
  follow({
    url: to.factories, events: to.factoriesEvents, event: "factories",
    onData: async (factories) => {
      state.sources ??= (await first)[0];
      hear(factories);
    },
    onTrouble: (trouble) => {
      state.trouble = trouble;
      draw();
    },
  });
}

/** On a narrow page the bar with Start is fixed; all other content can be scrolled clear of it, whatever its height. */
const bar = /** @type {HTMLElement} */ (document.querySelector(".fg-go"));
new ResizeObserver(() => document.documentElement.style.setProperty("--fg-go-height", `${bar.offsetHeight}px`))
  .observe(bar, { box: "border-box" });

at("session-name").value = nameFromAddress();
unfoldIfAsked();
at("fg-choose").addEventListener("toggle", () => {
  fold();
  draw();
});
begin();
nameComing();
watch(to);
