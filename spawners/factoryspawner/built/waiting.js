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
  ofWorkshop: (title2) => t("Workshop: {title}", { title: title2 }),
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
async function ask(url, { method = "GET", body: body2, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" || url.includes("/hub/api/")) headers["X-XSRFToken"] = window.jhdata.xsrf_token;
  if (body2 !== void 0) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "manual",
      body: body2 === void 0 ? void 0 : JSON.stringify(body2)
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
  const body2 = Object.fromEntries(Object.entries(session.choice).filter(([, value]) => value !== null));
  for (let tries = 1; ; tries += 1) {
    try {
      await ask(to2.server(session.server), { method: "POST", body: body2 });
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

// pages/notify.js
var COLOURS = { pending: "#b26a00", starting: "#1d5bb8", running: "#1a7f37", ended: "#c0392b", unreachable: "#6b7280" };
var canAsk = () => "Notification" in window && Notification.permission === "default";
var mayTell = () => "Notification" in window && Notification.permission === "granted";
var isDenied = () => !("Notification" in window) || Notification.permission === "denied";
async function askPermission() {
  return await Notification.requestPermission() === "granted";
}
function tell(title2, body2) {
  if (!mayTell()) return;
  try {
    const note = new Notification(title2, { body: body2, tag: "factorygate" });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    document.title = `● ${title2}`;
  }
}
function icon(state2) {
  const colour = COLOURS[state2] ?? COLOURS.pending;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#1d5bb8" d="M4 28V12a12 12 0 0 1 24 0v16h-6V13a6 6 0 0 0-12 0v15z"/><circle cx="22" cy="22" r="9" fill="${colour}" stroke="#fff" stroke-width="2"/></svg>`;
  const link2 = document.querySelector("link[rel=icon]");
  if (link2) link2.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
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

// pages/session.js
var LIVE = ["pending", "starting", "running", "ending", "unreachable"];
var IDLE_AFTER = 5 * 60;
var isLive = (session) => LIVE.includes(session.state);
function ofServer(sessions, user, server) {
  const mine = sessions.filter((one) => one.server === server && (!user || one.user === user));
  const latest = (a, b) => (toMs(b.ended ?? b.created) ?? 0) - (toMs(a.ended ?? a.created) ?? 0);
  return mine.find(isLive) ?? [...mine].sort(latest)[0] ?? null;
}
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
function stages(session) {
  const seen = session === null ? "pending" : session.state === "unreachable" ? session.before ?? "pending" : session.state;
  const order = ["pending", "starting", "running"];
  const place = seen === "ending" || seen === "ended" ? order.length : order.indexOf(seen);
  return order.map((stage, index) => {
    if (index < place) return { stage, is: "done" };
    return { stage, is: index === place ? "current" : "todo" };
  });
}
var phase = (session) => session === null ? "looking" : session.state;
function title(session) {
  const said = W.title[phase(session)];
  return typeof said === "function" ? said(session.position) : said;
}
function facts(session, named, now) {
  const rows = [];
  const { choice } = session;
  const pending = session.state === "pending" || session.before === "pending";
  if (pending) {
    if (session.position) rows.push([W.facts.place, W.position(session.position)]);
    const expected = toMs(session.expected_start);
    rows.push([W.facts.expected, expected === null ? W.noPlan : expectedText(expected, now)]);
  }
  rows.push([W.facts.asked, `${named.size}, ${hoursText(choice.hours)}, ${named.environment}`]);
  if (pending && choice.give_up_hours) {
    rows.push([W.facts.giveUp, clock(msOf(session.created) + choice.give_up_hours * 36e5, now)]);
  }
  if (session.node) rows.push([W.facts.node, session.node]);
  if (session.job) rows.push([W.facts.job, session.job]);
  return rows;
}
function expectedText(at, now) {
  if (at <= now + 6e4) return W.startsNow;
  return `${W.about(clock(at, now))} (${span((at - now) / 1e3)})`;
}
function elapsed(session, now) {
  return secondsBetween(session.state === "starting" ? session.started ?? session.created : session.created, now) ?? 0;
}
var isWithdrawn = ({ end, end_reason: reason, ready: ready2 }) => reason === "stopped" && !ready2 && (!end?.code || end.code.startsWith("withdrawn"));
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
var isFailure = (session) => !["finished", "stopped", "idle", "unopened", "walltime"].includes(session.end_reason);
function change(known, session) {
  if (!known || known.state !== session.state) return W.state[session.state];
  if (known.position !== session.position && session.position) return W.position(session.position);
  return null;
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
function stepper(session) {
  const steps = stages(session);
  const reached = steps.filter(({ is }) => is !== "todo").length;
  return h(
    "div",
    { class: "fg-progress", key: "stepper" },
    h("p", { id: "fg-progress-text", class: "fg-progress-text" }, W.progress(reached, steps.length)),
    h("ol", { class: "fg-stepper", "aria-labelledby": "fg-progress-text" }, steps.map(({ stage, is }) => h(
      "li",
      { class: `fg-stage fg-stage-${is}`, "aria-current": is === "current" ? "step" : null },
      h("span", { class: "fg-stage-dot", "aria-hidden": "true" }),
      W.state[stage]
    )))
  );
}
var say = (words, machine) => typeof words === "function" ? words(machine) : words ?? "";
function headline(session, named) {
  const now = phase(session);
  return [
    h("h1", { key: "head" }, say(W.waitHead[now], named?.machine)),
    W.waitSub[now] ? h("p", { key: "sub", class: "fg-lead" }, W.waitSub[now]) : null
  ];
}
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
function reasonBox(session) {
  if (session.state === "unreachable") {
    return session.waits_for ? wordsBox(session.waits_for, "fg-notice-warn", W.details) : null;
  }
  if (session.remark) return wordsBox(session.remark, "fg-notice-warn", W.details);
  return session.waits_for && ["pending", "starting"].includes(session.state) ? wordsBox(session.waits_for) : null;
}
function factList(session, named, now) {
  const rows = facts(session, named, now);
  const counting = session.state === "pending" || session.state === "starting";
  return h(
    "dl",
    { class: "fg-facts", key: "facts" },
    counting ? h(
      "div",
      { key: "elapsed" },
      h("dt", {}, session.state === "pending" ? W.facts.waiting : W.facts.starting),
      h("dd", { class: "fg-stopwatch" }, span(elapsed(session, now)))
    ) : null,
    rows.map(([label, text]) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, text)))
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
  ].filter((row) => row !== null);
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
  const failed2 = isFailure(session);
  return [
    heading ? h("h1", { key: "head" }, endHead(session)) : null,
    wordsBox(session.end ?? { what: endText(session) }, failed2 ? "fg-notice-bad" : ""),
    heading ? about(session, factories) : null,
    memoryAdvice(session, factories),
    session.log_tail.length ? h(
      "details",
      { class: "fg-history", key: "tail", open: failed2 },
      h("summary", {}, W.logTail),
      h("pre", { class: "fg-log", tabindex: "0", role: "region", "aria-label": W.logTail }, session.log_tail.join("\n"))
    ) : null,
    story(session, now, false),
    buttons ? h("div", { class: "fg-buttons", key: "buttons" }, buttons) : null
  ];
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
function say2(sessions, told, now) {
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
function watch(to2) {
  const told = /* @__PURE__ */ new Set();
  let sessions = [];
  const draw2 = () => render(byId("fg-soon"), soonBoxes(sessions, Date.now(), to2));
  follow({
    url: to2.sessions,
    events: to2.sessionsEvents,
    event: "sessions",
    onData: (found) => {
      sessions = found;
      say2(sessions, told, Date.now());
      draw2();
    }
  });
}

// pages/waiting.js
var page = settings("fg-waiting");
var to = addresses(page.base, page.user, page.userUrl);
var body = byId("fg-waiting-body");
var FIND_AGAIN = 700;
var STOP_PATIENCE = 15e3;
var PRODUCT = document.title.split(" · ").at(-1);
var JUST_NOW = 15e3;
var MOVING = 3e5;
var state = {
  session: null,
  factories: [],
  trouble: null,
  cancelling: false,
  cancelFailed: null,
  ready: false,
  again: null,
  againFailed: null,
  moved: false
};
var following = null;
var progress = null;
var looks = 0;
var coming = null;
var link = (href, text, kind) => h("a", { href, class: `btn ${kind}`, key: text }, text);
function buttonsAtEnd() {
  const home = link(to.home, W.toHome, "btn-outline-contrast");
  const { session } = state;
  if (!session) return [link(to.spawn(page.server), W.startAgain, "fg-primary"), home];
  const more = larger(session, state.factories);
  const button = (key, text, kind, choice) => h("button", {
    type: "button",
    class: `btn ${kind}`,
    key,
    "aria-disabled": String(state.again !== null),
    onclick: () => startOver(choice, key)
  }, state.again === key ? W.starting : text);
  const same = isOutOfMemory(session);
  const again = button("again", same ? W.startSame : W.startAgain, same ? "btn-outline-contrast" : "fg-primary", session.choice);
  return [more ? button("larger", W.startLarger(more.view.gpu_label), "fg-primary", more.choice) : null, again, link(`${to.spawn(page.server)}#again=${session.id}`, W.change, "btn-outline-contrast"), home];
}
function notifyButton() {
  if (mayTell()) return h("p", { class: "fg-quiet", key: "told" }, W.notify.on);
  if (canAsk()) {
    return h("button", {
      type: "button",
      class: "btn btn-outline-contrast",
      key: "ask",
      onclick: async () => {
        await askPermission();
        draw();
      }
    }, W.notify.ask);
  }
  return isDenied() && "Notification" in window ? h("p", { class: "fg-quiet", key: "denied" }, W.notify.denied) : null;
}
function cancelButton() {
  return h("button", {
    type: "button",
    id: "cancel",
    class: "btn btn-outline-danger",
    key: "cancel",
    "aria-disabled": String(state.cancelling),
    "aria-describedby": "fg-cancel-text",
    onclick: cancel
  }, state.cancelling ? W.cancelling : W.cancel);
}
function drawActions() {
  const waiting = !state.session || ["pending", "starting", "unreachable"].includes(state.session.state);
  byId("fg-waiting-actions").hidden = !waiting || page.mode !== "pending";
  render(byId("fg-buttons"), cancelButton(), notifyButton());
  render(
    byId("fg-trouble"),
    state.cancelFailed ? h("p", { class: "fg-notice fg-notice-bad", key: "cancel" }, state.cancelFailed) : null,
    state.trouble ? h("p", { class: "fg-notice fg-notice-warn", key: "trouble" }, troubleText(state.trouble)) : null
  );
}
function draw() {
  const { session } = state;
  const now = Date.now();
  const named = session ? names(session, state.factories) : null;
  if (state.moved && !session) {
    render(body, h("h1", {}, W.movedHead), h("p", { class: "fg-lead" }, W.movedText));
  } else if (session && !isLive(session)) {
    render(body, ending(session, now, buttonsAtEnd(), { factories: state.factories }), state.againFailed ? h("p", { class: "fg-notice fg-notice-bad", key: "again-failed", role: "alert" }, state.againFailed) : null);
  } else if (page.mode === "pending" || session) {
    const returns = page.mode === "stopped" && session?.state === "running";
    const alive = returns ? h("p", { class: "fg-notice", key: "coming" }, W.comingBack) : null;
    render(
      body,
      headline(session, named),
      alive,
      stepper(session),
      session ? reasonBox(session) : null,
      session ? factList(session, named, now) : null,
      session ? story(session, now, true) : null,
      state.ready ? h("div", { class: "fg-buttons", key: "open" }, link(location.href, W.openNow, "fg-primary")) : null
    );
  }
  if (page.mode === "pending" || session) {
    document.title = `${title(session)} · ${PRODUCT}`;
    icon(session?.state ?? "pending");
  }
  drawActions();
}
function goOn() {
  location.reload();
}
function ready() {
  state.ready = true;
  draw();
  if (document.visibilityState === "hidden" && mayTell()) {
    tell(W.notify.ready, state.session ? names(state.session, state.factories).machine : "");
    document.title = `● ${W.title.running} · ${PRODUCT}`;
    document.addEventListener("visibilitychange", goOn, { once: true });
  } else goOn();
}
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
function followProgress() {
  if (progress || !page.progressUrl || page.mode !== "pending") return;
  let tries = 0;
  const open = () => {
    progress = new EventSource(page.progressUrl);
    const silence = setTimeout(lookAtServer, FIRST_EVENT);
    progress.onmessage = (message) => {
      const event = JSON.parse(message.data);
      tries = 0;
      clearTimeout(silence);
      if (event.session && !following) followSession(event.session.id);
      if (event.ready || event.failed) progress.close();
      if (event.ready) ready();
      if (event.failed) failed();
    };
    progress.onerror = () => {
      clearTimeout(silence);
      progress.close();
      tries += 1;
      if (tries > 3 && state.session?.reachable) goOn();
      else setTimeout(open, backoff(tries));
    };
  };
  open();
}
async function lookAtServer() {
  progress?.close();
  if (state.ready) return;
  try {
    const { servers } = await ask(to.person);
    const server = servers?.[page.server];
    if (server?.ready) ready();
    else if (servers && !server) failed();
    if (servers && (!server || server.ready)) return;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
  }
  setTimeout(lookAtServer, POLL);
}
var isMoving = (session) => session.end_reason === "moved" && Date.parse(session.ended ?? session.created) > Date.now() - MOVING;
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
    url: to.session(id),
    events: to.sessionEvents(id),
    event: "session",
    whileHidden: true,
    onData: hear,
    onTrouble: (trouble) => {
      state.trouble = trouble;
      draw();
    }
  });
}
var lastOne = async () => ofServer(await ask(to.sessions), page.user, page.server);
function isTold(session, message) {
  if (session.end?.what && message.includes(session.end.what)) return true;
  return Date.parse(session.ended ?? session.created) > Date.now() - JUST_NOW;
}
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
  if (looks === 2) followProgress();
  if (!following) setTimeout(look, FIND_AGAIN + backoff(looks) / 4);
}
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
  setInterval(() => state.session && document.visibilityState === "visible" && draw(), 1e3);
  try {
    state.factories = await ask(to.factories);
    draw();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
  }
}
begin();
