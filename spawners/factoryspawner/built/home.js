// common/translate.js
var ENGLISH = { language: "en", texts: {}, plural: "" };
var catalogue = ENGLISH;
function readCatalogue(given) {
  if (typeof given !== "object" || given === null) return ENGLISH;
  const { language, texts: texts2, plural } = (
    /** @type {Record<string, unknown>} */
    given
  );
  if (typeof language !== "string" || typeof texts2 !== "object" || texts2 === null || typeof plural !== "string") return ENGLISH;
  const whole = Object.entries(texts2).filter(([, text]) => [text].flat().every((form) => typeof form === "string"));
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

// pages/catalogue.js
var texts = document.getElementById("fg-texts")?.textContent;
if (texts) use(readCatalogue(JSON.parse(texts)));

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
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function announce(text) {
  const region = document.getElementById("fg-announce");
  if (region) setText(region, text);
}
var byId = (id) => document.getElementById(id);
function settings(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return (
    /** @type {Record<string, string>} */
    { ...element.dataset }
  );
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
  progress: (step, steps) => t("Progress: step {step} of {steps}", { step, steps }),
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
    ownHead: (standing3) => t("The cluster’s Dask scheduler runs in a job of its own: {standing}", { standing: standing3 }),
    dashboard: t("Dask dashboard"),
    close: t("Close…"),
    live: (name) => t("The Dask cluster {name} is running", { name }),
    closeHead: (name) => t("Close the cluster {name}?", { name }),
    ran: (n) => tn(n, "{n} job", "{n} jobs")
  },
  named: (what, name) => t("{what}: {name}", { what, name })
};

// common/slow.js
var slow = /* @__PURE__ */ new Set();
function showSlow(part, isSlow) {
  if (slow.has(part) === isSlow) return;
  if (isSlow) slow.add(part);
  else slow.delete(part);
  const place = byId("fg-slow");
  if (!place) return;
  render(place, slow.size ? h("div", { class: "container fg-page" }, h(
    "p",
    { class: "fg-notice fg-notice-warn" },
    W.slow,
    " ",
    h("a", { href: `${window.jhdata.base_url}check` }, W.toCheck)
  )) : null);
}

