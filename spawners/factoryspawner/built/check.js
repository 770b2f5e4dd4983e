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

// connection/catalogue.js
var read = (id) => readCatalogue(JSON.parse(document.getElementById(id)?.textContent ?? "null"));
if (typeof document !== "undefined") {
  const all = read("fg-texts");
  use({ ...all, texts: { ...all.texts, ...read("fg-check-texts").texts } });
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
  billed: (amount) => t("Costs {amount}", { amount }),
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
  partsOf: (n, amount, parts2) => tn(n, "{amount} GPU ({parts})", "{amount} GPUs ({parts})", { amount, parts: parts2 }),
  counted: (needs) => t("This gateway counts {needs} GPU-hours for this session.", { needs }),
  notCharged: t("Not charged: it never ran"),
  noGpuHours: t("No GPU-hours"),
  unit: {
    // that sites bill; {amount} is the number as it is shown
    GPU: (n, amount) => tn(n, "{amount} GPU", "{amount} GPUs", { amount }),
    "GPU-hour": (n, amount) => tn(n, "{amount} GPU-hour", "{amount} GPU-hours", { amount }),
    "GCD-hour": (n, amount) => tn(n, "{amount} GCD-hour", "{amount} GCD-hours", { amount }),
    "core-hour": (n, amount) => tn(n, "{amount} core-hour", "{amount} core-hours", { amount }),
    "node-hour": (n, amount) => tn(n, "{amount} node-hour", "{amount} node-hours", { amount })
  },
  perHour: (amount) => t("{amount} per hour", { amount }),
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
  charged: (amount) => t("Charged: {amount}", { amount }),
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
    liveFor: (span) => t("open for {span}", { span }),
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

// pages/api.js
var Trouble = class extends Error {
  constructor(status2, message, problem = {}) {
    super(message);
    this.status = status2;
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

// common/format.js
var MINUTE = 6e4;
var DAY = 24 * 60 * MINUTE;
function parts(ms, options, timeZone) {
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone }).format(ms);
}
var dayAndTime = (iso) => parts(Date.parse(iso), { dateStyle: "medium", timeStyle: "short" });

// connection/verdicts.js
var TESTS = (
  /** @type {const} */
  ["browser", "cookies", "trip", "download", "upload", "stream", "socket"]
);
var ECHOES = 3;
var EVENTS = 3;
var BUSY = 4429;
var SLOW_TRIP = 400;
var USELESS_DOWNLOAD = 0.3;
var SLOW_DOWNLOAD = 2;
var SLOW_UPLOAD = 0.2;
var HELD_BACK = 300;
var median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
var megabits = ({ bytes, ms }) => Number((bytes * 8 / 1e3 / Math.max(ms, 1)).toPrecision(2));
var good = (code, values = {}) => ({ verdict: "good", code, values });
var limited = (code, values = {}) => ({ verdict: "limited", code, values });
var bad = (code, values = {}) => ({ verdict: "bad", code, values });
var UNKNOWN = { verdict: "unknown", code: "not-tested", values: {} };
var JUDGES = {
  /** `missing`: names of what JupyterLab needs and the browser lacks; `storage`: it may store data of a page */
  browser({ missing, storage }) {
    if (missing.length) return bad("browser-old", { missing });
    return storage ? good("browser-fits") : limited("no-storage");
  },
  /** `kept`: the browser sent the page's cookie; null: no answer said so */
  cookies({ kept }) {
    if (kept === null) return UNKNOWN;
    return kept ? good("cookies-kept") : bad("cookies-lost");
  },
  /** `times`: ms of each answer; `failed`: the number of requests without an answer */
  trip({ times, failed }) {
    if (!times.length) return bad("no-answer");
    const ms = Math.round(median(times));
    if (failed) return limited("answers-lost", { failed, all: failed + times.length });
    return ms > SLOW_TRIP ? limited("answers-slow", { ms }) : good("answers", { ms });
  },
  /** `bytes` that arrived in `ms` */
  download({ bytes, ms }) {
    if (!bytes) return bad("download-blocked");
    const speed2 = megabits({ bytes, ms });
    if (speed2 < USELESS_DOWNLOAD) return bad("download-useless", { speed: speed2 });
    return speed2 < SLOW_DOWNLOAD ? limited("download-slow", { speed: speed2 }) : good("download", { speed: speed2 });
  },
  /** `bytes` that the gateway took in `ms` */
  upload({ bytes, ms }) {
    if (!bytes) return bad("upload-blocked");
    const speed2 = megabits({ bytes, ms });
    return speed2 < SLOW_UPLOAD ? limited("upload-slow", { speed: speed2 }) : good("upload", { speed: speed2 });
  },
  /** `arrivals`: when each event arrived, in ms */
  stream({ arrivals }) {
    if (!arrivals.length) return limited("stream-blocked");
    if (arrivals.length < EVENTS) return limited("stream-cut");
    return arrivals[EVENTS - 1] - arrivals[0] < HELD_BACK ? limited("stream-held") : good("stream");
  },
  /** `opened`: the connection was accepted; `echoes`: ms of each answer; `closed`: the code with which it was closed */
  socket({ opened, echoes, closed }) {
    if (closed === BUSY) return UNKNOWN;
    if (!opened) return bad("socket-blocked");
    if (echoes.length < ECHOES) return bad("socket-silent");
    return good("socket", { ms: Math.round(median(echoes)) });
  }
};
function judge(test, facts) {
  const { verdict, code, values } = facts === null || facts.busy ? UNKNOWN : JUDGES[test](facts);
  return { test, verdict: (
    /** @type {Verdict} */
    verdict
  ), code, values };
}
function overall(results) {
  const found = new Set(results.map((one) => one.verdict));
  return (
    /** @type {const} */
    ["bad", "unknown", "limited"].find((one) => found.has(one)) ?? "good"
  );
}

// connection/measure.js
var TRIPS = 5;
var PATIENCE = 8e3;
var UPLOAD_BYTES = 256 * 1024;
var RANDOM_BYTES = 65536;
var BUSY_TRIES = 3;
var BUSY_MS = 2e4;
var NEEDED = {
  "custom elements": () => "customElements" in window && "attachShadow" in Element.prototype,
  "ResizeObserver": () => "ResizeObserver" in window,
  "IntersectionObserver": () => "IntersectionObserver" in window,
  "IndexedDB": () => "indexedDB" in window,
  "WebSocket": () => "WebSocket" in window,
  "CSS.grid": () => CSS.supports("display", "grid"),
  "String.replaceAll": () => "replaceAll" in String.prototype,
  "Promise.allSettled": () => "allSettled" in Promise
};
var pause = (ms) => new Promise((done) => setTimeout(done, ms));
var isThere = (feature) => {
  try {
    return feature();
  } catch {
    return false;
  }
};
function stores() {
  const key = "fg-check";
  localStorage.setItem(key, "1");
  localStorage.removeItem(key);
  return true;
}
async function get(url, patience, more = {}) {
  for (let tries = 1; ; tries += 1) {
    const began = performance.now();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), patience);
    const response = await fetch(url, {
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      signal: stop.signal,
      ...more
    });
    if (response.status !== 429 || tries === BUSY_TRIES) return { response, began };
    const seconds = Number(response.headers.get("Retry-After")) || 3;
    await pause(Math.min(BUSY_MS, 1e3 * seconds));
  }
}
async function read2(response, hear) {
  const reader = response.body.getReader();
  try {
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      hear(value);
    }
  } catch {
  }
}
var orNothing = (work, nothing) => work.catch(() => nothing);
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
  await read2(response, (piece) => {
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
    await read2(response, (piece) => {
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
    function send2() {
      sent = performance.now();
      connection.send(String(facts.echoes.length + 1));
    }
    connection.onopen = () => {
      facts.opened = true;
      send2();
    };
    connection.onmessage = (message) => {
      if (message.data !== String(facts.echoes.length + 1)) return;
      facts.echoes.push(performance.now() - sent);
      if (facts.echoes.length === ECHOES) end();
      else send2();
    };
    connection.onclose = (event) => {
      facts.closed = event.code;
      end();
    };
  });
}
async function measure(base, begin, hear) {
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

// connection/words.js
var speed = (n) => new Intl.NumberFormat(locale(), { maximumSignificantDigits: 2 }).format(n);
var TEST = {
  browser: t("Your browser"),
  cookies: t("Cookies"),
  trip: t("Answers of the gateway"),
  download: t("Download"),
  upload: t("Upload"),
  stream: t("Live updates"),
  socket: t("WebSocket, the connection to a notebook")
};
var VERDICT = {
  good: t("Works"),
  limited: t("Works with limits"),
  bad: t("Does not work"),
  unknown: t("Could not be tested")
};
var SUMMARY = {
  good: [t("You can take part from here"), t("Everything that the class needs works with this browser in this network.")],
  limited: [
    t("You can take part from here, with limits"),
    t("The class will work. Below you read what will be slower or less comfortable, and what helps.")
  ],
  bad: [
    t("You cannot take part from here yet"),
    t("Below you read what does not work, and what you or your IT department can do. Another browser or another network, such as a phone’s hotspot, often works at once.")
  ],
  unknown: [
    t("Not everything could be tested"),
    t("Many people are testing at the moment, or the gateway was busy. Check again in a few minutes.")
  ]
};
var ANOTHER_NETWORK = t("Try another network, such as a phone’s hotspot, and tell your IT department what is written below.");
var ANOTHER_BROWSER = t("Update your browser, or use a current Firefox, Chrome, Edge or Safari.");
var STREAM_MEANS = t("The gateway’s pages ask for news every few seconds instead. Notebooks are not affected.");
var NOTHING_TO_DO = t("You need not do anything.");
var NO_CELL = t("JupyterLab opens, and you can read and save files, but no cell runs: there is no other way to a notebook’s kernel.");
var PIECE_BY_PIECE = ({ host, port, scheme }) => t(
  "Pass on answers of the type text/event-stream from {scheme}://{host}:{port} piece by piece: no buffering, no virus scan of the whole answer.",
  { host, port, scheme }
);
var REACH = (gateway2) => t("Allow {scheme} to {host}, port {port}, without a login at the proxy.", gateway2);
var RESULT = {
  "not-tested": { what: () => t("This test could not be done: the gateway was too busy, or no answer arrived."), help: t("Check again in a few minutes.") },
  "browser-fits": { what: () => t("It has what JupyterLab needs.") },
  "browser-old": {
    what: ({ missing }) => t("It lacks what JupyterLab needs: {missing}.", { missing: missing.join(", ") }),
    means: t("JupyterLab will not open, or parts of it will not work."),
    help: ANOTHER_BROWSER,
    staff: () => t("JupyterLab 4 needs a browser that is not older than about two years.")
  },
  "no-storage": {
    what: () => t("It does not let pages store data."),
    means: t("JupyterLab may forget how you arranged it, and some of its parts may not work."),
    help: t("Do not use a private window, and allow this site to store data in the browser’s settings.")
  },
  "cookies-kept": { what: () => t("They come back to the gateway.") },
  "cookies-lost": {
    what: () => t("The browser did not send back the cookie of this page."),
    means: t("You cannot sign in."),
    help: t("Allow cookies for this site in the browser’s settings, and switch off add-ons that remove them."),
    staff: ({ host }) => t("Do not remove the headers Cookie and Set-Cookie from requests to {host} and their answers.", { host })
  },
  "answers": { what: ({ ms }) => tn(ms, "An answer takes {n} ms.", "An answer takes {n} ms.") },
  "answers-slow": {
    what: ({ ms }) => tn(ms, "An answer takes {n} ms, which is slow.", "An answer takes {n} ms, which is slow."),
    means: t("What you type and click in JupyterLab has its effect late."),
    help: t("Come nearer to your wireless network’s station, use a cable, or switch off a VPN that you do not need.")
  },
  "answers-lost": {
    what: ({ failed, all }) => tn(failed, "{n} of {all} requests got no answer.", "{n} of {all} requests got no answer.", { all }),
    means: t("JupyterLab will lose its connection now and then. It connects again by itself."),
    help: t("Come nearer to your wireless network’s station, use a cable, or try another network.")
  },
  "no-answer": {
    what: () => t("The gateway’s answers do not arrive."),
    means: t("You cannot take part from this network."),
    help: ANOTHER_NETWORK,
    staff: REACH
  },
  "download": { what: (values) => t("{speed} Mbit/s", { speed: speed(values.speed) }) },
  "download-slow": {
    what: (values) => t("{speed} Mbit/s, which is slow.", { speed: speed(values.speed) }),
    means: t("JupyterLab takes up to a minute until it opens for the first time. Then your browser keeps its files."),
    help: t("Open JupyterLab some minutes before the class, and end other downloads and video calls.")
  },
  "download-useless": {
    what: (values) => t("{speed} Mbit/s, which is too slow.", { speed: speed(values.speed) }),
    means: t("JupyterLab takes several minutes until it opens, or does not open."),
    help: ANOTHER_NETWORK,
    staff: REACH
  },
  "download-blocked": {
    what: () => t("Nothing arrived."),
    means: t("JupyterLab will not open."),
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) => t("Let answers from {scheme}://{host}:{port} through that have several megabytes and the type application/octet-stream.", { host, port, scheme })
  },
  "upload": { what: (values) => t("{speed} Mbit/s", { speed: speed(values.speed) }) },
  "upload-slow": {
    what: (values) => t("{speed} Mbit/s, which is slow.", { speed: speed(values.speed) }),
    means: t("Saving a large notebook and uploading files take long."),
    help: t("End other uploads and video calls, or use another network.")
  },
  "upload-blocked": {
    what: () => t("The gateway did not get what the browser sent."),
    means: t("You cannot save notebooks and upload files."),
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) => t("Let requests of the methods POST, PUT and PATCH with a body through to {scheme}://{host}:{port}.", { host, port, scheme })
  },
  "stream": { what: () => t("They arrive at once.") },
  "stream-held": {
    what: () => t("Something between you and the gateway, such as a proxy or a virus scanner, holds them back until they are complete."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: PIECE_BY_PIECE
  },
  "stream-cut": {
    what: () => t("They break off."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: ({ host, port, scheme }) => t("Do not end answers of the type text/event-stream from {scheme}://{host}:{port} while they are open; they may last for hours.", { host, port, scheme })
  },
  "stream-blocked": {
    what: () => t("They do not arrive."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: PIECE_BY_PIECE
  },
  "socket": { what: ({ ms }) => tn(ms, "A message and its answer take {n} ms.", "A message and its answer take {n} ms.") },
  "socket-blocked": {
    what: () => t("The connection does not open, most likely because of a proxy or firewall in this network."),
    means: NO_CELL,
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme, base }) => t("Allow WebSockets to {scheme}://{host}:{port}: pass on requests with “Connection: Upgrade” and “Upgrade: websocket” (RFC 6455) to paths below {base}, and keep the connections open for hours. If the proxy cannot do this, exempt {host} from it.", {
      host,
      port,
      base,
      scheme: scheme === "https" ? "wss" : "ws"
    })
  },
  "socket-silent": {
    what: () => t("The connection opens, but messages do not get through."),
    means: NO_CELL,
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) => t("Let WebSocket messages pass in both directions on {scheme}://{host}:{port}; do not inspect or delay them.", {
      host,
      port,
      scheme: scheme === "https" ? "wss" : "ws"
    })
  }
};
var W2 = {
  testing: (test) => t("Testing: {test}", { test }),
  testingHead: t("Testing…"),
  waits: t("Not tested yet"),
  means: t("What this means:"),
  help: t("What you can do:"),
  staff: t("For your IT department:"),
  line: (name, verdict) => t("{what}: {name}", { what: name, name: verdict }),
  sending: t("Sending…"),
  sent: t("Sent."),
  copied: t("Copied."),
  selected: t("Selected: press Ctrl+C to copy it."),
  reportHead: (host, when) => t("Connection check of {host}, {when}", { host, when }),
  result: (head) => t("Result: {head}", { head })
};

