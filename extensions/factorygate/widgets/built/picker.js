// common/translate.js
var ENGLISH = { language: "en", texts: {}, plural: "" };
var catalogue = ENGLISH;
function readCatalogue(given) {
  if (typeof given !== "object" || given === null) return ENGLISH;
  const { language, texts, plural } = (
    /** @type {Record<string, unknown>} */
    given
  );
  if (typeof language !== "string" || typeof texts !== "object" || texts === null || typeof plural !== "string") return ENGLISH;
  const whole = Object.entries(texts).filter(([, text]) => [text].flat().every((form) => typeof form === "string"));
  return { language, texts: Object.fromEntries(whole), plural };
}
function use(given) {
  catalogue = given;
}
var locale = () => catalogue.language === "en" ? "en-GB" : catalogue.language;
var fill = (text, parts2) => text.replace(/\{(\w+)\}/g, (whole, name) => String(parts2[name] ?? whole));
function t(text, parts2 = {}) {
  const found = catalogue.texts[text];
  return fill(typeof found === "string" ? found : text, parts2);
}
function counted(n) {
  if (Number.isInteger(n)) return n;
  return catalogue.plural[0] === catalogue.plural[1] ? Math.floor(n) : 2;
}
function tn(n, one, many, parts2 = {}) {
  const forms = catalogue.texts[one];
  const whole = counted(n);
  const form = Number(catalogue.plural[whole < 100 ? whole : 100 + whole % 100]);
  const text = (Array.isArray(forms) ? forms[form] : void 0) ?? (n === 1 ? one : many);
  return fill(text, { n: new Intl.NumberFormat(locale()).format(n), ...parts2 });
}

// widgets/catalogue.js
use(readCatalogue(FACTORYGATE_TEXTS));

// widgets/frame.js
var DARK = "(prefers-color-scheme: dark)";
function isDark() {
  const told2 = document.body.dataset.jpThemeLight;
  return told2 === void 0 ? window.matchMedia(DARK).matches : told2 === "false";
}
function enter(event) {
  if (event.key !== "Enter" || !event.target.matches("input[type=number], input[type=text]")) return;
  event.target.blur();
  event.target.focus();
}
function mount(el, content, styles) {
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  const root = el.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles);
  root.adoptedStyleSheets = [sheet];
  root.append(content);
  root.addEventListener("keydown", enter);
  const dress = () => {
    content.dataset.bsTheme = isDark() ? "dark" : "light";
  };
  const themes = new MutationObserver(dress);
  themes.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  const preference = window.matchMedia(DARK);
  preference.addEventListener("change", dress);
  dress();
  return () => {
    themes.disconnect();
    preference.removeEventListener("change", dress);
  };
}
var FRAMES = 600;
function tellState(el, text) {
  el.factorygateState = text;
  let frames = 0;
  const tell = () => {
    if (el.factorygateState !== text) return;
    if (!el.isConnected) {
      if (frames++ < FRAMES) requestAnimationFrame(tell);
      return;
    }
    el.dispatchEvent(new CustomEvent("factorygate-state", { bubbles: true, composed: true, detail: text }));
  };
  tell();
}
function listen(model, traits, heard) {
  const events = traits.map((trait) => `change:${trait}`);
  for (const event of events) model.on(event, heard);
  return () => {
    for (const event of events) model.off(event, heard);
  };
}

// common/format.js
var MINUTE = 6e4;
var DAY = 24 * 60 * MINUTE;
function toMs(moment) {
  if (moment === null || moment === void 0 || moment === "") return null;
  const ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isFinite(ms) ? ms : null;
}
var msOf = (moment) => toMs(moment) ?? NaN;
function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone }).format(ms);
}
function clock(moment, now, timeZone) {
  const ms = toMs(moment);
  if (ms === null) return "";
  const time = parts(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, timeZone);
  const day = (at) => parts(at, { year: "numeric", month: "2-digit", day: "2-digit" }, timeZone);
  if (day(ms) === day(now)) return time;
  for (const away of [1, -1]) {
    const name = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(away, "day");
    if (day(ms) === day(now + away * DAY)) return `${name} ${time}`;
  }
  const date = parts(ms, { weekday: "short", day: "numeric", month: "short" }, timeZone).replace(",", "");
  return `${date}, ${time}`;
}
function amount(value, unit, unitDisplay = "long") {
  const options = { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(locale(), options).format(value);
}
var number = (value, digits = 2) => new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);
var both = (large, unit, small, rest, display) => amount(large, unit, display) + (small ? ` ${amount(small, rest, display)}` : "");
function span(seconds, display = "long") {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return amount(whole, "second", display);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return amount(minutes, "minute", display);
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return both(hours, "hour", minutes % 60, "minute", display);
  return both(Math.floor(hours / 24), "day", hours % 24, "hour", display);
}
function hoursText(hours) {
  if (hours >= 48) return amount(hours, "hour");
  return span(Math.round(hours * 60) * 60);
}
function gigabytes(gb) {
  return gb >= 1e3 ? amount(gb / 1e3, "terabyte", "short") : amount(gb, "gigabyte", "short");
}
function country(code) {
  try {
    return new Intl.DisplayNames([locale()], { type: "region" }).of(code) ?? code;
  } catch {
    return code;
  }
}