// pages/api.js
var FIRST_EVENT = 8e3;
var NO_EVENT = 4e4;
var POLL = 5e3;
var STREAM_AGAIN = 3e5;
var FRUITLESS = 3;
var LEAST_WAIT = 1e3;
var MOST_WAIT = 3e4;
var STILL_STOPPING = /is pending \w+$/;
var STARTS = 6;
var Trouble = class extends Error {
  constructor(status, message, problem = {}) {
    super(message);
    this.status = status;
    this.kind = problem.kind ?? null;
    this.advice = problem.do ?? "";
    this.scheduler = problem.scheduler ?? "";
  }
};
async function readProblem(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}
async function ask(url, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" || url.includes("/hub/api/")) headers["X-XSRFToken"] = window.jhdata.xsrf_token;
  if (body !== void 0) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "manual",
      body: body === void 0 ? void 0 : JSON.stringify(body)
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0, W.noAnswer);
  }
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
var troubleText = (trouble) => trouble.status === 401 ? trouble.message : `${trouble.message} ${W.retrying}`;
function backoff(n, random = Math.random()) {
  return Math.min(MOST_WAIT, LEAST_WAIT * 2 ** Math.min(n, 10)) * (0.75 + random / 2);
}
async function stopSession(to2, session, server = session.server) {
  try {
    await ask(to2.server(server), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404 || !session) throw error;
  }
  if (!session) return;
  try {
    await ask(to2.session(session.id), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404 && error.status !== 409) throw error;
  }
}
async function startAgain(to2, session) {
  const body = Object.fromEntries(Object.entries(session.choice).filter(([, value]) => value !== null));
  for (let tries = 1; ; tries += 1) {
    try {
      await ask(to2.server(session.server), { method: "POST", body });
      return;
    } catch (error) {
      if (error.status !== 400 || !STILL_STOPPING.test(error.message) || tries === STARTS) throw error;
      await new Promise((done) => setTimeout(done, backoff(tries - 1)));
    }
  }
}
var HELD = "fg-streams-held-until";
function heldUntil() {
  try {
    return Math.min(Number(sessionStorage.getItem(HELD)) || 0, Date.now() + STREAM_AGAIN);
  } catch {
    return 0;
  }
}
function remember(until) {
  try {
    sessionStorage.setItem(HELD, String(until));
  } catch {
  }
}
function follow({ url, events, event, onData, also = {}, polled = {}, onTrouble, whileHidden = false }) {
  const me = Symbol(url);
  let stream = null;
  let timer = null;
  let silence = null;
  let tries = 0;
  let fruitless = 0;
  let streamAt = heldUntil();
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
  function poll() {
    close();
    fruitless = 0;
    streamAt = Date.now() + STREAM_AGAIN;
    remember(streamAt);
    open();
  }
  async function askPolled(mine) {
    for (const [address, hear2] of Object.entries(polled)) {
      const data = await ask(address).catch(() => void 0);
      if (mine !== round) return;
      if (data !== void 0) hear2(data);
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
    if (mine !== round || stopped) return;
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
    for (const [name, hear2] of Object.entries({ alive: () => {
    }, [event]: onData, ...also })) {
      stream.addEventListener(name, (message) => {
        if (mine !== round) return;
        hearing();
        hear2(JSON.parse(message.data));
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
  function online() {
    streamAt = 0;
    wake();
  }
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", online);
  window.addEventListener("pageshow", (shown2) => shown2.persisted && wake());
  open();
  return {
    again: open,
    stop() {
      stopped = true;
      close();
      showSlow(me, false);
      document.removeEventListener("visibilitychange", wake);
      window.removeEventListener("online", online);
    }
  };
}
function addresses(base, user, userUrl) {
  const gateway = `${base}gateway/api/`;
  const name = encodeURIComponent(user);
  const part = (server) => server ? `/${encodeURIComponent(server)}` : "";
  const to2 = {
    factories: `${gateway}factories`,
    factoriesEvents: `${gateway}factories/events`,
    coming: `${gateway}coming`,
    projects: `${gateway}projects`,
    ready: `${gateway}ready`,
    estimate: (factory, size, hours, project) => `${gateway}factories/${encodeURIComponent(factory)}/estimate?${new URLSearchParams(project ? { size, hours, project } : { size, hours })}`,
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
    open: (server) => server ? `${userUrl}${encodeURIComponent(server)}/` : userUrl,
    person: `${base}api/users/${name}`,
    tokens: `${base}api/users/${name}/tokens`,
    token: (id) => `${base}api/users/${name}/tokens/${encodeURIComponent(id)}`,
    home: `${base}home`
  };
  return to2;
}

// common/format.js
var MINUTE = 6e4;
var DAY = 24 * 60 * MINUTE;
function toMs(moment2) {
  if (moment2 === null || moment2 === void 0 || moment2 === "") return null;
  const ms = typeof moment2 === "number" ? moment2 : Date.parse(moment2);
  return Number.isFinite(ms) ? ms : null;
}
var msOf = (moment2) => toMs(moment2) ?? NaN;
function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone }).format(ms);
}
function clock(moment2, now, timeZone) {
  const ms = toMs(moment2);
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
function secondsBetween(from, to2) {
  const a = toMs(from);
  const b = toMs(to2);
  return a === null || b === null ? null : (b - a) / 1e3;
}

// common/choose.js
var findSize = (factory, id) => factory?.sizes.find((view) => view.size.id === id) ?? null;
var findEnvironment = (factory, id) => factory?.environments.find((one) => one.id === id) ?? null;
function roomier(factory, choice) {
  const had = findSize(factory, choice.size);
  const environment = findEnvironment(factory, choice.environment);
  if (!had || !environment) return null;
  const none = factory.project_needed === false && !choice.project;
  const open = ({ projects }) => !factory.projects?.length || none || (projects ?? []).some((one) => [one, null].includes(choice.project ?? null));
  const more = factory.sizes.filter((view) => view.size.memory_gb > had.size.memory_gb && fits(view, environment.id) && open(view));
  const order = (a, b) => a.size.memory_gb - b.size.memory_gb || a.size.gpus - b.size.gpus || a.size.cores - b.size.cores;
  return more.sort(order)[0] ?? null;
}
var fits = (view, environment) => view.offer.environments.includes(environment);
function freeName(taken, known = [], limit = 0, named = true) {
  const used2 = new Set(taken);
  if (!used2.has("")) return "";
  if (!named) return null;
  const kept = new Set(known.filter((name) => name !== ""));
  const room = limit <= 0 || kept.size < limit;
  for (let n = 2; n < 1e3; n += 1) {
    const name = `session-${n}`;
    if (!used2.has(name) && (room || kept.has(name))) return name;
  }
  return null;
}

// pages/session.js
var LIVE = ["pending", "starting", "running", "ending", "unreachable"];
var IDLE_AFTER = 5 * 60;
var isLive = (session) => LIVE.includes(session.state);
function names(session, factories = []) {
  const factory = factories.find((one) => one.id === session.choice.factory);
  const view = factory?.sizes.find((one) => one.size.id === session.choice.size);
  const environment = factory?.environments.find((one) => one.id === session.choice.environment);
  return {
    machine: factory?.site.machine ?? session.choice.factory,
    size: view?.gpu_label ?? session.choice.size,
    environment: environment?.title ?? session.choice.environment
  };
}
function expectedText(at, now) {
  if (at <= now + 6e4) return W.startsNow;
  return `${W.about(clock(at, now))} (${span((at - now) / 1e3)})`;
}
function standing(session, now) {
  switch (session.state) {
    case "pending": {
      const parts2 = [];
      if (session.position) parts2.push(W.position(session.position));
      const expected = toMs(session.expected_start);
      parts2.push(expected === null ? session.waits_for?.what || W.noPlan : W.expected(expectedText(expected, now)));
      return parts2.join(" · ");
    }
    case "running": {
      const { at, idle } = endOf(session, now);
      const left = secondsBetween(now, at);
      if (left === null) return W.state.running;
      return (idle ? W.idleLeft : W.timeLeft)(span(left), clock(at, now));
    }
    case "starting":
      return session.waits_for?.what || W.waitSub.starting;
    case "unreachable":
      return session.waits_for?.what || W.unreachableWhat;
    case "ending":
      return W.waitSub.ending;
    default:
      return session.end?.what || endText(session);
  }
}
function endOf(session, now) {
  const { notice, ends, ends_idle: idleAt, last_activity: last } = session;
  if (notice) return { at: notice.at, idle: ["idle", "unopened"].includes(notice.kind) };
  const unused = secondsBetween(last, now);
  const idle = toMs(idleAt) !== null && (unused === null || unused >= IDLE_AFTER) && (toMs(ends) === null || msOf(idleAt) < msOf(ends));
  return { at: idle ? idleAt : ends, idle };
}
function idling(session, now) {
  if (session.state !== "running") return "";
  const idle = secondsBetween(session.last_activity, now);
  if (idle === null) return W.neverOpened;
  return idle < IDLE_AFTER ? W.busy : W.idleFor(span(idle));
}
var isWithdrawn = ({ end, end_reason: reason, ready }) => reason === "stopped" && !ready && (!end?.code || end.code.startsWith("withdrawn"));
function endText(session) {
  if (isWithdrawn(session)) return W.withdrawn;
  return W.reason[session.end_reason] ?? W.state.ended;
}
var isOutOfMemory = (session) => session.end_reason === "out-of-memory";
function endHead(session) {
  if (isWithdrawn(session)) return W.withdrawnHead;
  if (isOutOfMemory(session)) return W.memoryHead;
  return isFailure(session) && !session.ready ? W.failedHead : W.endedHead;
}
function larger(session, factories) {
  const factory = factories?.find((one) => one.id === session.choice.factory);
  const view = factory && isOutOfMemory(session) ? roomier(factory, session.choice) : null;
  if (!view) return null;
  const hours = Math.min(session.choice.hours, view.offer.hours.most);
  return { factory, view, choice: { ...session.choice, size: view.size.id, hours } };
}
function runsIn(session, clusters2) {
  const busy = session.busy ? session.busy_with?.length ? session.busy_with.map(W.isBusy) : [W.somethingBusy] : [];
  const owned = clusters2.filter((one) => one.session === session.id && one.state === "live");
  return [...busy, ...owned.map((one) => W.cluster.live(one.name))];
}
function used(session, now) {
  const whole = secondsBetween(session.started, session.ends);
  const gone = secondsBetween(session.started, now);
  return whole && gone !== null ? Math.min(1, Math.max(0, gone / whole)) : null;
}
var isFailure = (session) => !["finished", "stopped", "idle", "unopened", "walltime"].includes(session.end_reason);

// pages/cluster.js
var HOUR = 36e5;
function jobs({ counts }) {
  const of = (...states) => states.reduce((sum, state2) => sum + (counts[state2] ?? 0), 0);
  return { running: of("running"), waiting: of("asked", "pending"), unreachable: of("unreachable") };
}
function standing2(cluster) {
  if (cluster.state !== "live") return ["wait", W.state[cluster.state]];
  const head = cluster.head?.state ?? "running";
  if (head !== "running") return [head === "unreachable" ? "down" : "wait", W.state[head]];
  const { running, waiting, unreachable } = jobs(cluster);
  if (unreachable) return ["down", W.state.unreachable];
  if (running) return ["free", W.state.running];
  return waiting ? ["wait", W.state.pending] : ["down", W.cluster.none];
}
function jobsLine(cluster) {
  const told = Object.entries(jobs(cluster)).filter(([, number2]) => number2 > 0);
  return told.length ? told.map(([name, number2]) => W.cluster[name](number2)).join(" · ") : W.cluster.none;
}
function gpuHours({ gpu_hours: told }, now) {
  const moved = Math.min(told.committed, told.per_hour * Math.max(0, now - msOf(told.at)) / HOUR);
  return { spent: told.spent + moved, committed: told.committed - moved };
}
function hoursLine(cluster, now) {
  const { cap } = cluster.gpu_hours;
  if (!cluster.gpus && cap === null) return "";
  const { spent, committed } = gpuHours(cluster, now);
  const used2 = cap === null ? W.cluster.hours(number(spent)) : W.cluster.hoursOf(number(spent), number(cap));
  return committed > 0 ? `${used2} · ${W.cluster.committed(committed, number(committed))}` : used2;
}
function aboutLine(cluster, sessions, now) {
  const owner = sessions.find((one) => one.id === cluster.session);
  return [
    W.cluster.liveFor(span(secondsBetween(cluster.created, now) ?? 0)),
    owner && W.cluster.session(W.server(owner.server))
  ].filter(Boolean).join(" · ");
}
function headLine({ head }, now) {
  if (!head) return "";
  return W.cluster.ownHead(head.state === "starting" ? W.state.starting : standing(head, now));
}
function dashboard({ dashboard: address }) {
  return /^(https?:\/\/|\/(?!\/))/.test(address ?? "") ? address : null;
}

// common/cost.js
function inUnit(amount2, unit) {
  const known = Object.hasOwn(W.unit, unit) ? W.unit[unit] : null;
  return known ? known(amount2, number(amount2)) : `${number(amount2)} ${unit}${amount2 === 1 ? "" : "s"}`;
}
var gpuHoursText = (amount2) => inUnit(amount2, "GPU-hour");
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
function chargedText({ charged, started }) {
  if (charged?.gpu_hours > 0) return gpuHoursText(charged.gpu_hours);
  if (!started) return W.notCharged;
  return charged ? W.noGpuHours : null;
}

// pages/session_view.js
function whose(words) {
  if (!words || !W.whose[words.whose]) return null;
  return h(
    "p",
    { class: `fg-whose fg-whose-${words.whose}` },
    h("span", { class: "fg-whose-sign", "aria-hidden": "true" }),
    W.whose[words.whose]
  );
}
var flat = (text) => text.split(/\s+/).join(" ").trim();
var beside = (words) => words.scheduler && !flat(words.what).includes(flat(words.scheduler)) ? words.scheduler : "";
function wordsBox(words, kind = "", from = W.schedulerReason) {
  return h(
    "div",
    { class: `fg-notice ${kind}`, key: "words" },
    h("p", {}, h("strong", {}, words.what)),
    whose(words),
    words.do ? h("p", {}, words.do) : null,
    beside(words) ? h("p", { class: "fg-said" }, `${from}: `, h("code", {}, beside(words))) : null
  );
}
function story(session, now, open) {
  if (!session.log.length) return null;
  return h(
    "details",
    { class: "fg-history", key: "history", open },
    h("summary", {}, isLive(session) ? W.soFar : W.history),
    h("ol", {}, session.log.map((line, index) => h("li", { key: `line-${index}` }, h("time", { datetime: line.at }, clock(line.at, now)), h("span", {}, line.text))))
  );
}
function about(session, factories) {
  const named = names(session, factories ?? []);
  const charged = chargedText(session);
  const rows = [
    [W.aboutSession.session, W.server(session.server)],
    [W.aboutSession.factory, named.machine],
    [W.aboutSession.size, W.sizeFor(named.size, hoursText(session.choice.hours))],
    [W.aboutSession.environment, named.environment],
    charged ? [W.aboutSession.cost, charged] : null
  ].filter((row3) => row3 !== null);
  return h(
    "dl",
    { class: "fg-facts", key: "about" },
    rows.map(([label, text]) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, text)))
  );
}
function memoryAdvice(session, factories) {
  if (!isOutOfMemory(session) || !factories?.length) return null;
  const found = larger(session, factories);
  if (!found) return h("p", { key: "advice" }, W.sameAgain);
  const { factory, view, choice } = found;
  return h(
    "p",
    { key: "advice" },
    `${W.largerHas(view.gpu_label, gigabytes(view.size.memory_gb))} ${costLine(factory, view, choice.hours)}`
  );
}
function ending(session, now, buttons, { heading = true, factories = null } = {}) {
  const failed = isFailure(session);
  return [
    heading ? h("h1", { key: "head" }, endHead(session)) : null,
    wordsBox(session.end ?? { what: endText(session) }, failed ? "fg-notice-bad" : ""),
    heading ? about(session, factories) : null,
    memoryAdvice(session, factories),
    session.log_tail.length ? h(
      "details",
      { class: "fg-history", key: "tail", open: failed },
      h("summary", {}, W.logTail),
      h("pre", { class: "fg-log", tabindex: "0", role: "region", "aria-label": W.logTail }, session.log_tail.join("\n"))
    ) : null,
    story(session, now, false),
    buttons ? h("div", { class: "fg-buttons", key: "buttons" }, buttons) : null
  ];
}

// pages/clusters.js
var RECENT = 3;
function card(cluster, { factories, sessions, now }, closing, trouble, on2) {
  const named = names(cluster, factories);
  const [dot, words] = standing2(cluster);
  const ending3 = closing || cluster.state === "ending";
  const lines = [jobsLine(cluster), hoursLine(cluster, now), headLine(cluster, now)].filter(Boolean);
  const address = dashboard(cluster);
  const id = `cluster-${cluster.id}`;
  return h(
    "article",
    { class: "fg-session", key: cluster.id, "aria-labelledby": id, "data-cluster": cluster.name },
    h(
      "header",
      { class: "fg-session-head" },
      h("h3", { id }, cluster.name),
      h("span", { class: `fg-status fg-status-${dot}` }, h("span", { class: "fg-dot", "aria-hidden": "true" }), words)
    ),
    h(
      "p",
      { class: "fg-session-what" },
      h("strong", {}, named.machine),
      ` · ${named.size}`,
      h("span", { class: "fg-quiet fg-line" }, aboutLine(cluster, sessions, now))
    ),
    lines.map((line) => h("p", { class: "fg-session-line" }, line)),
    cluster.wrong ? wordsBox(cluster.wrong, "fg-notice-warn", W.details) : null,
    cluster.waits_for && !cluster.wrong ? h("p", { class: "fg-quiet" }, `${cluster.waits_for.what} ${cluster.waits_for.do ?? ""}`.trim()) : null,
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null,
    h(
      "div",
      { class: "fg-buttons" },
      address ? h("a", {
        href: address,
        class: "btn btn-sm fg-primary",
        target: "_blank",
        rel: "noopener noreferrer",
        "aria-label": W.named(W.cluster.dashboard, cluster.name)
      }, W.cluster.dashboard) : null,
      h("button", {
        type: "button",
        class: "btn btn-sm btn-outline-danger",
        key: `close-${cluster.id}`,
        "aria-disabled": String(ending3),
        "aria-label": W.named(ending3 ? W.cluster.closing : W.cluster.close, cluster.name),
        onclick: () => on2.close(cluster)
      }, ending3 ? W.cluster.closing : W.cluster.close)
    )
  );
}
function row(cluster, { factories, now }) {
  const named = names(cluster, factories);
  const ran = span(secondsBetween(cluster.created, cluster.ended) ?? 0);
  const did = [cluster.counts.ended ? W.cluster.ran(cluster.counts.ended) : "", hoursLine(cluster, now)];
  return h(
    "li",
    { class: "fg-ended", key: cluster.id },
    h(
      "div",
      { class: "fg-ended-main" },
      h("p", {}, h("strong", {}, cluster.name), ` · ${[named.machine, named.size, ...did].filter(Boolean).join(" · ")}`),
      h(
        "p",
        { class: "fg-quiet" },
        `${cluster.end ? W.state.ended : W.cluster.closed} · ${W.endedAt(clock(cluster.ended, now), ran)}`
      ),
      cluster.end ? h("p", {}, [cluster.end.what, cluster.end.do].filter(Boolean).join(" ")) : null
    )
  );
}
function clusters(part, to2) {
  const dialog = byId("fg-close");
  const closing = /* @__PURE__ */ new Set();
  const troubles = /* @__PURE__ */ new Map();
  let live2 = [];
  let over = [];
  let asking = null;
  let around = { factories: [], sessions: [] };
  let heard = false;
  let asked = 0;
  function draw2() {
    const told = { ...around, now: Date.now() };
    part.hidden = live2.length + over.length === 0;
    render(
      part.querySelector("#fg-clusters"),
      live2.map((one) => card(one, told, closing.has(one.id), troubles.get(one.id), on2))
    );
    const list = part.querySelector("#fg-clusters-ended");
    list.parentElement.hidden = over.length === 0;
    render(list, over.slice(0, RECENT).map((one) => row(one, told)));
  }
  async function refresh2() {
    asked += 1;
    const mine = asked;
    try {
      const told = await ask(to2.clusters);
      if (mine !== asked) return;
      over = told.filter((one) => one.state === "ended");
      draw2();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
    }
  }
  async function close(cluster) {
    closing.add(cluster.id);
    troubles.delete(cluster.id);
    draw2();
    try {
      await ask(to2.cluster(cluster.id), { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      troubles.set(cluster.id, [error.message, error.advice].filter(Boolean).join(" "));
      closing.delete(cluster.id);
      draw2();
    }
  }
  const on2 = {
    close(cluster) {
      if (closing.has(cluster.id) || cluster.state === "ending") return;
      asking = cluster;
      dialog.querySelector("h2").textContent = W.cluster.closeHead(cluster.name);
      const { running, waiting } = jobs(cluster);
      dialog.querySelector("#fg-close-jobs").textContent = running + waiting ? jobsLine(cluster) : "";
      dialog.showModal();
    }
  };
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "go") close(asking);
    dialog.returnValue = "";
  });
  return {
    /** Takes the live clusters; for a missing one, asks the gateway how it ended. */
    hear(told) {
      const fresh = new Map(told.map((one) => [one.id, one]));
      const gone = live2.filter((one) => !fresh.has(one.id));
      for (const known of live2) {
        const one = fresh.get(known.id);
        const words = one ? standing2(one)[1] : W.state.ended;
        if (standing2(known)[1] !== words) announce(W.named(known.name, words));
      }
      for (const { id } of gone) {
        closing.delete(id);
        troubles.delete(id);
      }
      live2 = told;
      draw2();
      if (gone.length || !heard) refresh2();
      heard = true;
    },
    /** The live clusters. */
    get live() {
      return live2;
    },
    /** Other data of the page: {factories, sessions}. */
    show(known) {
      around = known;
      draw2();
    }
  };
}

