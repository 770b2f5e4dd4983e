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
    ownHead: (standing2) => t("The cluster’s Dask scheduler runs in a job of its own: {standing}", { standing: standing2 }),
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
    for (const [address2, hear2] of Object.entries(polled)) {
      const data = await ask(address2).catch(() => void 0);
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
  window.addEventListener("pageshow", (shown3) => shown3.persisted && wake());
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

// common/format.js
var MINUTE = 6e4;
var DAY = 24 * 60 * MINUTE;
function toMs(moment) {
  if (moment === null || moment === void 0 || moment === "") return null;
  const ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isFinite(ms) ? ms : null;
}
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
var percent = (value) => new Intl.NumberFormat(locale(), { style: "percent" }).format(value / 100);
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
function secondsBetween(from, to) {
  const a = toMs(from);
  const b = toMs(to);
  return a === null || b === null ? null : (b - a) / 1e3;
}

// pages/workshops/room_view.js
var QUIET = 15e3;
var ACTIVE = 120;
var R = {
  ready: (ready, taken) => tn(taken, "{ready} of {n} ready", "{ready} of {n} ready", { ready: number(ready) }),
  taken: (taken, total) => tn(total, "{taken} of {n} seat taken", "{taken} of {n} seats taken", { taken: number(taken) }),
  seat: (n) => t("Seat {n}", { n: number(n) }),
  free: t("Free"),
  none: t("Not started"),
  isReady: t("Ready"),
  expected: (when) => t("expected {when}", { when }),
  position: (n) => t("number {n} in the queue", { n: number(n) }),
  until: (when) => t("until {when}", { when }),
  active: t("active"),
  busy: t("computing"),
  idle: (since) => t("idle for {since}", { since }),
  gpu: (use2) => t("GPU {use}", { use: use2 }),
  stop: t("Stop"),
  stopSeat: (n) => t("Stop the session on seat {n}", { n: number(n) }),
  handUp: t("Hand up"),
  look: (file) => t("See {file}", { file }),
  asked: t("Asked…"),
  start: t("Start"),
  startSeat: (n) => t("Start a session on seat {n}", { n: number(n) }),
  restart: t("Restart"),
  restartSeat: (n) => t("Restart the session on seat {n}", { n: number(n) }),
  reset: t("Reset"),
  resetSeat: (n) => t("Reset seat {n}", { n: number(n) }),
  stopLost: t("What runs there ends, and everything in memory is lost. Saved files stay. The person may start a new session while the workshop is open."),
  restartLost: t("What runs there ends, and everything in memory is lost. Saved files stay. A new session is then asked for, which may have to wait."),
  resetLost: t("What runs there ends, and everything in memory is lost. In a new session the person finds the material as it was given out; the person’s own files of the class stay, in a folder with today’s date."),
  stopIt: t("Stop it"),
  restartIt: t("Restart it"),
  resetIt: t("Reset it"),
  step: (done, of) => t("{done} of {of} steps done", { done: number(done), of: number(of) }),
  stepHead: (n) => t("Step {n}", { n: number(n) }),
  stepDone: (done, of) => tn(of, "{done} of {n} person", "{done} of {n} people", { done: number(done) }),
  told: (n, what) => t("Seat {n}: {what}", { n: number(n), what }),
  actEnds: t("The old session ends…"),
  actStarts: t("A new session is asked for…"),
  actDelivers: t("The new session gets the material as soon as it is open…"),
  actFailed: (why) => t("Not done: {why}", { why }),
  allReady: t("Everybody who has a seat is ready."),
  nobody: t("Nobody has a seat."),
  silent: t("The room cannot be read just now, so this may be old. Sessions go on."),
  sent: (told2, people) => tn(
    people,
    "Sent. {told} of {n} person has it; the others get it when their session starts.",
    "Sent. {told} of {n} people have it; the others get it when their session starts.",
    { told: number(told2) }
  ),
  sentAt: (when, by) => t("{when}, {by}", { when, by }),
  toldTo: (n) => tn(n, "{n} person has it", "{n} people have it"),
  noMessages: t("None yet."),
  halted: (failed, of) => t("Halted: {failed} of {of} seats failed, so no others are begun.", { failed: number(failed), of: number(of) }),
  goOn: t("Go on")
};
var MARKS = {
  ready: "✓",
  running: "◐",
  starting: "◐",
  pending: "◷",
  ending: "◌",
  ended: "■",
  unreachable: "!",
  none: "–",
  free: ""
};
function merged(room, change) {
  const head = change.head ?? room;
  if (head === null) return null;
  const seats = new Map((room?.seats ?? []).map((seat) => [seat.seat, seat]));
  for (const seat of change.seats) seats.set(seat.seat, seat);
  const left = [...seats.values()].filter((seat) => seat.seat <= head.total).sort((a, b) => a.seat - b.seat);
  return { ...head, seats: left };
}
function standing(seat) {
  if (!seat.taken) return "free";
  if (seat.state === null) return "none";
  if (seat.stopping && seat.state !== "ended") return "ending";
  return seat.ready ? "ready" : seat.state;
}
function standingWords(state2) {
  const words = { ...stateWords(), running: stateWords().starting, ready: R.isReady, none: R.none, free: R.free };
  return words[state2] ?? state2;
}
function shown2(seats, filter2) {
  if (filter2 === "all") return seats;
  return seats.filter((seat) => seat.taken && (filter2 === "taken" || !seat.ready));
}
function announcer() {
  let last = "";
  let at = -Infinity;
  return (room, now) => {
    const text = room.taken > 0 && room.ready === room.taken ? R.allReady : R.ready(room.ready, room.taken);
    if (text === last || text !== R.allReady && now - at < QUIET) return null;
    const first = at === -Infinity;
    last = text;
    at = now;
    return first ? null : text;
  };
}
function activity(seat, now) {
  if (!seat.ready) return "";
  const idle = secondsBetween(seat.last_activity, now);
  const use2 = seat.gpu_percent === null ? "" : R.gpu(percent(seat.gpu_percent));
  const does = seat.busy ? R.busy : idle === null ? "" : idle < ACTIVE ? R.active : R.idle(span(idle, "short"));
  return [does, use2].filter(Boolean).join(" · ");
}
function line(seat, now) {
  const state2 = standing(seat);
  const why = seat.words ? `${seat.words.what} ${seat.words.do ?? ""}`.trim() : "";
  if (state2 === "pending") {
    const when = seat.expected_start ? R.expected(clock(seat.expected_start, now)) : "";
    const place = seat.position ? R.position(seat.position) : "";
    return [when, place, why].filter(Boolean).join(" · ");
  }
  if (state2 === "ready") return [activity(seat, now), seat.ends ? R.until(clock(seat.ends, now)) : ""].filter(Boolean).join(" · ");
  return why;
}
var RUNS = ["pending", "starting", "running", "ready", "unreachable"];
function acts(seat, may) {
  if (!seat.taken) return [];
  const runs = RUNS.includes(standing(seat));
  const going = Boolean(seat.act) && seat.act.state !== "failed";
  const found = [];
  if (may.start && !going && !runs) found.push("start");
  if (may.stop && (runs || going)) found.push("stop");
  if (may.start && !going && runs) found.push("restart");
  if (may.start && !going) found.push("reset");
  return found;
}
function question(n, act) {
  const asked = {
    stop: { head: `${R.stopSeat(n)}?`, lost: R.stopLost, go: R.stopIt },
    restart: { head: `${R.restartSeat(n)}?`, lost: R.restartLost, go: R.restartIt },
    reset: { head: `${R.resetSeat(n)}?`, lost: R.resetLost, go: R.resetIt }
  };
  return asked[act];
}
function told(n, act) {
  return R.told(n, act === "start" ? R.actStarts : R.asked);
}
function progress(seat) {
  if (!seat.act) return "";
  if (seat.act.state === "failed") return R.actFailed(seat.act.why?.text ?? "");
  const words = { stopping: R.actEnds, starting: R.actStarts, delivering: R.actDelivers };
  return words[seat.act.state] ?? "";
}
function actButton(seat, act, asked, on) {
  const words = {
    start: [R.start, R.startSeat],
    stop: [R.stop, R.stopSeat],
    restart: [R.restart, R.restartSeat],
    reset: [R.reset, R.resetSeat]
  };
  const [text, label] = words[act];
  return h("button", {
    type: "button",
    class: "btn btn-sm btn-outline-contrast",
    key: `${act}-${seat.seat}`,
    onclick: () => on.act(seat, act),
    "aria-disabled": String(asked),
    "aria-label": label(seat.seat)
  }, text);
}
function stepName(step, index) {
  const notebook = step.notebook.replace(/\.ipynb$/, "");
  return `${R.stepHead(index + 1)}: ${step.name || notebook}`;
}
function stepItems(room) {
  return room.steps.map((step, index) => h(
    "li",
    { key: String(index) },
    h("span", { class: "fg-step-name", id: `fg-step-${index}` }, stepName(step, index)),
    h("progress", { class: "fg-step-bar", value: String(step.done), max: String(Math.max(1, room.taken)), "aria-labelledby": `fg-step-${index}` }),
    h("span", { class: "fg-quiet" }, R.stepDone(step.done, room.taken))
  ));
}
function stepLine(seat, steps) {
  if (!steps.length || seat.step === null || seat.step === void 0) return "";
  const last = seat.step_last === null || seat.step_last === void 0 ? void 0 : steps[seat.step_last];
  return [R.step(seat.step, steps.length), last?.name].filter(Boolean).join(" · ");
}
function seatItem(seat, { names: names2, factories: factories2, may, busy, on, now, address: address2, steps = [] }) {
  const state2 = standing(seat);
  const who = names2 ? seat.name || seat.person || "" : "";
  const said = line(seat, now);
  const asked = busy.has(seat.seat);
  const doing = progress(seat);
  const at = names2 ? stepLine(seat, steps) : "";
  const buttons = acts(seat, may).map((act) => actButton(seat, act, asked, on));
  return h(
    "li",
    { class: "fg-seat", key: String(seat.seat), "data-state": state2 },
    h(
      "p",
      { class: "fg-seat-head" },
      h("span", { class: "fg-seat-number" }, R.seat(seat.seat)),
      who ? h("strong", { class: "fg-seat-who" }, who) : null
    ),
    h(
      "p",
      { class: "fg-seat-state" },
      h("span", { class: "fg-seat-mark", "aria-hidden": "true" }, MARKS[state2]),
      standingWords(state2),
      seat.factory && state2 !== "ended" ? h("span", { class: "fg-quiet" }, ` · ${factories2[seat.factory] ?? seat.factory}`) : null
    ),
    said ? h("p", { class: "fg-seat-line" }, said) : null,
    at ? h("p", { class: "fg-seat-line" }, at) : null,
    seat.hand ? h("p", { class: "fg-seat-line" }, h("span", { "aria-hidden": "true" }, "⚑ "), R.handUp) : null,
    names2 && seat.look && !seat.hand ? h("p", {}, h("a", {
      href: `${address2}/seats/${seat.seat}/look`,
      target: "_blank",
      rel: "noopener"
    }, R.look(seat.look.file))) : null,
    doing ? h("p", { class: "fg-seat-line" }, doing) : null,
    buttons.length ? h("p", { class: "fg-seat-acts" }, buttons) : null,
    asked ? h("p", { class: "fg-quiet" }, R.asked) : null
  );
}
function messageItems(messages, now) {
  return messages.map((one) => h(
    "li",
    { key: one.id },
    h("p", {}, one.text),
    h("p", { class: "fg-quiet" }, `${R.sentAt(clock(one.at, now), one.by)} · ${R.toldTo(one.received)}`)
  ));
}

// pages/workshops/hands_view.js
var H = {
  upSeats: (seats) => t("Hand up: seat {seats}", { seats }),
  since: (since) => t("for {since}", { since }),
  comes: (helper) => t("{helper} comes", { helper }),
  somebody: t("somebody comes"),
  show: t("What was sent"),
  showSeat: (n) => t("What the person on seat {n} sent", { n: number(n) }),
  come: t("I come"),
  comeSeat: (n) => t("I come to seat {n}", { n: number(n) }),
  done: t("Done"),
  doneSeat: (n) => t("Lower the hand of seat {n}", { n: number(n) }),
  askLook: t("Ask to see the notebook"),
  askLookSeat: (n) => t("Ask the person on seat {n} to let helpers see the notebook", { n: number(n) }),
  asked: (helper) => t("{helper} asks to see the notebook", { helper }),
  reading: t("Reading what was sent…")
};
function hands(seats) {
  const order = (seat) => [seat.hand.place === 0 ? 1 : 0, Date.parse(seat.hand.since), seat.seat];
  return seats.filter((seat) => seat.hand).sort((a, b) => {
    const [left, right] = [order(a), order(b)];
    const differs = left.findIndex((value, index) => value !== right[index]);
    return differs < 0 ? 0 : left[differs] - right[differs];
  });
}
function newHands(before, seats) {
  if (before === null) return null;
  const known = new Set(before.filter((seat) => seat.hand).map((seat) => seat.seat));
  const fresh = hands(seats).filter((seat) => !known.has(seat.seat)).map((seat) => number(seat.seat));
  return fresh.length ? H.upSeats(fresh.join(", ")) : null;
}
var spoken = (text, label) => label.startsWith(text) ? label : `${text}. ${label}`;
function handItem(seat, { names: names2, mayHelp, busy, on, now, address: address2 }) {
  const { hand, look, seat: n } = seat;
  const waits = secondsBetween(hand.since, now);
  const who = names2 ? seat.name || seat.person || "" : "";
  const comes = hand.place > 0 ? "" : names2 && hand.by ? H.comes(hand.by) : H.somebody;
  const state2 = [R.handUp, waits === null ? "" : H.since(span(waits, "short")), comes].filter(Boolean).join(" · ");
  const press = (what, text, label) => h("button", {
    type: "button",
    class: "btn btn-sm btn-outline-contrast",
    key: `${what}-${n}`,
    onclick: () => on.act(seat, what),
    "aria-disabled": String(busy.has(n)),
    "aria-label": spoken(text, label)
  }, text);
  const acts2 = names2 && mayHelp;
  return h(
    "li",
    { class: "fg-hand", key: String(n), "data-comes": String(hand.place === 0) },
    h(
      "p",
      { class: "fg-seat-head" },
      h("span", { class: "fg-seat-mark", "aria-hidden": "true" }, "⚑"),
      h("span", { class: "fg-seat-number" }, R.seat(n)),
      who ? h("strong", {}, who) : null,
      h("span", {}, state2)
    ),
    names2 && hand.question ? h("p", { class: "fg-hand-question" }, hand.question) : null,
    names2 && hand.asked_by && !look ? h("p", { class: "fg-quiet" }, H.asked(hand.asked_by)) : null,
    acts2 ? h(
      "p",
      { class: "fg-hand-acts" },
      hand.has.length ? h("button", {
        type: "button",
        class: "btn btn-sm btn-outline-contrast",
        key: `show-${n}`,
        onclick: () => on.show(seat),
        "aria-label": spoken(H.show, H.showSeat(n))
      }, H.show) : null,
      hand.place > 0 ? press("come", H.come, H.comeSeat(n)) : null,
      press("done", H.done, H.doneSeat(n)),
      look ? h("a", {
        class: "btn btn-sm btn-outline-contrast",
        key: `look-${n}`,
        href: `${address2}/seats/${n}/look`,
        target: "_blank",
        rel: "noopener"
      }, R.look(look.file)) : hand.asked_by ? null : press("ask-look", H.askLook, H.askLookSeat(n))
    ) : null
  );
}

// pages/workshops/hands.js
function handsPart(address2) {
  let last = null;
  const busy = /* @__PURE__ */ new Set();
  let redraw = () => {
  };
  async function act(seat, what) {
    if (busy.has(seat.seat)) return;
    busy.add(seat.seat);
    redraw();
    try {
      await ask(`${address2}/seats/${seat.seat}/${what}`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      render(byId("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, `${R.seat(seat.seat)}: ${error.message}`));
    } finally {
      busy.delete(seat.seat);
      redraw();
    }
  }
  async function show(seat) {
    setText(byId("fg-hand-head"), R.seat(seat.seat));
    render(byId("fg-hand-sent"), h("p", {}, H.reading));
    byId("fg-hand").showModal();
    try {
      const sent = await ask(`${address2}/seats/${seat.seat}/hand`);
      render(
        byId("fg-hand-sent"),
        sent.question ? h("p", {}, sent.question) : null,
        sent.file ? h("p", { class: "fg-quiet" }, sent.file) : null,
        ...[sent.source, sent.error].filter(Boolean).map((text) => h("pre", { class: "fg-sent", tabindex: "0" }, text))
      );
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      render(byId("fg-hand-sent"), h("p", { class: "fg-notice fg-notice-bad" }, error.message));
    }
  }
  return (room, names2, now) => {
    redraw = () => {
      const raised = hands(room.seats);
      const options = { names: names2, mayHelp: room.may.includes("help"), busy, on: { act, show }, now, address: address2 };
      byId("fg-hands-part").hidden = raised.length === 0;
      render(byId("fg-hands"), raised.map((seat) => handItem(seat, options)));
    };
    redraw();
    const text = newHands(last, room.seats);
    last = room.seats;
    if (text) announce(text);
  };
}

// pages/workshops/room.js
var page = settings("fg-room");
var factories = JSON.parse(page.factories);
var address = `${page.base}workshops/${page.slug}/room`;
var PATIENCE = 15e3;
var REDRAWN = 3e4;
var state = { room: null, trouble: null, busy: /* @__PURE__ */ new Set(), asked: null, goingOn: false };
var heard = announcer();
var drawHands = handsPart(address);
var names = () => byId("fg-names").checked;
var filter = () => (
  /** @type {HTMLInputElement} */
  document.querySelector("input[name=shown]:checked").value
);
var troubleOf = (trouble) => trouble.status === 401 ? trouble.message : `${R.silent} ${troubleText(trouble)}`;
function draw() {
  const { room } = state;
  const now = Date.now();
  const trouble = state.trouble ? troubleOf(state.trouble) : room?.trouble?.text;
  render(byId("fg-trouble"), trouble ? h("p", { class: "fg-notice fg-notice-warn" }, trouble) : null);
  if (room === null) return;
  drawHalt(room);
  setText(byId("fg-ready"), R.ready(room.ready, room.taken));
  setText(byId("fg-taken"), R.taken(room.taken, room.total));
  byId("fg-bar").value = room.ready;
  byId("fg-bar").max = Math.max(1, room.taken);
  byId("fg-names-part").hidden = !room.names;
  const may = { stop: room.may.includes("stop-seat"), start: room.may.includes("start-seat") };
  const options = {
    names: room.names && names(),
    factories,
    may,
    busy: state.busy,
    on: { act: askAct },
    now,
    address,
    steps: room.steps
  };
  const seats = shown2(room.seats, filter());
  const nothing = room.taken === 0 ? R.nobody : seats.length ? "" : R.allReady;
  render(byId("fg-seats"), seats.map((seat) => seatItem(seat, options)));
  render(byId("fg-nothing"), nothing ? h("p", {}, nothing) : null);
  drawHands(room, options.names, now);
  byId("fg-steps-part").hidden = room.steps.length === 0;
  render(byId("fg-steps"), stepItems(room));
  byId("fg-message-form").hidden = !room.may.includes("broadcast");
  render(byId("fg-messages"), room.messages.length ? messageItems(room.messages, now) : h("li", { key: "none" }, R.noMessages));
  const text = heard(room, now);
  if (text !== null) announce(text);
}
function drawHalt(room) {
  const { halted } = room;
  const words = halted ? [R.halted(halted.failed, halted.of), halted.why?.what, halted.why?.do].filter(Boolean).join(" ") : "";
  const button = halted && room.may.includes("go-on") ? h("button", {
    type: "button",
    class: "btn fg-primary",
    key: "go-on",
    "aria-disabled": String(state.goingOn),
    onclick: goOn
  }, R.goOn) : null;
  render(byId("fg-halted"), halted ? h("div", { class: "fg-notice fg-notice-bad", key: "halted" }, h("p", {}, words), button) : null);
}
async function goOn() {
  if (state.goingOn) return;
  state.goingOn = true;
  draw();
  try {
    await ask(`${address}/go-on`, { method: "POST" });
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(byId("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, error.message));
  }
  state.goingOn = false;
  draw();
}
function hear(change) {
  state.room = merged(state.room, change);
  state.trouble = null;
  draw();
}
function askAct(seat, act) {
  if (state.busy.has(seat.seat)) return;
  if (act === "start") {
    send(seat.seat, act);
    return;
  }
  const { head, lost, go } = question(seat.seat, act);
  state.asked = { seat: seat.seat, act };
  setText(byId("fg-stop-head"), head);
  setText(byId("fg-stop-lost"), lost);
  setText(byId("fg-stop-go"), go);
  byId("fg-stop").showModal();
}
async function send(seat, act) {
  state.busy.add(seat);
  render(byId("fg-said"), null);
  draw();
  try {
    await ask(`${address}/seats/${seat}/${act}`, { method: "POST" });
    announce(told(seat, act));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(byId("fg-said"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, `${R.seat(seat)}: ${error.message}`));
    state.busy.delete(seat);
    draw();
    return;
  }
  setTimeout(() => {
    state.busy.delete(seat);
    draw();
  }, PATIENCE);
}
byId("fg-stop").addEventListener("close", () => {
  const dialog = byId("fg-stop");
  if (dialog.returnValue === "go") send(state.asked.seat, state.asked.act);
  dialog.returnValue = "";
});
var messageId = crypto.randomUUID?.() ?? String(Date.now());
byId("fg-message-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = (
    /** @type {HTMLFormElement} */
    event.currentTarget
  );
  const button = byId("fg-send");
  if (button.getAttribute("aria-disabled") === "true") return;
  const fields = new FormData(form);
  const texts2 = [...fields].filter(([name, text]) => name.startsWith("text-") && String(text).trim()).map(([name, text]) => [name.slice("text-".length), String(text).trim()]);
  const body = {
    id: messageId,
    text: String(fields.get("text")).trim(),
    texts: Object.fromEntries(texts2),
    kind: fields.has("stays") ? "warning" : "info"
  };
  button.setAttribute("aria-disabled", "true");
  try {
    const sent = await ask(`${address}/messages`, { method: "POST", body });
    messageId = crypto.randomUUID?.() ?? String(Date.now());
    form.reset();
    render(byId("fg-sent"), h("p", { class: "fg-notice" }, R.sent(sent.received, sent.people)));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(byId("fg-sent"), h("p", { class: "fg-notice fg-notice-bad" }, error.message));
  } finally {
    button.setAttribute("aria-disabled", "false");
  }
});
for (const input of document.querySelectorAll("input[name=shown], #fg-names")) input.addEventListener("change", draw);
setInterval(draw, REDRAWN);
follow({
  url: `${address}/seats`,
  events: `${address}/events`,
  event: "room",
  onData: (room) => hear({ head: room, seats: room.seats }),
  also: { change: hear },
  onTrouble: (trouble) => {
    state.trouble = trouble;
    draw();
  }
});