// common/choose.js
var SOON = 6e4;
var LADDER = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 36, 48, 72, 96, 120, 168, 240, 336, 480, 720];
var RUNGS = [1, 4, 12, 24, 48];
function takesRequests(factory) {
  return factory.health.state === "ok" || factory.health.state === "starting";
}
function sizeStart(view, now, estimate = view.estimate) {
  if (view.fits_now > 0) return { known: true, now: true, at: null };
  const at = toMs(estimate?.start);
  if (at === null) return { known: false, now: false, at: null };
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}
function hoursStart(view, estimate, now) {
  const at = toMs(estimate?.start);
  if (at === null) return sizeStart(view, now, null);
  return at <= now + SOON ? { known: true, now: true, at: null } : { known: true, now: false, at };
}
function cardSize(factory) {
  const order = (a, b) => a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  const sizes = [...factory.sizes].sort(order);
  return sizes.find((view) => view.size.gpus > 0) ?? sizes[0] ?? null;
}
function loadOf(factory, view) {
  return factory.partitions.find((load) => load.name === view?.size.partition) ?? null;
}
function earliest(factories, now) {
  let best = null;
  for (const factory of factories) {
    const view = cardSize(factory);
    if (factory.health.state !== "ok" || factory.rules_open || !view) continue;
    const start = sizeStart(view, now);
    if (!start.known) continue;
    const rank = { id: factory.id, at: start.at ?? 0, fits: view.fits_now };
    if (!best || rank.at < best.at || rank.at === best.at && rank.fits > best.fits) best = rank;
  }
  return best?.id ?? null;
}
var findFactory = (factories, id) => factories.find((factory) => factory.id === id) ?? null;
var findSize = (factory, id) => factory?.sizes.find((view) => view.size.id === id) ?? null;
var fits = (view, environment) => view.offer.environments.includes(environment);
function mostHours(view, limit) {
  return Math.max(view.offer.hours.least, Math.min(view.size.max_hours, limit ?? Infinity));
}
function ladder(maxHours) {
  return [...LADDER.filter((step2) => step2 < maxHours), maxHours];
}
function rungs(maxHours, chosen) {
  const offered = RUNGS.filter((step2) => step2 <= maxHours).slice(0, 2);
  return [.../* @__PURE__ */ new Set([...offered, chosen])].sort((a, b) => a - b);
}
function nearest(steps, hours) {
  let best = 0;
  steps.forEach((step2, index) => {
    if (Math.abs(step2 - hours) < Math.abs(steps[best] - hours)) best = index;
  });
  return best;
}
function within(bounds, value) {
  const number2 = typeof value === "number" ? value : parseFloat(value);
  return Number.isFinite(number2) ? Math.min(bounds.most, Math.max(bounds.least, number2)) : bounds.preset;
}
function settle(wanted, factory) {
  const view = findSize(factory, wanted.size) ?? sameGpus(factory, wanted.gpus) ?? findSize(factory, factory.default_size) ?? factory.sizes[0];
  const { offer, projects } = view;
  const { bounds } = factory;
  const preset = offer.project_in[wanted.reservation] ?? (factory.project_needed === false ? null : offer.project);
  const project = !factory.projects?.length || projects?.includes(wanted.project) ? wanted.project ?? null : preset;
  const reservation = factory.reservations?.find((one) => one.id === wanted.reservation && isIn(project, one));
  return {
    factory: factory.id,
    size: view.size.id,
    gpus: view.size.gpus,
    environment: fits(view, wanted.environment) ? wanted.environment : offer.environment,
    hours: within(offer.hours, wanted.hours),
    idle_minutes: within(bounds.idle_minutes, wanted.idle_minutes),
    unopened_minutes: within(bounds.unopened_minutes, wanted.unopened_minutes),
    give_up_hours: within(bounds.give_up_hours, wanted.give_up_hours),
    url_tokens: wanted.url_tokens === true,
    // the text "true" in a link does not count
    project,
    reservation: reservation?.id ?? null
  };
}
var isIn = (project, reservation) => !reservation.projects?.length || reservation.projects.includes(project);
function sameGpus(factory, gpus) {
  if (gpus === void 0 || gpus === null) return null;
  return factory.sizes.find((view) => view.size.gpus === gpus) ?? null;
}