// pages/home_view.js
var DOT = { pending: "wait", starting: "wait", running: "free", ending: "wait", unreachable: "down" };
var link = (href, text, kind) => h("a", { href, class: `btn btn-sm ${kind}` }, text);
function button(text, kind, onclick, more = {}) {
  return h("button", { type: "button", class: `btn btn-sm ${kind}`, onclick, ...more }, text);
}
function sessionCard(session, factories, now, to2, on2, busy, asking, trouble, workshop = "") {
  const named = names(session, factories);
  const stopping = busy.has(session.id) || session.state === "ending" || session.wish === "stop";
  const stop2 = stopping ? W.stopping : session.state === "pending" ? W.cancel : W.stop;
  const share = used(session, now);
  const idle = idling(session, now);
  const id = `session-${session.id}`;
  return h(
    "article",
    { class: "fg-session", key: session.id, "aria-labelledby": id },
    h(
      "header",
      { class: "fg-session-head" },
      h("h2", { id }, W.server(session.server)),
      h(
        "span",
        { class: `fg-status fg-status-${DOT[session.state]}` },
        h("span", { class: "fg-dot", "aria-hidden": "true" }),
        W.state[session.state]
      )
    ),
    h(
      "p",
      { class: "fg-session-what" },
      h("strong", {}, named.machine),
      ` · ${named.size}`,
      h("span", { class: "fg-quiet fg-line" }, named.environment),
      workshop ? h("span", { class: "fg-line" }, W.ofWorkshop(workshop)) : null
    ),
    session.state === "running" && share !== null ? h("div", {
      class: "fg-bar",
      role: "progressbar",
      "aria-labelledby": `${id} ${id}-line`,
      "aria-valuemin": "0",
      "aria-valuemax": "100",
      "aria-valuenow": String(Math.round(share * 100))
    }, h("span", { style: `width:${Math.round(share * 100)}%` })) : null,
    h("p", { id: `${id}-line`, class: "fg-session-line" }, standing(session, now)),
    ["pending", "starting", "unreachable"].includes(session.state) ? whose(session.waits_for) : null,
    session.state === "pending" && session.expected_start && session.waits_for ? h("p", { class: "fg-quiet" }, `${session.waits_for.what} ${session.waits_for.do ?? ""}`.trim()) : null,
    session.state === "unreachable" ? h("p", { class: "fg-quiet" }, session.waits_for?.do || W.unreachableDo) : null,
    session.remark && session.state !== "unreachable" ? wordsBox(session.remark, "fg-notice-warn", W.details) : null,
    idle ? h("p", { class: "fg-quiet" }, idle) : null,
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null,
    h(
      "div",
      { class: "fg-buttons" },
      session.state === "running" ? link(to2.open(session.server), W.open, "fg-primary") : ["pending", "starting"].includes(session.state) ? link(to2.pending(session.server), W.view, "fg-primary") : null,
      button(stop2, "btn-outline-danger", () => on2.stop(session), {
        key: `stop-${session.id}`,
        "aria-disabled": String(stopping),
        "data-stop": session.server,
        "aria-label": W.named(stop2, W.server(session.server))
      }),
      stopping || !(session.extend_hours > 0) ? null : button(
        asking.has(session.id) ? W.moreAsked : W.more,
        "btn-outline-contrast",
        () => on2.more(session),
        {
          key: `extend-${session.id}`,
          "aria-disabled": String(asking.has(session.id)),
          "data-more": session.server,
          "aria-label": W.named(W.more, W.server(session.server))
        }
      ),
      stopping ? null : button(W.otherSize, "btn-outline-contrast", () => on2.other(session), { key: `other-${session.id}` })
    )
  );
}
function hubCard(server, to2, on2) {
  return h(
    "article",
    { class: "fg-session", key: `hub-${server.name}` },
    h("header", { class: "fg-session-head" }, h("h2", {}, W.server(server.name))),
    h("p", { class: "fg-session-line" }, W.hubOnly),
    h(
      "div",
      { class: "fg-buttons" },
      link(server.ready ? to2.open(server.name) : to2.pending(server.name), server.ready ? W.open : W.view, "fg-primary"),
      button(W.stop, "btn-outline-danger", () => on2.stopServer(server.name), { "data-stop": server.name })
    )
  );
}
function endedRow(session, factories, now, to2, on2, starting, trouble) {
  const named = names(session, factories);
  const ran = session.started ? span(secondsBetween(session.started, session.ended) ?? 0) : "";
  const failed = isFailure(session);
  const charged = chargedText(session);
  const more = larger(session, factories);
  const again = isOutOfMemory(session) ? W.startSame : W.again;
  return h(
    "li",
    { class: "fg-ended", key: session.id },
    h(
      "div",
      { class: "fg-ended-main" },
      h("p", {}, h("strong", {}, W.server(session.server)), ` · ${named.machine} · ${named.size}, ` + hoursText(session.choice.hours)),
      h(
        "p",
        { class: failed ? "fg-bad" : "fg-quiet" },
        `${endText(session)} · ${W.endedAt(clock(session.ended, now), ran)}`,
        charged ? ` · ${session.started ? W.charged(charged) : charged}` : ""
      ),
      h(
        "details",
        { class: "fg-history", key: `more-${session.id}` },
        h("summary", {}, W.details),
        ending(session, now, null, { heading: false, factories })
      ),
      trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null
    ),
    h(
      "div",
      { class: "fg-buttons" },
      more ? button(
        starting ? W.starting : W.startLarger(more.view.gpu_label),
        "fg-primary",
        () => on2.again({ ...session, choice: more.choice }),
        { key: `larger-${session.id}`, "aria-disabled": String(starting) }
      ) : null,
      button(starting ? W.starting : again, "btn-outline-contrast", () => on2.again(session), {
        key: `again-${session.id}`,
        "aria-disabled": String(starting),
        "data-again": session.server,
        "aria-label": W.named(again, `${W.server(session.server)}, ${named.machine}`)
      }),
      link(`${to2.spawn(session.server)}#again=${session.id}`, W.change, "btn-outline-contrast")
    )
  );
}
function nameRow(name, to2, on2) {
  return h(
    "li",
    { class: "fg-ended", key: `name-${name}` },
    h("p", {}, name),
    h(
      "span",
      { class: "fg-buttons" },
      link(to2.spawn(name), W.start, "btn-outline-contrast"),
      button(W.remove, "btn-outline-contrast", () => on2.remove(name), { "aria-label": W.named(W.remove, name) })
    )
  );
}