// connection/report.js
function explained({ code, values }, gateway2) {
  const { what, means = "", help = "", staff } = RESULT[code];
  return { what: what(values), means, help, staff: staff?.(gateway2) ?? "" };
}
function report(results, gateway2, when) {
  const lines = [W2.reportHead(gateway2.host, when), W2.result(SUMMARY[overall(results)][0])];
  for (const one of results) {
    const { what, means, staff } = explained(one, gateway2);
    lines.push("", W2.line(TEST[one.test], VERDICT[one.verdict]), what);
    if (means) lines.push(`${W2.means} ${means}`);
    if (staff) lines.push(`${W2.staff} ${staff}`);
  }
  return `${lines.join("\n")}
`;
}
function gatewayOf({ protocol, hostname, port }, base) {
  const scheme = protocol.replace(":", "");
  return { host: hostname, port: port || (scheme === "https" ? "443" : "80"), scheme, base };
}

// connection/check.js
var DOTS = { good: "free", limited: "wait", bad: "bad", unknown: "down" };
var NOTICES = { good: "", limited: " fg-notice-warn", bad: " fg-notice-bad", unknown: " fg-notice-warn" };
var page = settings("fg-connection");
var gateway = gatewayOf(location, page.base.replace(/hub\/$/, ""));
var state = { results: [], now: null, ended: null };
var status = (dot, words) => h(
  "span",
  { class: `fg-status fg-status-${dot}` },
  h("span", { class: "fg-dot", "aria-hidden": "true" }),
  words
);
var labelled = (label, text) => text ? h("p", {}, h("strong", {}, label), " ", text) : null;
function card(test) {
  const result = state.results.find((one) => one.test === test);
  const name = h("h2", {}, TEST[test]);
  if (!result) {
    const words = state.now === test ? W2.testingHead : W2.waits;
    return h("li", { key: test, class: "fg-test" }, h("header", {}, name, status("down", words)));
  }
  const { what, means, help, staff } = explained(result, gateway);
  return h(
    "li",
    { key: test, class: "fg-test", "data-verdict": result.verdict, "data-code": result.code },
    h("header", {}, name, status(DOTS[result.verdict], VERDICT[result.verdict])),
    h("p", {}, what),
    labelled(W2.means, means),
    labelled(W2.help, help),
    labelled(W2.staff, staff)
  );
}
function draw() {
  render(byId("fg-tests"), TESTS.map(card));
  const done = state.ended !== null;
  byId("fg-after").hidden = !done;
  if (!done) {
    render(byId("fg-summary"), h("p", { class: "fg-notice" }, state.now ? W2.testing(TEST[state.now]) : W2.testingHead));
    return;
  }
  const verdict = overall(state.results);
  const [head, text] = SUMMARY[verdict];
  render(
    byId("fg-summary"),
    h("div", { class: `fg-notice${NOTICES[verdict]}`, "data-verdict": verdict }, h("p", {}, h("strong", {}, head)), h("p", {}, text))
  );
}
async function run() {
  Object.assign(state, { results: [], now: null, ended: null });
  byId("fg-copied").textContent = "";
  byId("fg-report").hidden = true;
  const sent = byId("fg-sent");
  if (sent) sent.textContent = "";
  await measure(`${page.base}check/`, (test) => {
    state.now = test;
    draw();
  }, (test, facts) => {
    const result = judge(test, facts);
    state.results.push(result);
    announce(W2.line(TEST[test], VERDICT[result.verdict]));
    draw();
  });
  state.ended = /* @__PURE__ */ new Date();
  draw();
}
async function copy() {
  const text = report(state.results, gateway, dayAndTime((state.ended ?? /* @__PURE__ */ new Date()).toISOString()));
  const shown2 = byId("fg-report");
  shown2.textContent = text;
  shown2.hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    byId("fg-copied").textContent = W2.copied;
  } catch {
    getSelection()?.selectAllChildren(shown2);
    byId("fg-copied").textContent = W2.selected;
  }
}
async function send(event) {
  event.preventDefault();
  const tests = Object.fromEntries(state.results.map((one) => [one.test, one.verdict]));
  byId("fg-sent").textContent = W2.sending;
  try {
    await ask(byId("fg-send").dataset.url, { method: "POST", body: { workshop: byId("fg-workshop").value, tests } });
    byId("fg-sent").textContent = W2.sent;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    byId("fg-sent").textContent = error.message;
  }
}
byId("fg-send")?.addEventListener("submit", send);
byId("fg-check-again").addEventListener("click", run);
byId("fg-copy").addEventListener("click", copy);
run();