// common/dom.js
var shown = (children) => (
  /** @type {(Node | string)[]} */
  children.flat(2).filter((child) => child !== null && child !== void 0 && child !== false)
);
var decided = /* @__PURE__ */ new WeakSet();
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === void 0 || value === false) continue;
    if (name === "key") element.dataset.key = value;
    else if (name.startsWith("on")) Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  if (attributes?.value !== void 0 && "value" in element) Object.assign(element, { value: attributes.value });
  if (attributes && "checked" in attributes) decided.add(element);
  element.append(...shown(children));
  return element;
}
function render(parent, ...fresh) {
  const holder = document.createElement("div");
  holder.append(...shown(fresh));
  morphChildren(parent, holder);
}
var isElement = (node) => node?.nodeType === Node.ELEMENT_NODE;
function sameKind(old, fresh) {
  if (old.nodeType !== fresh.nodeType) return false;
  if (!isElement(old) || !isElement(fresh)) return true;
  return old.tagName === fresh.tagName && old.dataset.key === fresh.dataset.key;
}
var elements = (element) => [.../** @type {HTMLCollectionOf<HTMLElement>} */
element.children];
function morphChildren(parent, holder) {
  const staying = new Set(elements(holder).map((child) => child.dataset.key));
  const keyed = /* @__PURE__ */ new Map();
  for (const child of elements(parent)) {
    if (child.dataset.key === void 0) continue;
    if (staying.has(child.dataset.key)) keyed.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstChild;
  for (const fresh of [...holder.childNodes]) {
    const key = isElement(fresh) ? fresh.dataset.key : void 0;
    let old = key === void 0 ? place : keyed.get(key);
    if (key === void 0) {
      while (isElement(old) && old.dataset.key !== void 0) old = old.nextSibling;
    }
    if (old && sameKind(old, fresh)) {
      if (old === place) place = old.nextSibling;
      else parent.insertBefore(old, place);
      morph(old, fresh);
    } else {
      parent.insertBefore(fresh, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    parent.removeChild(place);
    place = next;
  }
}
var isChosen = (old, fresh) => !decided.has(fresh) && old.checked !== old.defaultChecked && old.defaultChecked === fresh.defaultChecked && old.name === fresh.name && old.value === fresh.value;
var HANDLERS = (
  /** @type {const} */
  ["onclick", "onchange", "oninput"]
);
function morph(old, fresh) {
  if (!isElement(old) || !isElement(fresh)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  const areInputs = old instanceof HTMLInputElement && fresh instanceof HTMLInputElement;
  const chosen = areInputs && isChosen(old, fresh);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  for (const handler of HANDLERS) {
    if (old[handler] !== fresh[handler]) Object.assign(old, { [handler]: fresh[handler] });
  }
  if (areInputs) {
    if (!chosen && old.checked !== fresh.checked) old.checked = fresh.checked;
    const given = fresh.hasAttribute("value");
    const { activeElement } = (
      /** @type {Document | ShadowRoot} */
      old.getRootNode()
    );
    if (given && old !== activeElement && old.value !== fresh.value) old.value = fresh.value;
    return;
  }
  morphChildren(old, fresh);
}

// common/state_words.js
var sessionName = (name) => name || t("Main session");
var stateWords = () => (
  /** @satisfies {Record<string, string>} */
  {
    pending: t("In the queue"),
    starting: t("Starting"),
    running: t("Running"),
    ending: t("Ending"),
    ended: t("Ended"),
    unreachable: t("Not answering")
  }
);

// common/words.js
var W = {
  // Asking and not being answered
  noAnswer: t("The gateway does not answer. Check your own connection."),
  streamLost: t("Live updates stopped for a moment."),
  signedOut: t("You are signed out. Reload the page to sign in again."),
  misread: t("The gateway gave an answer that this page does not understand."),
  status: (code) => ({
    403: t("You may not do this."),
    404: t("This does not exist, or no longer exists."),
    409: t("Another window is changing this right now. Try again."),
    502: t("The gateway does not answer right now."),
    503: t("The gateway does not answer right now."),
    504: t("The gateway does not answer right now.")
  })[code] ?? t("The gateway answered with an error ({code}).", { code }),
  retrying: t("This page keeps trying; you do not need to reload."),
  slow: t("This page asks for news every few seconds: something between you and the gateway, such as a proxy or a virus scanner, holds live updates back."),
  toCheck: t("Check your connection"),
  pageOld: t("The gateway does not answer, so this page may be out of date. It keeps trying."),
  // Start: factories
  freeNow: t("Free now"),
  startsNow: t("now"),
  startsAbout: (when) => t("Starts about {when}", { when }),
  about: (when) => t("about {when}", { when }),
  startUnknown: t("Start time unknown"),
  unknown: t("not known yet"),
  noSizes: t("You cannot start anything here right now"),
  noSizesForProjects: t("No size here is open to your projects"),
  checking: t("Asking what is free…"),
  silent: (when) => when ? t("Not answering, last seen {when}", { when }) : t("Not answering"),
  inMaintenance: (when) => t("In maintenance until {when}", { when }),
  maintenanceFrom: (when) => t("Maintenance from {when}", { when }),
  draining: t("Closed for new sessions"),
  rulesOpen: t("You have not accepted its terms of use yet"),
  toChecklist: t("To your checklist"),
  earliest: t("Earliest start"),
  gpusFree: (free, total, unit) => tn(total, "{free} of {n} {unit} free", "{free} of {n} {unit}s free", { free, unit }),
  gpusEach: (n, unit) => tn(n, "{n} {unit} a node", "{n} {unit}s a node", { unit }),
  waitingJobs: (n) => tn(n, "{n} job waiting", "{n} jobs waiting"),
  noFactories: t("No factory is open to you right now."),
  listSilent: t("The list of factories could not be loaded."),
  // Start: sizes, environments, hours
  shape: (cores, memory) => tn(cores, "{n} core · {memory} memory", "{n} cores · {memory} memory", { memory }),
  billed: (amount2) => t("Costs {amount}", { amount: amount2 }),
  billedAs: (unit) => t("Billed as {unit}", { unit }),
  upTo: (hours) => t("up to {hours}", { hours }),
  wholeNode: t("the whole node"),
  moreFit: (n) => tn(n, "Room for {n} now", "Room for {n} now"),
  noFitWhen: (when) => t("Full; starts {when}", { when }),
  notForSize: (size) => t("Does not run on {size}", { size }),
  noGpu: t("Without a GPU"),
  notWithoutGpu: t("Needs a GPU"),
  noEnvironments: (machine) => t("{machine} has no environment yet, so nothing can be started there. Pick another factory.", { machine }),
  endsAt: (when) => t("If it starts now, it ends at {when}.", { when }),
  endsLater: (start, end) => t("It would start about {start} and end about {end}.", { start, end }),
  hoursLimit: (limit) => t("You can ask for at most {limit}.", { limit }),
  hours: t("Hours"),
  hoursInSteps: t("Hours, in steps"),
  estimateChip: (hours, when) => t("{hours}: {when}", { hours, when }),
  asking: "…",
  // Start: summary. What stands between stars is set in bold.
  ask: (hours, size, machine) => t("You ask for *{size}* on *{machine}* *for {hours}*.", { hours, size, machine }),
  askCores: (hours, cores, machine) => tn(
    cores,
    "You ask for *{n} core* on *{machine}* *for {hours}*.",
    "You ask for *{n} cores* on *{machine}* *for {hours}*.",
    { hours, machine }
  ),
  suggestion: t("Our suggestion"),
  lastTime: t("Based on your last choice"),
  youAsk: t("What you ask for"),
  startLine: {
    now: t("It should start now."),
    unknown: t("The start time is not known yet."),
    closed: ""
  },
  startsLine: (when) => t("It should start about {when}.", { when }),
  files: (machine, folder) => t("Your files are on {machine}, in {folder}. Files on other factories are not there.", { machine, folder }),
  homeFolder: t("your home folder"),
  quota: (folder, quota) => t("{folder} (limit: {quota})", { folder, quota }),
  outbound: {
    compute: t("The session can reach the internet: install packages with pip and download data there, or upload files in JupyterLab."),
    login: t("Packages and data: download them on the factory’s login node, or upload them in JupyterLab."),
    none: t("Packages and data: upload them in JupyterLab.")
  },
  offline: t("The session cannot reach the internet."),
  stopsUnused: (idle) => t("It stops after {idle} without use. A running cell counts as use; a closed browser does not.", { idle }),
  stopsUnopened: (unopened) => t("It also stops if you do not open it within {unopened}.", { unopened }),
  countsAsUse: t("These count as use: a running cell or terminal command, an upload or download, and JupyterLab in a visible browser tab."),
  whoSees: {
    own: t("You work under your own account at the factory. Its file permissions say who else can read your files."),
    lent: t("You work under an account that is lent to you. Nobody else uses it while it is lent to you."),
    shared: t("You share the account at the factory with other users of this gateway. They can read and change your files.")
  },
  givesUp: (hours) => t("If it has not started after {hours}, we withdraw your request.", { hours }),
  costs: (total, hours, what) => t("It costs at most {total}: {hours} on {what}.", { total, hours, what }),
  costsBoth: (total, hours, what, own, machine) => t("It costs at most {total}: {hours} on {what} ({machine} counts that as {own}).", { total, hours, what, own, machine }),
  costsNothing: t("It costs no GPU-hours."),
  onGpus: (n, unit) => tn(n, "{n} {unit}", "{n} {unit}s", { unit }),
  onCores: (n) => tn(n, "{n} core", "{n} cores"),
  onWholeNode: (n, unit) => tn(n, "a whole node with {n} {unit}", "a whole node with {n} {unit}s", { unit }),
  halfGpu: (parts2) => t("half a GPU ({parts})", { parts: parts2 }),
  shareOf: (share) => t("{share} of a GPU", { share }),
  partsOf: (n, amount2, parts2) => tn(n, "{amount} GPU ({parts})", "{amount} GPUs ({parts})", { amount: amount2, parts: parts2 }),
  counted: (needs) => t("This gateway counts {needs} GPU-hours for this session.", { needs }),
  notCharged: t("Not charged: it never ran"),
  noGpuHours: t("No GPU-hours"),
  unit: {
    // that sites bill; {amount} is the number as it is shown
    GPU: (n, amount2) => tn(n, "{amount} GPU", "{amount} GPUs", { amount: amount2 }),
    "GPU-hour": (n, amount2) => tn(n, "{amount} GPU-hour", "{amount} GPU-hours", { amount: amount2 }),
    "GCD-hour": (n, amount2) => tn(n, "{amount} GCD-hour", "{amount} GCD-hours", { amount: amount2 }),
    "core-hour": (n, amount2) => tn(n, "{amount} core-hour", "{amount} core-hours", { amount: amount2 }),
    "node-hour": (n, amount2) => tn(n, "{amount} node-hour", "{amount} node-hours", { amount: amount2 })
  },
  perHour: (amount2) => t("{amount} per hour", { amount: amount2 }),
  project: t("Project to charge"),
  noProject: t("No project"),
  noPayer: t("None of your projects may use this size. Pick another size."),
  projectAt: (project, machine) => t("{project} on {machine}", { project, machine }),
  account: {
    own: t("You work under your own account."),
    lent: t("An account is lent to you when you start."),
    shared: t("You work under an account of this gateway that others use, too."),
    missing: t("You have no account there yet. Ask the people who lead the project, or this gateway’s operators.")
  },
  paidBy: (project) => t("Charged to {project}.", { project }),
  projectLeft: (n, left, granted) => tn(n, "You may still use {left} of its {granted} GPU-hour.", "You may still use {left} of its {granted} GPU-hours.", { left, granted }),
  projectUntil: (when) => t("The project ends {when}.", { when }),
  projectHours: (project, most) => t("{project} allows at most {most} h at a time. Ask for fewer hours.", { project, most }),
  projectEnds: (project, when, most) => t("{project} ends {when}: at most {most} h fit. Ask for fewer hours.", { project, when, most }),
  overBudget: (project, n, left, needs, most) => tn(
    n,
    "You have {left} GPU-hour left in {project}, and this needs {needs}: at most {most} h of this size fit.",
    "You have {left} GPU-hours left in {project}, and this needs {needs}: at most {most} h of this size fit.",
    { project, left, needs, most }
  ),
  within: (low, high) => t("{low} to {high} minutes", { low, high }),
  nameBad: t("Begin with a small letter a–z, then use small letters a–z, digits or dashes; 30 characters at most."),
  start: t("Start"),
  starting: t("Starting…"),
  cannotSilent: (machine) => t("{machine} is not answering. Wait, or pick another factory.", { machine }),
  cannotDrain: (machine) => t("{machine} accepts no new sessions right now. Pick another factory.", { machine }),
  cannotEnvironment: t("No environment runs on this size. Pick another size."),
  pickEnvironment: t("Pick an environment."),
  yourTime: (time) => t("{time} for you", { time }),
  fromLink: t("A link filled this in for you; check and press Start."),
  fromLinkUnknown: (pairs) => t("The link asks for something that is not offered to you: {pairs}.", { pairs }),
  fromLinkPair: (field, value) => t("{field} “{value}”", { field, value }),
  fromAgain: t("Filled in from your earlier session. Change what you like and press Start."),
  changed: (machine, what) => t("{machine}: {what}", { machine, what }),
  // Sessions
  state: stateWords(),
  reason: {
    finished: t("Finished"),
    stopped: t("Stopped on request"),
    idle: t("Ended: idle"),
    unopened: t("Ended: never opened"),
    walltime: t("Time limit reached"),
    "out-of-memory": t("Out of memory"),
    "node-failed": t("The node failed"),
    preempted: t("Made room for another job"),
    "cancelled-by-site": t("Cancelled by the factory"),
    refused: t("Not accepted"),
    "gave-up": t("Waited too long"),
    "never-opened-door": t("Did not start up"),
    "access-lost": t("Access ended"),
    moved: t("The class moved"),
    failed: t("Failed")
  },
  whose: {
    you: t("What you can do"),
    site: t("The factory has to act"),
    operator: t("The gateway’s operators have to act"),
    wait: t("Nothing to do: just wait")
  },
  server: sessionName,
  unreachableWhat: t("The factory is not answering; your session is not lost."),
  unreachableDo: t("It keeps running there. This page shows it again as soon as the factory answers."),
  timeLeft: (left, at) => t("{left} left, ends {at}", { left, at }),
  idleLeft: (left, at) => t("{left} left, stops at {at} if still idle", { left, at }),
  idleFor: (since) => t("idle for {since}", { since }),
  busy: t("in use"),
  isBusy: (name) => t("{name} is running", { name }),
  somethingBusy: t("A notebook or terminal is running"),
  stopHead: (name) => t("Stop {name}?", { name }),
  neverOpened: t("not opened yet"),
  position: (n) => n === 1 ? t("Next in the queue") : tn(n - 1, "{n} ahead of you", "{n} ahead of you"),
  expected: (when) => t("expected to start {when}", { when }),
  noPlan: t("The scheduler has not planned a start yet"),
  // Waiting
  title: {
    pending: (n) => n ? t("#{n} in the queue", { n }) : t("In the queue"),
    starting: t("Starting…"),
    running: t("Ready"),
    ending: t("Ending…"),
    ended: t("Ended"),
    unreachable: t("Not answering"),
    looking: t("Starting…")
  },
  progress: (step2, steps) => t("Progress: step {step} of {steps}", { step: step2, steps }),
  waitHead: {
    looking: t("Sending your request to the factory"),
    pending: (machine) => t("Waiting in the queue of {machine}", { machine }),
    starting: (machine) => t("Your session is starting on {machine}", { machine }),
    running: t("Your session is ready"),
    ending: t("Your session is ending"),
    unreachable: (machine) => t("Your session on {machine} cannot be reached", { machine })
  },
  waitSub: {
    looking: t("This usually takes a second or two."),
    pending: t("This page opens your session as soon as it is ready."),
    starting: t("You have the node; JupyterLab is starting on it. This usually takes less than a minute."),
    running: t("Opening JupyterLab…"),
    unreachable: t("Your session is not lost. This page shows it again as soon as it can be reached."),
    ending: t("Shutting down…")
  },
  facts: {
    place: t("Place in the queue"),
    expected: t("Expected start"),
    waiting: t("Waiting for"),
    starting: t("Starting for"),
    asked: t("You asked for"),
    node: t("Node"),
    giveUp: t("Withdrawn if not started by"),
    job: t("Job")
  },
  cancel: t("Cancel"),
  cancelling: t("Cancelling…"),
  stillThere: t("It has not stopped. Try again."),
  notify: {
    ask: t("Notify me when it starts"),
    on: t("We will notify you. Keep this tab open in the background."),
    denied: t("Your browser does not allow notifications from this page."),
    ready: t("Your session is ready"),
    failed: t("Your session did not start")
  },
  openNow: t("Open it now"),
  startAgain: t("Start again"),
  toHome: t("Home"),
  withdrawnHead: t("The request was cancelled"),
  withdrawn: t("Cancelled before it was ready"),
  failedHead: t("Your session did not start"),
  memoryHead: t("Your session ran out of memory"),
  endedHead: t("Your session has ended"),
  movedHead: t("Your class moves to another place"),
  movedText: t("Your new seat is on its way. This page leads you there by itself."),
  comingBack: t("Your session is running; the gateway is reconnecting to it. Please wait."),
  schedulerReason: t("The scheduler’s reason"),
  logTail: t("The last lines of the job’s log"),
  history: t("What happened"),
  soFar: t("Steps so far"),
  aboutSession: {
    session: t("Session"),
    factory: t("Factory"),
    size: t("Node size"),
    environment: t("Environment"),
    cost: t("Charged")
  },
  ofWorkshop: (title) => t("Workshop: {title}", { title }),
  sizeFor: (size, hours) => t("{size}, for {hours}", { size, hours }),
  charged: (amount2) => t("Charged: {amount}", { amount: amount2 }),
  startLarger: (size) => t("Start again with {size}", { size }),
  startSame: t("Start again with the same size"),
  largerHas: (size, memory) => t("{size} has {memory} of main memory (RAM).", { size, memory }),
  sameAgain: t("This factory offers you no size with more memory. The same session will probably run out of memory again."),
  // A session whose end is near
  soon: {
    walltime: (name, at) => t("{name} reaches its time limit at {at}. Save your work.", { name, at }),
    idle: (name, at) => t("{name} is idle and stops at {at} unless you use it.", { name, at }),
    unopened: (name, at) => t("You have not opened {name} yet. It stops at {at} unless you open it.", { name, at }),
    access: (name, at) => t("Your access to the project of {name} ends at {at}, and the session stops then. Save your work.", { name, at })
  },
  soonTitle: t("A session ends soon"),
  tellEnd: t("Notify me before a session ends"),
  toldEnd: t("We will notify you before a session ends, as long as this tab stays open."),
  // Logins of the person's own
  loginGood: (when) => t("Your login there is valid until {when}.", { when }),
  loginSoon: (when) => t("Your login there expires {when}. Renew it before you start a session.", { when }),
  loginOver: (when) => when ? t("Your login there expired {when}. Running sessions continue, but you cannot start new ones or reconnect.", { when }) : t("The gateway has no login of yours there now."),
  loginToken: t("Get a token"),
  loginPaste: t("Paste it here"),
  loginRenew: t("Renew"),
  loginAsking: t("Renewing…"),
  // Tokens
  token: {
    note: t("Created on the Token page"),
    copied: t("Copied."),
    selected: t("Selected: press Ctrl+C to copy it."),
    revoked: t("Token revoked.")
  },
  // Home
  more: t("More time…"),
  moreAsked: t("Asking for more time…"),
  moreMost: (hours) => t("At most {hours} more are possible.", { hours }),
  moreEnds: (at) => t("It would then end {at}.", { at }),
  change: t("Change and start…"),
  open: t("Open"),
  view: t("See progress"),
  stop: t("Stop"),
  stopping: t("Stopping…"),
  again: t("Start again"),
  otherSize: t("Other size…"),
  details: t("Details"),
  remove: t("Remove name"),
  endedAt: (when, ran) => ran ? t("{when} · ran {ran}", { when, ran }) : when,
  limitReached: t("You have reached your limit of session names. Stop your main session or remove a past name to start another."),
  homeSilent: t("This page may be out of date."),
  hubOnly: t("The gateway has no details right now"),
  // Home: Dask clusters
  cluster: {
    none: t("No jobs"),
    closing: t("Closing…"),
    closed: t("Closed"),
    running: (n) => tn(n, "{n} job running", "{n} jobs running"),
    waiting: (n) => tn(n, "{n} waiting", "{n} waiting"),
    unreachable: (n) => tn(n, "{n} job not answering", "{n} jobs not answering"),
    hours: (spent) => t("{spent} GPU-hours used", { spent }),
    hoursOf: (spent, cap) => t("{spent} of at most {cap} GPU-hours used", { spent, cap }),
    committed: (n, hours) => tn(n, "{hours} GPU-hour reserved", "{hours} GPU-hours reserved", { hours }),
    liveFor: (span2) => t("open for {span}", { span: span2 }),
    session: (name) => t("belongs to {name}", { name }),
    ownHead: (standing) => t("The cluster’s Dask scheduler runs in a job of its own: {standing}", { standing }),
    dashboard: t("Dask dashboard"),
    close: t("Close…"),
    live: (name) => t("The Dask cluster {name} is running", { name }),
    closeHead: (name) => t("Close the cluster {name}?", { name }),
    ran: (n) => tn(n, "{n} job", "{n} jobs")
  },
  named: (what, name) => t("{what}: {name}", { what, name })
};

// common/cost.js
function inUnit(amount2, unit) {
  const known = Object.hasOwn(W.unit, unit) ? W.unit[unit] : null;
  return known ? known(amount2, number(amount2)) : `${number(amount2)} ${unit}${amount2 === 1 ? "" : "s"}`;
}
var gpuHoursText = (amount2) => inUnit(amount2, "GPU-hour");
function billedText({ price, size }) {
  if (price.gpu_hours > 0) return W.billed(W.perHour(gpuHoursText(price.gpu_hours)));
  if (price.own) return W.billed(W.perHour(inUnit(price.own.amount, price.own.unit)));
  return size.billed_as ? W.billedAs(size.billed_as) : "";
}
function chargedFor({ price, size }) {
  const { number: count, unit } = price;
  switch (price.charged_for) {
    case "cores":
      return W.onCores(count);
    case "whole-node":
      return W.onWholeNode(count, unit);
    case "part":
      if (size.billed_gpus) return W.shareOf(size.billed_gpus);
      return count === 0.5 ? W.halfGpu(W.onGpus(size.gpus, unit)) : W.partsOf(count, number(count), W.onGpus(size.gpus, unit));
    default:
      return W.onGpus(count, unit);
  }
}
function costLine(factory, view, hours) {
  const { gpu_hours: rate, own: site } = view.price;
  const what = chargedFor(view);
  const own = site ? inUnit(site.amount * hours, site.unit) : null;
  if (rate > 0 && own) return W.costsBoth(gpuHoursText(rate * hours), hoursText(hours), what, own, factory.site.machine);
  if (rate > 0 || own) return W.costs(own ?? gpuHoursText(rate * hours), hoursText(hours), what);
  return W.costsNothing;
}
function payers(factory, view, projects) {
  if (!factory.projects?.length) return null;
  const known = (id) => projects?.find((project) => project.id === id) ?? { id, title: "", left: null, ends: null };
  const able = (view.projects ?? []).map(known);
  return factory.project_needed === false ? [{ id: null, title: "", left: null, ends: null }, ...able] : able;
}
function projectPicker(factory, choice, projects) {
  const able = payers(factory, findSize(factory, choice.size), projects);
  if (able === null) return [];
  const { project } = choice;
  if (!able.length) return [h("p", { class: "fg-notice fg-notice-warn", key: "none" }, W.noPayer)];
  if (able.length < 2) return [h("input", { type: "hidden", name: "project", key: "one", value: project ?? "" })];
  return [
    h("label", { for: "project", key: "label" }, W.project),
    h(
      "select",
      { name: "project", id: "project", class: "form-select", key: "several" },
      able.map((one) => h(
        "option",
        { value: one.id ?? "", selected: one.id === (project ?? null) },
        one.title ? `${one.id}: ${one.title}` : one.id ?? W.noProject
      ))
    )
  ];
}

// common/windows.js
var runsMaintenance = (factory, view, now) => (factory.maintenance ?? []).find((one) => one.closes.includes(view.size.partition) && msOf(one.start) <= now && now < msOf(one.end)) ?? null;
function together(load) {
  if (!load || load.gpus_free <= (load.node_gpus_free ?? load.gpus_free)) return null;
  return t("at most {n} on one node", { n: load.node_gpus_free });
}

// common/start_view.js
var HOUR = 36e5;
function sizeName(view) {
  const [, ...apart] = view.gpu_label.split(", ");
  return view.size.gpus > 0 ? view.gpu_label : [W.noGpu, ...apart].join(", ");
}
function askLine(factory, view, hours) {
  const { cores, gpus } = view.size;
  return gpus > 0 ? W.ask(hoursText(hours), view.gpu_label, factory.site.machine) : W.askCores(hoursText(hours), cores, factory.site.machine);
}
function status(kind, text) {
  return h("span", { class: `fg-status fg-status-${kind}` }, h("span", { class: "fg-dot", "aria-hidden": "true" }), text);
}
function startStatus(start, now, words = {}) {
  if (start.now) return status("free", words.now ?? W.freeNow);
  if (start.known) return status("wait", (words.later ?? W.startsAbout)(clock(start.at, now)));
  return status("wait", words.unknown ?? W.startUnknown);
}
function healthStatus(factory, now) {
  const { state, answered_at: answered, words } = factory.health;
  if (state === "unreachable") return status("down", W.silent(clock(answered, now)));
  if (state === "draining") return status("down", words?.what || W.draining);
  if (state === "starting") return status("wait", W.checking);
  if (factory.rules_open) return status("wait", W.rulesOpen);
  const view = cardSize(factory);
  const maintenance = view && runsMaintenance(factory, view, now);
  return maintenance ? status("wait", W.inMaintenance(clock(maintenance.end, now))) : null;
}
function announced(factory, now) {
  if (factory.health.state !== "ok") return null;
  const next = (factory.maintenance ?? []).find((one) => msOf(one.start) > now);
  return next ? h("span", { class: "fg-quiet" }, W.maintenanceFrom(clock(next.start, now))) : null;
}
function card({ name, value, checked, disabled, title, badge, lines, foot, describe }) {
  const id = `${name}-${value}`;
  const described = describe ? `${id}-text` : null;
  return h(
    "label",
    { class: "fg-card", key: id, for: id },
    h("input", {
      type: "radio",
      name,
      value,
      id,
      checked,
      disabled,
      class: "fg-card-radio",
      "aria-describedby": described
    }),
    h(
      "span",
      { class: "fg-card-body" },
      h("span", { class: "fg-card-title" }, title, badge ? h("span", { class: "fg-badge" }, badge) : null),
      h(
        "span",
        { id: described, class: "fg-card-text" },
        lines.filter(Boolean).map((line) => h("span", { class: "fg-card-line" }, line)),
        foot ? h("span", { class: "fg-card-foot" }, foot) : null
      )
    )
  );
}
function factoryCards(factories, choice, now) {
  const first = earliest(factories, now);
  return factories.map((factory) => {
    const view = cardSize(factory);
    const load = loadOf(factory, view);
    const { accelerator, site } = factory;
    const start = view ? startStatus(sizeStart(view, now), now) : status("down", factory.projects?.length ? W.noSizesForProjects : W.noSizes);
    const busy = load && load.gpus_total > 0 && factory.health.state === "ok" ? h(
      "span",
      { class: "fg-quiet" },
      W.gpusFree(load.gpus_free, load.gpus_total, accelerator.unit),
      together(load) ? `, ${together(load)}` : null,
      load.pending > 0 ? ` · ${W.waitingJobs(load.pending)}` : null
    ) : null;
    return card({
      name: "factory",
      value: factory.id,
      checked: factory.id === choice?.factory,
      describe: true,
      // A chosen factory that stops answering stays chosen; the start button says why it cannot be used.
      disabled: (!takesRequests(factory) || !view) && factory.id !== choice?.factory,
      title: site.machine,
      badge: factory.id === first ? W.earliest : null,
      lines: [
        `${factory.name} · ${site.city}, ${country(site.country)}`,
        h(
          "span",
          {},
          [accelerator.vendor, accelerator.model, accelerator.memory_gb && gigabytes(accelerator.memory_gb)].filter(Boolean).join(" "),
          h("span", { class: "fg-quiet" }, ` · ${W.gpusEach(accelerator.per_node, accelerator.unit)}`)
        )
      ],
      foot: [healthStatus(factory, now) ?? start, busy, announced(factory, now)]
    });
  });
}
function sizeCards(factory, choice, now) {
  return factory.sizes.map((view) => {
    const { size } = view;
    const start = sizeStart(view, now);
    return card({
      name: "size",
      value: size.id,
      checked: size.id === choice.size,
      describe: true,
      title: sizeName(view),
      lines: [
        W.shape(size.cores, gigabytes(size.memory_gb)) + (size.whole_node ? ` · ${W.wholeNode}` : ""),
        h(
          "span",
          { class: "fg-quiet" },
          [billedText(view), W.upTo(hoursText(size.max_hours))].filter(Boolean).join(" · ")
        )
      ],
      foot: takesRequests(factory) ? startStatus(start, now, {
        now: view.fits_now > 0 ? W.moreFit(view.fits_now) : W.freeNow,
        later: (when) => W.noFitWhen(W.about(when))
      }) : null
    });
  });
}
function environmentCards(factory, choice) {
  const view = findSize(factory, choice.size);
  const trouble = noEnvironment(factory, choice);
  const cards = factory.environments.map((environment) => {
    const fit = fits(view, environment.id);
    const stack = [environment.gpu_stack, environment.architecture].filter(Boolean).join(" · ");
    return card({
      name: "environment",
      value: environment.id,
      checked: environment.id === choice.environment && fit,
      disabled: !fit,
      describe: true,
      title: environment.title,
      lines: [
        environment.frameworks.length ? environment.frameworks.join(" · ") : null,
        h("span", { class: "fg-quiet" }, stack)
      ],
      foot: fit ? null : status("down", view.size.gpus > 0 ? W.notForSize(view.gpu_label) : W.notWithoutGpu)
    });
  });
  return trouble ? [h("p", { key: "none", class: "fg-notice fg-notice-warn fg-whole" }, trouble), ...cards] : cards;
}
function noEnvironment(factory, choice) {
  if (!factory.environments.length) return W.noEnvironments(factory.site.machine);
  return findSize(factory, choice.size).offer.environments.length ? null : W.cannotEnvironment;
}
function hoursPicker(factory, choice, estimateOf2, now, on, limit = null) {
  const view = findSize(factory, choice.size);
  const max = mostHours(view, limit);
  const steps = ladder(max);
  const start = hoursStart(view, estimateOf2(choice.hours), now);
  const begin = start.at ?? now;
  return [
    h(
      "div",
      { class: "fg-hours", key: "picker" },
      h("input", {
        type: "range",
        id: "hours-slider",
        class: "form-range",
        min: 0,
        max: steps.length - 1,
        step: 1,
        value: nearest(steps, choice.hours),
        "aria-label": W.hoursInSteps,
        "aria-valuetext": hoursText(choice.hours),
        oninput: (event) => on(steps[Number(event.target.value)])
      }),
      h(
        "span",
        { class: "input-group fg-hours-number" },
        h("input", {
          type: "number",
          name: "hours",
          id: "hours",
          class: "form-control",
          min: view.offer.hours.least,
          max,
          step: "any",
          value: String(Math.round(choice.hours * 1e3) / 1e3),
          inputmode: "decimal",
          "aria-describedby": "hours-text",
          "aria-label": W.hours
        }),
        h("span", { class: "input-group-text", "aria-hidden": "true" }, "h")
      )
    ),
    h(
      "p",
      { id: "hours-text", class: "fg-hours-text", key: "text" },
      start.now || !start.known ? W.endsAt(clock(begin + choice.hours * HOUR, now)) : W.endsLater(clock(begin, now), clock(begin + choice.hours * HOUR, now)),
      h("span", { class: "fg-quiet" }, ` ${W.hoursLimit(hoursText(max))}`)
    ),
    h(
      "div",
      { class: "fg-chips", key: "chips" },
      rungs(max, choice.hours).map((hours) => chip(factory, view, hours, hours === choice.hours, estimateOf2(hours), now, on))
    )
  ];
}
function chip(factory, view, hours, current, estimate, now, on) {
  const start = hoursStart(view, estimate, now);
  let when = W.asking;
  if (start.now) when = W.startsNow;
  else if (start.known) when = W.about(clock(start.at, now));
  else if (estimate !== void 0) when = W.unknown;
  return h("button", {
    type: "button",
    class: `fg-chip${current ? " fg-chip-on" : ""}`,
    key: `chip-${hours}`,
    "aria-pressed": String(current),
    "data-hours": hours,
    onclick: () => on(hours)
  }, takesRequests(factory) ? W.estimateChip(hoursText(hours), when) : hoursText(hours));
}
function obstacle(factory, choice) {
  if (!factory || !choice) return W.noFactories;
  if (factory.health.state === "unreachable") return W.cannotSilent(factory.site.machine);
  if (factory.health.state === "draining") return factory.health.words?.what || W.cannotDrain(factory.site.machine);
  if (factory.rules_open) return factory.rules_open.what;
  return noEnvironment(factory, choice) ?? (fits(findSize(factory, choice.size), choice.environment) ? null : W.pickEnvironment);
}
function startLine(factory, choice, estimate, now) {
  if (!takesRequests(factory)) return W.startLine.closed;
  const start = hoursStart(findSize(factory, choice.size), estimate, now);
  if (start.now) return W.startLine.now;
  return start.known ? W.startsLine(clock(start.at, now)) : W.startLine.unknown;
}

// widgets/picker_state.js
function joined(catalogue2, passing) {
  return catalogue2.filter((factory) => passing[factory.id]).map((factory) => {
    const now = passing[factory.id];
    const sizes = factory.sizes.map((view) => {
      const [fits2, start] = now.sizes[view.size.id] ?? [0, null];
      return { ...view, fits_now: fits2, estimate: start === null ? null : { start } };
    });
    const { health, partitions, rules_open, needs_token } = now;
    return { ...factory, sizes, health, partitions, rules_open, needs_token };
  });
}
function estimateOf(estimates, choice, hours) {
  if (estimates.of !== `${choice.factory}/${choice.size}`) return void 0;
  const found = estimates.starts.find(([each]) => each === hours);
  return found && (found[1] === null ? null : { start: found[1] });
}
function told({ factory, size, environment, hours, project }) {
  return { factory, size, environment, hours, project: project ?? null };
}
function same(value, choice) {
  if (!value || !choice) return false;
  return Object.entries(told(choice)).every(([field, one]) => value[field] === one);
}
var fitting = (factory) => JSON.stringify(factory?.sizes.map((view) => view.fits_now) ?? null);

// widgets/words.js
var V = {
  // Picker
  picker: t("Factory picker"),
  factory: t("Factory"),
  size: t("Node size"),
  environment: t("Environment"),
  howLong: t("How long"),
  project: t("Project"),
  asking: t("Asking the factories what is free…"),
  slow: t("This takes longer than usual. Please wait."),
  empty: t("No factory is open to you right now. This updates as soon as there is one."),
  // Panel
  panel: (name) => t("Cluster {name}", { name }),
  where: (factory, size) => t("{factory} · {size}", { factory, size }),
  status: {
    starting: t("Starting"),
    running: t("Running"),
    closing: t("Ending"),
    closed: t("Ended"),
    failed: t("Failed")
  },
  figures: {
    running: t("Running"),
    waiting: t("Waiting"),
    lost: t("Lost"),
    failed: t("Failed"),
    workers: t("Dask workers"),
    spent: t("GPU-hours so far"),
    committed: t("GPU-hours reserved"),
    rate: t("GPU-hours per hour")
  },
  workersOf: (workers, threads, memory) => tn(threads, "{workers} ({n} thread, {memory})", "{workers} ({n} threads, {memory})", { workers, memory }),
  ofCap: (spent, cap) => t("{spent} of at most {cap}", { spent, cap }),
  dashboard: t("Open the Dask dashboard"),
  control: t("How many"),
  wanted: t("Jobs wanted"),
  wantedInSteps: t("Jobs wanted, in steps"),
  jobs: (n) => tn(n, "{n} job", "{n} jobs"),
  perJob: (n) => tn(n, "{n} Dask worker a job", "{n} Dask workers a job"),
  adaptive: t("Adapt to the workload"),
  minimum: t("At least"),
  maximum: t("At most"),
  jobList: t("Jobs"),
  filters: t("Show jobs"),
  filter: {
    all: (n) => t("All {n}", { n }),
    running: (n) => t("Running {n}", { n }),
    waiting: (n) => t("Waiting {n}", { n }),
    trouble: (n) => t("Trouble {n}", { n }),
    ended: (n) => t("Ended {n}", { n })
  },
  state: { ...stateWords(), asked: t("Asked for"), lost: t("Lost"), failed: t("Failed") },
  job: (id) => t("job {id}", { id }),
  jobWorkers: (n) => tn(n, "{n} Dask worker", "{n} Dask workers"),
  place: (n) => n === 1 ? t("next in the queue") : tn(n - 1, "{n} ahead", "{n} ahead"),
  expected: (when) => t("expected to start {when}", { when }),
  ends: (when) => t("ends {when}", { when }),
  log: t("Log"),
  logOf: (name) => t("Last lines of the log of {name}", { name }),
  fetching: t("Fetching…"),
  noJobs: t("No jobs here."),
  shown: (from, to, total) => t("{from} to {to} of {total}", { from, to, total }),
  earlier: t("Previous"),
  later: t("Next"),
  end: t("End all jobs…"),
  endSure: (n) => tn(
    n,
    "End {n} job? Everything in the memory of its workers is lost.",
    "End all {n} jobs? Everything in the memory of their workers is lost."
  ),
  endThem: t("End them"),
  keep: t("Keep them")
};

// widgets/picker.js
var RESTS = 300;
var FRESH = 3e4;
var SLOW = 8e3;
function step(legend, content) {
  return h("fieldset", { class: "fg-step" }, h("legend", {}, legend), content);
}
function show({ model, el }) {
  const notices = h("div", { "aria-live": "polite" });
  const factories = h("div", { class: "fg-cards" });
  const sizes = h("div", { class: "fg-cards" });
  const environments = h("div", { class: "fg-cards" });
  const hours = h("div", {});
  const project = h("div", {});
  const paying = step(V.project, project);
  const line = h("p", { class: "fg-line", "aria-live": "polite" });
  const steps = h(
    "div",
    { hidden: true },
    step(V.factory, factories),
    step(V.size, sizes),
    step(V.environment, environments),
    step(V.howLong, hours),
    paying,
    line
  );
  const form = h("form", { class: "fg-widget fg-page", "aria-label": V.picker, novalidate: true }, notices, steps);
  const state = { factories: [], choice: null, refused: "", slow: false, moving: false };
  let resting = null;
  let renewing = null;
  const slow = setTimeout(() => {
    state.slow = true;
    draw();
  }, SLOW);
  function drawNotices() {
    const { kind, message, do: advice } = model.get("_state");
    const words = [];
    if (state.refused) words.push(state.refused);
    if (kind === "loading") words.push(state.slow ? V.slow : V.asking);
    else if (kind === "trouble") words.push(`${state.factories.length ? "" : W.listSilent} ${message} ${advice}`.trim());
    else if (message) words.push(`${message} ${advice}`.trim());
    if (kind === "ready" && !state.choice) words.push(V.empty);
    const factory = state.choice && findFactory(state.factories, state.choice.factory);
    const blocked = factory && obstacle(factory, state.choice);
    if (blocked) words.push(blocked);
    if (factory?.needs_token) words.push(factory.needs_token);
    const quiet = kind === "loading" && !state.refused;
    render(notices, words.map((text, index) => h("p", { key: index, class: `fg-notice${quiet ? "" : " fg-notice-warn"}` }, text)));
  }
  function draw() {
    const now = Date.now();
    const { choice } = state;
    drawNotices();
    form.dataset.kind = model.get("_state").kind;
    form.dataset.taken = String(same(model.get("value"), choice));
    steps.hidden = !choice;
    if (!choice) return;
    const factory = findFactory(state.factories, choice.factory);
    const estimates = model.get("_estimates");
    const known = (each) => estimateOf(estimates, choice, each);
    render(factories, factoryCards(state.factories, choice, now));
    render(sizes, sizeCards(factory, choice, now));
    render(environments, environmentCards(factory, choice));
    render(hours, hoursPicker(factory, choice, known, now, (each) => choose({ hours: each })));
    const view = findSize(factory, choice.size);
    render(project, projectPicker(factory, choice, null));
    paying.hidden = !(view.projects?.length > 1);
    const asked = askLine(factory, view, choice.hours).replaceAll("*", "");
    const costs = costLine(factory, view, choice.hours);
    const said = [asked, startLine(factory, choice, known(choice.hours), now), costs].filter(Boolean).join(" ");
    if (line.textContent !== said) line.textContent = said;
    tellState(el, said);
  }
  function askEstimates() {
    clearTimeout(renewing);
    renewing = setTimeout(askEstimates, FRESH);
    const factory = state.choice && findFactory(state.factories, state.choice.factory);
    if (factory?.health.state !== "ok" || document.visibilityState === "hidden") return;
    const compared = [...hours.querySelectorAll("[data-hours]")].map((chip2) => Number(chip2.getAttribute("data-hours")));
    model.send({ op: "estimates", hours: compared });
  }
  function choose(change, { settled = true, rests = 0 } = {}) {
    const wanted = { ...state.choice, ...change };
    const factory = findFactory(state.factories, wanted.factory);
    if (!factory) return;
    state.choice = settled ? settle(wanted, factory) : wanted;
    state.refused = "";
    draw();
    state.moving = true;
    clearTimeout(resting);
    const tell = () => model.send({ op: "choose", ...told(state.choice) });
    if (!rests) tell();
    resting = setTimeout(() => {
      state.moving = false;
      if (rests) tell();
      askEstimates();
    }, RESTS);
  }
  function hearFactories() {
    const before = state.choice && findFactory(state.factories, state.choice.factory);
    state.factories = joined(model.get("_catalogue"), model.get("_passing"));
    if (state.factories.length) clearTimeout(slow);
    const factory = state.choice && findFactory(state.factories, state.choice.factory);
    if (!factory) adopt();
    draw();
    if (before && factory && fitting(before) !== fitting(factory)) askEstimates();
  }
  function adopt() {
    const value = model.get("value");
    const factory = value && findFactory(state.factories, value.factory);
    const other = factory && !same(value, state.choice);
    if (!factory) state.choice = null;
    else if (other) state.choice = { ...settle(value, factory), ...value };
    draw();
    if (other) askEstimates();
  }
  function hearValue() {
    if (state.moving) draw();
    else adopt();
  }
  function hearRefusal(content) {
    if (!content.refused) return;
    adopt();
    state.refused = content.refused;
    draw();
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { name, value } = event.target;
    const factory = state.choice && findFactory(state.factories, state.choice.factory);
    if (!factory) return;
    if (["factory", "environment", "project"].includes(name)) choose({ [name]: value });
    else if (name === "size") choose({ size: value, gpus: findSize(factory, value).size.gpus });
    else if (name === "hours") {
      const number2 = within({ ...findSize(factory, state.choice.size).offer.hours, preset: state.choice.hours }, value);
      event.target.value = number2;
      choose({ hours: number2 });
    }
  });
  form.addEventListener("input", (event) => {
    if (event.target.name !== "hours" || !state.choice) return;
    const { least, most } = findSize(findFactory(state.factories, state.choice.factory), state.choice.size).offer.hours;
    const number2 = Number(event.target.value);
    if (number2 >= least && number2 <= most) choose({ hours: number2 }, { settled: false, rests: RESTS });
  });
  const stops = [
    listen(model, ["_catalogue", "_passing"], hearFactories),
    listen(model, ["value"], hearValue),
    listen(model, ["_state", "_estimates"], draw),
    mount(el, form, model.get("_styles"))
  ];
  model.on("msg:custom", hearRefusal);
  hearFactories();
  return () => {
    for (const timer of [slow, resting, renewing]) clearTimeout(timer);
    for (const stop of stops) stop();
    model.off("msg:custom", hearRefusal);
  };
}
var picker_default = { render: show };
export {
  picker_default as default
};