// pages/logins.js
var SOON = 30 * 6e4;
function loginState(credential, now) {
  const left = credential.until === null ? -1 : Date.parse(credential.until) - now;
  if (left <= 0) return "over";
  return left < SOON ? "soon" : "good";
}
function row2(factory, now, busy, trouble, send) {
  const { until, renew_url: url } = factory.credential;
  const state2 = loginState(factory.credential, now);
  const id = `token-${factory.id}`;
  const words = { good: W.loginGood, soon: W.loginSoon, over: W.loginOver }[state2];
  return h(
    "li",
    { class: "fg-login", key: `login-${factory.id}` },
    h("p", {}, h("strong", {}, factory.site.machine), ` · ${words(until === null ? "" : clock(until, now))}`),
    h(
      "form",
      { class: "fg-login-form", onsubmit: (event) => send(event, factory) },
      h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, W.loginToken),
      h("label", { for: id }, W.loginPaste),
      h("input", {
        id,
        key: id,
        name: "token",
        type: "password",
        class: "form-control",
        required: true,
        autocomplete: "off",
        spellcheck: "false"
      }),
      h("button", { class: "btn btn-sm fg-primary", "aria-disabled": String(busy) }, busy ? W.loginAsking : W.loginRenew)
    ),
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null
  );
}
function logins(part, to2, changed) {
  const busy = /* @__PURE__ */ new Set();
  const troubles = /* @__PURE__ */ new Map();
  let factories = [];
  async function send(event, factory) {
    event.preventDefault();
    if (busy.has(factory.id)) return;
    const field = event.target.elements.namedItem("token");
    const token = field.value.trim();
    field.value = "";
    busy.add(factory.id);
    troubles.delete(factory.id);
    draw2();
    try {
      changed(factory.id, await ask(to2.credential(factory.id), { method: "PUT", body: { token } }));
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      troubles.set(factory.id, error.message);
    } finally {
      busy.delete(factory.id);
      draw2();
    }
  }
  function draw2(now = Date.now()) {
    part.hidden = factories.length === 0;
    render(part.querySelector("ul"), factories.map((one) => row2(one, now, busy.has(one.id), troubles.get(one.id), send)));
  }
  return {
    /** Shows those factories of `all` that need the person's own login. */
    show(all) {
      factories = all.filter((one) => one.credential);
      draw2();
    }
  };
}

// pages/notify.js
var canAsk = () => "Notification" in window && Notification.permission === "default";
var mayTell = () => "Notification" in window && Notification.permission === "granted";
async function askPermission() {
  return await Notification.requestPermission() === "granted";
}
function tell(title, body) {
  if (!mayTell()) return;
  try {
    const note = new Notification(title, { body, tag: "factorygate" });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    document.title = `● ${title}`;
  }
}

// pages/soon.js
function ending2(sessions) {
  const near = sessions.filter((one) => one.notice && one.state === "running");
  return near.sort((a, b) => Date.parse(a.notice.at) - Date.parse(b.notice.at));
}
function soonText(session, now) {
  return W.soon[session.notice.kind](W.server(session.server), clock(session.notice.at, now));
}
function newly(sessions, told) {
  return ending2(sessions).filter((one) => {
    const step = `${one.id} ${one.notice.kind} ${one.notice.minutes} ${one.notice.at}`;
    const fresh = !told.has(step);
    told.add(step);
    return fresh;
  });
}
function say(sessions, told, now) {
  const fresh = newly(sessions, told).map((one) => soonText(one, now));
  if (!fresh.length) return;
  announce(fresh.join(" "));
  if (document.visibilityState === "hidden") tell(W.soonTitle, fresh.join("\n"));
}
function soonBoxes(sessions, now, to2) {
  return ending2(sessions).map((one) => h(
    "p",
    { class: "fg-notice fg-notice-warn", key: `soon-${one.id}` },
    h("strong", {}, soonText(one, now)),
    " ",
    h("a", { href: to2.open(one.server) }, W.open)
  ));
}

// pages/home.js
var page = settings("fg-home");
var to = addresses(page.base, page.user, page.userUrl);
var RECENT2 = 6;
var STOP_PATIENCE = 15e3;
var WORKSHOP = "workshop-";
var state = {
  sessions: null,
  factories: [],
  trouble: null,
  busy: /* @__PURE__ */ new Set(),
  troubles: /* @__PURE__ */ new Map(),
  asking: null,
  next: null,
  renew: null,
  longer: null,
  moreAsked: /* @__PURE__ */ new Map(),
  starting: null,
  told: /* @__PURE__ */ new Set(),
  titles: /* @__PURE__ */ new Map(),
  // of workshops, by the ids of their projects
  heard: 0,
  // number of received updates of the sessions
  servers: JSON.parse(byId("fg-servers").textContent)
};
var workshopOf = (session) => state.titles.get(session.choice.project) ?? "";
async function askTitles(sessions) {
  const fresh = sessions.map((one) => one.choice.project).filter((id) => id?.startsWith(WORKSHOP) && !state.titles.has(id));
  if (!fresh.length) return;
  for (const id of fresh) state.titles.set(id, "");
  const projects = await attempt(() => ask(to.projects), () => void 0);
  for (const one of projects ?? []) if (one.id.startsWith(WORKSHOP)) state.titles.set(one.id, one.title || one.id);
  draw();
}
var live = () => (state.sessions ?? []).filter(isLive);
var moment = (session) => Date.parse(session.ended ?? session.created);
function hubOnly() {
  const told = new Set(live().map((session) => session.server));
  return state.servers.filter((server) => server.active && !told.has(server.name));
}
function drawNew() {
  const silent = state.sessions ? [] : hubOnly();
  const taken = [...live().map((session) => session.server), ...silent.map((server) => server.name)];
  const known = state.servers.map((server) => server.name);
  const name = freeName(taken, known, Number(page.limit), page.named === "yes");
  const button2 = byId("fg-new");
  button2.hidden = name === null;
  if (name !== null) button2.href = to.spawn(name);
  byId("fg-limit").textContent = name === null ? W.limitReached : "";
}
function tellButton() {
  if (mayTell()) return h("p", { class: "fg-quiet", key: "told" }, W.toldEnd);
  if (!canAsk()) return null;
  return h("button", {
    type: "button",
    class: "btn btn-sm btn-outline-contrast",
    key: "tell",
    onclick: async () => {
      if (await askPermission()) listen();
      draw();
    }
  }, W.tellEnd);
}
function draw() {
  const now = Date.now();
  render(byId("fg-trouble"), state.trouble ? h("p", { class: "fg-notice fg-notice-warn" }, state.trouble.status === 401 ? state.trouble.message : `${W.homeSilent} ${troubleText(state.trouble)}`) : null);
  drawNew();
  if (!state.sessions && !state.trouble) return;
  const running = live().sort((a, b) => a.server.localeCompare(b.server, "en", { numeric: true }));
  const only = state.sessions ? [] : hubOnly();
  render(
    byId("fg-live"),
    running.map((one) => sessionCard(
      one,
      state.factories,
      now,
      to,
      on,
      state.busy,
      state.moreAsked,
      state.troubles.get(one.id),
      workshopOf(one)
    )),
    only.map((server) => hubCard(server, to, on))
  );
  byId("fg-none").hidden = !state.sessions || running.length + only.length > 0;
  const ended = (state.sessions ?? []).filter((one) => !isLive(one)).sort((a, b) => moment(b) - moment(a)).slice(0, RECENT2);
  byId("fg-ended-part").hidden = ended.length === 0;
  render(byId("fg-ended"), ended.map((one) => endedRow(one, state.factories, now, to, on, state.starting === one.id, state.troubles.get(one.id))));
  render(byId("fg-soon"), soonBoxes(running, now, to), running.length ? tellButton() : null);
  const kept = state.servers.filter((server) => server.name && !server.active && !running.some((one) => one.server === server.name));
  byId("fg-names-part").hidden = kept.length === 0;
  render(byId("fg-names"), kept.map((server) => nameRow(server.name, to, on)));
  ownClusters.show({ factories: state.factories, sessions: state.sessions ?? [] });
}
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
    if (asked !== void 0 && asked !== one.ends) state.moreAsked.delete(one.id);
  }
  for (const one of gone) {
    state.busy.delete(one.id);
    state.troubles.delete(one.id);
    if (one.id === state.next) location.href = `${to.spawn(one.server)}#again=${one.id}`;
    if (one.id === state.renew) {
      state.renew = null;
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
    return void 0;
  }
}
function setTrouble(trouble) {
  state.trouble = trouble;
  draw();
}
var refresh = () => attempt(async () => {
  const before = state.heard;
  const sessions = await ask(to.sessions);
  if (state.heard === before) hear(sessions, true);
  else await refresh();
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
var on = {
  /** Stops the session; asks first if work would be lost. */
  stop(session) {
    const lost = runsIn(session, ownClusters.live);
    if (!lost.length || state.busy.has(session.id) || session.wish === "stop") {
      stop(session);
      return;
    }
    state.asking = session;
    byId("fg-stop-head").textContent = W.stopHead(W.server(session.server));
    render(byId("fg-stop-what"), lost.map((text, index) => h("li", { key: String(index) }, text)));
    byId("fg-stop").showModal();
  },
  async stopServer(name) {
    await attempt(() => ask(to.server(name), { method: "DELETE" }), setTrouble);
    state.servers = state.servers.map((one) => one.name === name ? { ...one, active: false, ready: false } : one);
    draw();
  },
  async remove(name) {
    const done = await attempt(() => ask(to.server(name), { method: "DELETE", body: { remove: true } }), setTrouble);
    if (done === void 0) return;
    state.servers = state.servers.filter((one) => one.name !== name);
    draw();
  },
  other(session) {
    state.asking = session;
    byId("fg-other").showModal();
  },
  more(session) {
    if (state.moreAsked.has(session.id)) return;
    state.longer = session;
    const most = session.extend_hours;
    const field = byId("fg-more-hours");
    field.max = most;
    field.value = Math.min(1, most);
    byId("fg-more-most").textContent = W.moreMost(hoursText(most));
    drawMore();
    byId("fg-more").showModal();
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
  }
};
function drawMore() {
  const hours = Number(byId("fg-more-hours").value);
  const ends = Date.parse(state.longer?.ends ?? "") + hours * 36e5;
  byId("fg-more-ends").textContent = hours > 0 && Number.isFinite(ends) ? W.moreEnds(clock(ends, Date.now())) : "";
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
byId("fg-more-hours").addEventListener("input", drawMore);
byId("fg-more").addEventListener("close", () => {
  const session = state.longer;
  state.longer = null;
  const hours = Number(byId("fg-more-hours").value);
  if (byId("fg-more").returnValue === "go" && session && hours > 0) askMore(session, hours);
  byId("fg-more").returnValue = "";
});
byId("fg-stop").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (byId("fg-stop").returnValue === "go" && session) stop(session);
  byId("fg-stop").returnValue = "";
});
byId("fg-other").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (byId("fg-other").returnValue !== "go" || !session) return;
  byId("fg-other").returnValue = "";
  state.next = session.id;
  stop(session);
});
byId("fg-again").addEventListener("close", () => {
  const session = state.asking;
  state.asking = null;
  if (byId("fg-again").returnValue !== "go" || !session) return;
  byId("fg-again").returnValue = "";
  state.renew = session.id;
  stop(session);
});
function askedFor() {
  const [, id] = /^#again=([0-9a-f]{32})$/.exec(location.hash) ?? [];
  const session = state.sessions?.find((one) => one.id === id);
  if (!session) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (isLive(session)) {
    state.asking = session;
    byId("fg-again").showModal();
    return;
  }
  const row3 = document.querySelector(`#fg-ended [data-again="${CSS.escape(session.server)}"]`);
  row3?.focus();
}
var following = null;
function listen() {
  following?.stop();
  let first = true;
  following = follow({
    url: to.sessions,
    events: to.homeEvents,
    event: "sessions",
    whileHidden: mayTell(),
    onData: (sessions) => {
      state.heard += 1;
      hear(sessions, first || sessions.some((one) => !isLive(one)));
      if (first) askedFor();
      first = false;
    },
    also: { clusters: (told) => ownClusters.hear(told) },
    polled: { [to.clusters]: (told) => ownClusters.hear(told.filter((one) => one.state !== "ended")) },
    onTrouble: setTrouble
  });
}
var ownLogins = logins(byId("fg-logins-part"), to, (id, credential) => {
  setFactories(state.factories.map((one) => one.id === id ? { ...one, credential } : one));
});
var ownClusters = clusters(byId("fg-clusters-part"), to);
function setFactories(factories) {
  state.factories = factories;
  ownLogins.show(factories);
  draw();
}
async function begin() {
  draw();
  listen();
  setInterval(() => document.visibilityState === "visible" && setFactories(state.factories), 1e4);
  const factories = await attempt(() => ask(to.factories), () => void 0);
  if (factories) setFactories(factories);
}
begin();
