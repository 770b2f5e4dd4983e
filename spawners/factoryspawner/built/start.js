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
  const whole = Object.entries(texts2).filter(([, text]) => [text].flat().every((form2) => typeof form2 === "string"));
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
  const form2 = Number(catalogue.plural[whole < 100 ? whole : 100 + whole % 100]);
  const text = (Array.isArray(forms) ? forms[form2] : void 0) ?? (n === 1 ? one : many);
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
  let place2 = parent.firstChild;
  for (const fresh of [...holder.childNodes]) {
    const key2 = isElement(fresh) ? fresh.dataset.key : void 0;
    let old = key2 === void 0 ? place2 : keyed.get(key2);
    if (key2 === void 0) {
      while (isElement(old) && old.dataset.key !== void 0) old = old.nextSibling;
    }
    if (old && sameKind(old, fresh)) {
      if (old === place2) place2 = old.nextSibling;
      else parent.insertBefore(old, place2);
      morph(old, fresh);
    } else {
      parent.insertBefore(fresh, place2);
    }
  }
  while (place2) {
    const next = place2.nextSibling;
    parent.removeChild(place2);
    place2 = next;
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
  const place2 = byId("fg-slow");
  if (!place2) return;
  render(place2, slow.size ? h("div", { class: "container fg-page" }, h(
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
  let timer2 = null;
  let silence = null;
  let tries = 0;
  let fruitless = 0;
  let streamAt = heldUntil();
  let stopped = false;
  let round = 0;
  function close() {
    round += 1;
    clearTimeout(timer2);
    clearTimeout(silence);
    stream?.close();
    stream = null;
  }
  function later(error) {
    if (stopped) return;
    close();
    onTrouble?.(error);
    timer2 = setTimeout(open, backoff(tries));
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
      if (mine === round) timer2 = setTimeout(open, POLL);
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
var NAME_PATTERN = /^[a-z][a-z0-9-]{0,29}$/;
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
var findEnvironment = (factory, id) => factory?.environments.find((one) => one.id === id) ?? null;
var fits = (view, environment) => view.offer.environments.includes(environment);
function mostHours(view, limit) {
  return Math.max(view.offer.hours.least, Math.min(view.size.max_hours, limit ?? Infinity));
}
function ladder(maxHours) {
  return [...LADDER.filter((step) => step < maxHours), maxHours];
}
function rungs(maxHours, chosen) {
  const offered = RUNGS.filter((step) => step <= maxHours).slice(0, 2);
  return [.../* @__PURE__ */ new Set([...offered, chosen])].sort((a, b) => a - b);
}
function nearest(steps, hours) {
  let best = 0;
  steps.forEach((step, index) => {
    if (Math.abs(step - hours) < Math.abs(steps[best] - hours)) best = index;
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
  const preset2 = offer.project_in[wanted.reservation] ?? (factory.project_needed === false ? null : offer.project);
  const project = !factory.projects?.length || projects?.includes(wanted.project) ? wanted.project ?? null : preset2;
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
function fromQuery(search) {
  const found = {};
  for (const [key2, value] of new URLSearchParams(search)) {
    if (key2.startsWith("opt-") && key2.length > 4) found[key2.slice(4)] = value;
  }
  return Object.keys(found).length ? found : null;
}
function unknownIn(wanted, factories) {
  const factory = findFactory(factories, wanted.factory);
  if (!factory) return wanted.factory ? [["factory", wanted.factory]] : [];
  const unknown = [];
  if (wanted.size && !findSize(factory, wanted.size)) unknown.push(["size", wanted.size]);
  if (wanted.environment && !findEnvironment(factory, wanted.environment)) {
    unknown.push(["environment", wanted.environment]);
  }
  return unknown;
}
function preset(factories, sources) {
  for (const from of ["posted", "link", "again", "last"]) {
    const wanted = from === "last" && sources.last ? { ...sources.last, url_tokens: false } : sources[from];
    if (!wanted) continue;
    const factory2 = wanted.factory ? findFactory(factories, wanted.factory) : usual(factories);
    if (factory2?.sizes.length) return { choice: settle(wanted, factory2), from };
  }
  const factory = usual(factories);
  return { choice: factory ? settle({}, factory) : null, from: "default" };
}
function usual(factories) {
  const able = factories.filter((factory) => factory.sizes.length);
  const well = able.filter((one) => one.health.state === "ok");
  const soonest = findFactory(able, earliest(able, Date.now()));
  return soonest ?? well.find((one) => !one.rules_open) ?? well[0] ?? able.find(takesRequests) ?? able[0] ?? null;
}

// common/cost.js
var HOUR = 36e5;
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
function payer(factory, choice, projects) {
  return payers(factory, findSize(factory, choice.size), projects)?.find((one) => one.id && one.id === choice.project) ?? null;
}
function tooMuch(factory, choice, projects, now) {
  if (!factory || !choice) return null;
  if (payers(factory, findSize(factory, choice.size), projects)?.length === 0) return W.noPayer;
  const project = payer(factory, choice, projects);
  if (!project) return null;
  const { hours } = choice;
  if (project.max_hours && hours > project.max_hours) return W.projectHours(project.id, number(project.max_hours));
  const ends = toMs(project.ends);
  if (ends !== null && now + hours * HOUR > ends) {
    return W.projectEnds(project.id, clock(ends, now), number(Math.max(0, Math.floor((ends - now) / HOUR * 100) / 100)));
  }
  const view = findSize(factory, choice.size);
  const needs = view.price.counted * hours;
  if (project.left === null || needs <= project.left) return null;
  return W.overBudget(
    project.id,
    project.left,
    number(project.left),
    number(needs),
    number(Math.floor(project.left / view.price.counted * 100) / 100)
  );
}
function standingLine(project, now) {
  const until = project.ends ? W.projectUntil(clock(project.ends, now)) : "";
  const left = project.left === null || project.granted === null ? "" : W.projectLeft(project.granted, number(project.left), number(project.granted));
  return [left, until].filter(Boolean).join(" ");
}
function countedLine(factory, choice, project) {
  const view = findSize(factory, choice.size);
  const { counted: counted2, gpu_hours: charged } = view.price;
  if (project.left === null || counted2 === charged) return "";
  return W.counted(number(counted2 * choice.hours));
}
function costLines(factory, choice, projects, now) {
  const cost = costLine(factory, findSize(factory, choice.size), choice.hours);
  const project = payer(factory, choice, projects);
  return [
    cost ? h("p", { key: "costs" }, cost) : null,
    project ? h(
      "p",
      { key: "payer" },
      h("strong", {}, W.paidBy(project.id)),
      ` ${[standingLine(project, now), countedLine(factory, choice, project)].filter(Boolean).join(" ")}`
    ) : null
  ];
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
function barred(obstacle2, state2, now) {
  const factory = state2.choice && findFactory(state2.factories, state2.choice.factory);
  return obstacle2 ?? tooMuch(factory, state2.choice, state2.projects, now);
}

// pages/ready.js
function nothingBox(ready) {
  const words = ready?.nothing;
  return words ? h("p", { class: "fg-notice fg-notice-warn", key: "nothing" }, words.what, " ", words.do) : null;
}
function obstacleBox(text, factory, base) {
  const next = encodeURIComponent(location.pathname);
  const way = factory?.rules_open?.what === text ? [" ", h("a", { href: `${base}checklist?next=${next}` }, W.toChecklist)] : null;
  return h("p", { class: "fg-notice fg-notice-warn" }, text, way);
}
function readyList(ready, base) {
  return ready.accounts.map(({ project, machine, account }, index) => h(
    "li",
    { key: `ready-${index}` },
    h("a", { href: `${base}project/${encodeURIComponent(project)}` }, W.projectAt(project, machine)),
    h("span", { class: "fg-card-line" }, W.account[account])
  ));
}
var lacks = (ready) => ready.accounts.some((one) => one.account === "missing");

// pages/notify.js
var mayTell = () => "Notification" in window && Notification.permission === "granted";
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
function ending(sessions) {
  const near = sessions.filter((one) => one.notice && one.state === "running");
  return near.sort((a, b) => Date.parse(a.notice.at) - Date.parse(b.notice.at));
}
function soonText(session, now) {
  return W.soon[session.notice.kind](W.server(session.server), clock(session.notice.at, now));
}
function newly(sessions, told) {
  return ending(sessions).filter((one) => {
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
  return ending(sessions).map((one) => h(
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
      say(sessions, told, Date.now());
      draw2();
    }
  });
}

// common/windows.js
var HOUR2 = 36e5;
var SLACK = 3e5;
function hoursBefore(view, now) {
  const begins = toMs(view.fits_until);
  const hours = begins === null ? null : Math.floor((begins - SLACK - now) / HOUR2 * 60) / 60;
  return hours !== null && hours >= view.offer.hours.least ? Math.min(hours, view.size.max_hours) : null;
}
var runsMaintenance = (factory, view, now) => (factory.maintenance ?? []).find((one) => one.closes.includes(view.size.partition) && msOf(one.start) <= now && now < msOf(one.end)) ?? null;
function together(load) {
  if (!load || load.gpus_free <= (load.node_gpus_free ?? load.gpus_free)) return null;
  return t("at most {n} on one node", { n: load.node_gpus_free });
}
function windows(factory, choice, now, on) {
  return [...maintenance(factory, choice, now, on), outOfUse(factory, choice, now), reservations(factory, choice, now)];
}
function delays(factory, choice, now, on) {
  const begins = toMs(findSize(factory, choice.size).fits_until);
  const waits = begins !== null && now + choice.hours * HOUR2 > begins;
  return waits ? maintenance(factory, choice, now, on, begins) : [];
}
function outOfUse(factory, choice, now) {
  const load = loadOf(factory, findSize(factory, choice.size));
  return load?.nodes_out ? h(
    "p",
    { key: "out-of-use", class: "fg-quiet" },
    tn(
      load.nodes_out,
      "{n} node of partition {partition} is out of service since {when}.",
      "{n} nodes of partition {partition} are out of service since {when}.",
      { partition: load.name, when: clock(toMs(load.out_since), now) }
    )
  ) : null;
}
function maintenance(factory, choice, now, on, only = (
  /** @type {number | null} */
  null
)) {
  const view = findSize(factory, choice.size);
  const begins = toMs(view.fits_until);
  const found = (factory.maintenance ?? []).filter((one) => only === null || one.closes.includes(view.size.partition) && msOf(one.start) === only);
  return found.map((one) => {
    const [start, end] = [msOf(one.start), msOf(one.end)];
    const times = { start: clock(start, now), end: clock(end, now) };
    const ours = one.closes.includes(view.size.partition) && start === begins;
    const key2 = `maintenance-${one.name}-${start}`;
    if (!ours) {
      return h("p", { key: key2, class: "fg-quiet" }, one.nodes ? tn(one.nodes, "Maintenance of {n} node: {start} to {end}.", "Maintenance of {n} nodes: {start} to {end}.", times) : t("Maintenance: {start} to {end}.", times));
    }
    if (start <= now) {
      return h(
        "p",
        { key: key2, class: "fg-notice fg-notice-warn" },
        t("This part of the factory is under maintenance since {start}, until {end}. Your session starts after it.", times)
      );
    }
    if (now + choice.hours * HOUR2 <= start) {
      return h("p", { key: key2, class: "fg-notice" }, t("Maintenance from {start} to {end}: a session that starts now ends before it.", times));
    }
    const hours = hoursBefore(view, now);
    return h(
      "p",
      { key: key2, class: "fg-notice fg-notice-warn" },
      t("Maintenance from {start} to {end}: with so many hours your session starts only after it.", times),
      hours === null ? null : h("button", {
        type: "button",
        class: "fg-chip",
        id: only === null ? "fg-shorten" : "fg-shorten-delay",
        onclick: () => on({ hours })
      }, t("Shorten to fit: until {time}", { time: clock(now + hours * HOUR2, now) }))
    );
  });
}
function reservations(factory, choice, now) {
  if (!factory.reservations?.length) return null;
  const option = (value, text, disabled = false) => h("option", { value, disabled, selected: (choice.reservation ?? "") === value }, text);
  const offer = (one) => {
    const told = { name: one.name, end: clock(toMs(one.end), now), projects: one.projects?.join(", ") };
    return isIn(choice.project, one) ? option(one.id, t("{name}, until {end}", told)) : option(one.id, t("{name}, until {end}: only for {projects}", told), true);
  };
  const shut = factory.reservations.every((one) => !isIn(choice.project, one));
  return h(
    "div",
    { key: "reservation", class: "fg-reservation" },
    h("label", { for: "reservation" }, t("Reservation")),
    h(
      "select",
      {
        id: "reservation",
        name: "reservation",
        class: "form-select",
        "aria-describedby": shut ? "reservation-hint" : null
      },
      option("", t("Without a reservation")),
      factory.reservations.map(offer)
    ),
    shut ? h("p", { class: "form-text", id: "reservation-hint", key: "hint" }, choice.project ? t("{project} is in none of these reservations.", { project: choice.project }) : t("None of your projects is in one of these reservations.")) : null
  );
}

// common/start_view.js
var HOUR3 = 36e5;
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
  const { state: state2, answered_at: answered, words } = factory.health;
  if (state2 === "unreachable") return status("down", W.silent(clock(answered, now)));
  if (state2 === "draining") return status("down", words?.what || W.draining);
  if (state2 === "starting") return status("wait", W.checking);
  if (factory.rules_open) return status("wait", W.rulesOpen);
  const view = cardSize(factory);
  const maintenance2 = view && runsMaintenance(factory, view, now);
  return maintenance2 ? status("wait", W.inMaintenance(clock(maintenance2.end, now))) : null;
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
function comingList(factories) {
  return factories.map(({ id, name, site, coming }) => h(
    "li",
    { key: id },
    `${name} · ${site.city}, ${country(site.country)}`,
    coming?.machine ? h("span", { class: "fg-quiet" }, ` · ${coming.machine}`) : null
  ));
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
  const begin2 = start.at ?? now;
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
      start.now || !start.known ? W.endsAt(clock(begin2 + choice.hours * HOUR3, now)) : W.endsLater(clock(begin2, now), clock(begin2 + choice.hours * HOUR3, now)),
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
function place({ path, quota }) {
  const name = path === "~" || path === "~/" ? W.homeFolder : path;
  return quota ? W.quota(name, quota) : name;
}
var bold = (text) => text.split("*").map((part, index) => index % 2 ? h("strong", {}, part) : part);
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
var hints = (factory) => (factory.hints ?? []).map((hint) => hint[locale().split("-")[0]]).filter(Boolean);
function whoSees(factory, choice, accounts) {
  const mine = accounts?.find((one) => one.factory === factory.id && one.project === choice.project);
  return W.whoSees[mine?.account] ?? null;
}
function summary(factory, choice, estimate, now, costs = [], accounts = null) {
  const view = findSize(factory, choice.size);
  const environment = findEnvironment(factory, choice.environment);
  const line = (key2, ...children) => h("p", { key: key2 }, children);
  const asked2 = [
    line(
      "ask",
      ...bold(askLine(factory, view, choice.hours)),
      ` ${startLine(factory, choice, estimate, now)}`
    ),
    environment ? line(
      "environment",
      h("strong", {}, environment.title),
      environment.gpu_stack ? ` · ${environment.gpu_stack}` : null
    ) : null,
    ...costs
  ];
  const mind = [
    line("idle", W.stopsUnused(hoursText(choice.idle_minutes / 60))),
    ["none", "login"].includes(factory.outbound) ? line("offline", W.offline) : null
  ];
  const seen = whoSees(factory, choice, accounts);
  const happens = [
    line("files", W.files(factory.site.machine, place(factory.folder))),
    seen ? line("seen", seen) : null,
    W.outbound[factory.outbound] ? line("outbound", W.outbound[factory.outbound]) : null,
    line("use", W.countsAsUse),
    line("unopened", W.stopsUnopened(hoursText(choice.unopened_minutes / 60))),
    choice.give_up_hours ? line("give-up", W.givesUp(hoursText(choice.give_up_hours))) : null,
    ...hints(factory).map((hint, index) => h("p", { key: `hint-${index}`, class: "fg-quiet" }, hint))
  ];
  return { asked: asked2, mind, happens };
}

// pages/start.js
var page = settings("fg-start");
var to = addresses(page.base, page.user, page.userUrl);
var form = byId("spawn_form");
var FRESH = 3e4;
var DEBOUNCE = 300;
var PROJECTS_WAIT = 1e3;
var MINUTES = ["idle_minutes", "unopened_minutes"];
var POSTED = "fg-posted";
var state = { factories: null, projects: null, ready: null, choice: null, from: null, sources: null, trouble: null, posting: false };
var estimates = /* @__PURE__ */ new Map();
var asked = null;
var timer = 0;
var projectsAt = 0;
var key = (hours) => `${state.choice.factory}/${state.choice.size}/${hours}/${state.choice.project}`;
var estimateOf = (hours) => estimates.get(key(hours))?.value;
async function quiet(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Trouble) return null;
    throw error;
  }
}
async function gatherSources() {
  const again = new URLSearchParams(location.hash.slice(1)).get("again");
  const [last, session] = await Promise.all([
    quiet(ask(to.choice)),
    again ? quiet(ask(to.session(again))) : null
  ]);
  const kept = page.refused ? sessionStorage.getItem(POSTED) : null;
  sessionStorage.removeItem(POSTED);
  return { posted: kept ? JSON.parse(kept) : null, link: fromQuery(location.search), again: session?.choice, last };
}
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
  if (document.visibilityState !== "hidden" && Date.now() - projectsAt > FRESH - 1e3) {
    projectsAt = Date.now();
    askProjects();
  }
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  if (!factory || factory.health.state !== "ok" || document.visibilityState === "hidden") return;
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const hours = [...form.querySelectorAll("[data-hours]")].map((chip2) => Number(chip2.dataset.hours));
  await Promise.all(hours.map(async (each) => {
    const name = key(each);
    if (Date.now() - (estimates.get(name)?.at ?? 0) < FRESH - 1e3) return;
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
    notices.push(h(
      "p",
      { key: "trouble", class: "fg-notice fg-notice-warn", role: "status" },
      `${silent}${troubleText(state.trouble)}`
    ));
  }
  render(byId("fg-notices"), notices);
}
function drawButton(factory) {
  const button = byId("fg-start-button");
  const blocked = barred(obstacle(factory, state.choice), state, Date.now());
  button.setAttribute("aria-disabled", String(Boolean(blocked) || state.posting));
  button.textContent = state.posting ? W.starting : W.start;
  render(byId("fg-obstacle"), blocked && state.factories ? obstacleBox(blocked, factory, page.base) : []);
}
function draw() {
  drawNotice();
  const now = Date.now();
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  form.dataset.ready = String(Boolean(factory));
  drawButton(factory);
  if (!state.factories) return;
  byId("fg-empty").hidden = Boolean(factory);
  byId("fg-choose").hidden = !factory;
  render(byId("fg-nothing"), nothingBox(state.ready));
  if (!factory) return;
  const { choice } = state;
  render(byId("fg-factories"), factoryCards(state.factories, choice, now));
  render(byId("fg-sizes"), sizeCards(factory, choice, now));
  render(byId("fg-environments"), environmentCards(factory, choice));
  render(byId("fg-hours"), [
    ...hoursPicker(
      factory,
      choice,
      estimateOf,
      now,
      (hours) => choose({ hours }),
      payer(factory, choice, state.projects)?.max_hours
    ),
    ...windows(factory, choice, now, choose)
  ]);
  render(byId("fg-delays"), isFolded() ? delays(factory, choice, now, choose) : []);
  const told = summary(
    factory,
    choice,
    estimateOf(choice.hours),
    now,
    costLines(factory, choice, state.projects, now),
    state.ready?.accounts ?? null
  );
  render(byId("fg-asked"), told.asked);
  render(byId("fg-mind"), told.mind);
  render(byId("fg-happens"), told.happens);
  byId("fg-aside-head").textContent = heading();
  render(byId("fg-project"), projectPicker(factory, choice, state.projects));
  byId("fg-short").textContent = startLine(factory, choice, estimateOf(choice.hours), now);
  for (const name of MINUTES) {
    const input = form.elements[name];
    const { least, most } = factory.bounds[name];
    input.max = most;
    byId(`${name}-hint`).textContent = W.within(least, most);
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
  if (!factory?.sizes.length) {
    const first = preset(factories, state.sources);
    state.choice = first.choice && withAllowedHours(findFactory(factories, first.choice.factory), first.choice);
    state.from = choice ? "default" : first.from;
  } else if (!findSize(factory, choice.size) || !findEnvironment(factory, choice.environment)) {
    state.choice = settle(choice, factory);
  }
  if (before && factory && findSize(before, choice.size)?.fits_now !== findSize(factory, choice.size)?.fits_now) {
    estimates.clear();
    askEstimates();
  }
  draw();
  if (before && factory) {
    const estimate = estimateOf(state.choice.hours);
    announce(obstacle(factory, state.choice) ?? W.changed(factory.site.machine, startLine(factory, state.choice, estimate, Date.now())));
  } else if (state.choice) askEstimates();
}
var isFolded = () => !byId("fg-choose").open;
function heading() {
  if (!isFolded() || state.changed) return W.youAsk;
  return state.from === "last" ? W.lastTime : W.suggestion;
}
function fold() {
  const folded = isFolded();
  form.classList.toggle("fg-folded", folded);
  if (folded) form.prepend(byId("fg-aside"));
  else form.append(byId("fg-aside"));
  byId("fg-what").open = !folded;
  byId("fg-aside-head").textContent = heading();
}
function unfoldIfAsked() {
  const again = new URLSearchParams(location.hash.slice(1)).has("again");
  const plain = page.folded && !page.refused && !again && !fromQuery(location.search) && !nameFromAddress();
  byId("fg-choose").open = !plain;
  byId("fg-choose").classList.toggle("fg-bare", !plain);
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
byId("session-name").addEventListener("change", (event) => {
  const name = event.target.value.trim();
  const good = name === "" || NAME_PATTERN.test(name);
  event.target.setAttribute("aria-invalid", String(!good));
  byId("session-name-hint").textContent = good ? page.nameHint : W.nameBad;
  if (good) setAction(name);
});
form.addEventListener("submit", (event) => {
  const name = byId("session-name");
  const factory = state.choice && findFactory(state.factories, state.choice.factory);
  if (state.posting || barred(obstacle(factory, state.choice), state, Date.now())) {
    event.preventDefault();
    return;
  }
  if (name.getAttribute("aria-invalid") === "true") {
    event.preventDefault();
    byId("fg-more").open = true;
    name.focus();
    return;
  }
  state.posting = true;
  sessionStorage.setItem(POSTED, JSON.stringify(state.choice));
  if (form.elements.give_up_hours.value === "") form.elements.give_up_hours.disabled = true;
  drawButton(factory);
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  state.posting = false;
  form.elements.give_up_hours.disabled = false;
  draw();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") askEstimates();
});
function nameFromAddress() {
  const here = decodeURIComponent(location.pathname);
  const mine = decodeURIComponent(to.spawn(""));
  return here.startsWith(`${mine}/`) ? here.slice(mine.length + 1).replace(/\/$/, "") : "";
}
async function nameComing() {
  const coming = await quiet(ask(to.coming));
  byId("fg-coming").hidden = !coming?.length;
  if (coming?.length) render(byId("fg-coming-list"), comingList(coming));
}
async function askProjects() {
  const first = state.ready === null;
  [state.projects, state.ready] = await Promise.all([quiet(ask(to.projects)), quiet(ask(to.ready))]);
  const { ready } = state;
  byId("fg-ready").hidden = !ready?.accounts.length;
  if (ready?.accounts.length) {
    render(byId("fg-ready-list"), readyList(ready, page.base));
    if (first && !isFolded()) byId("fg-ready").open = lacks(ready);
  }
  if (first && state.choice) choose({});
  else if (state.factories) draw();
}
function begin() {
  projectsAt = Date.now();
  const projects = Promise.race([askProjects(), new Promise((done) => {
    setTimeout(done, PROJECTS_WAIT);
  })]);
  const first = Promise.all([gatherSources(), projects]);
  follow({
    url: to.factories,
    events: to.factoriesEvents,
    event: "factories",
    onData: async (factories) => {
      state.sources ??= (await first)[0];
      hear(factories);
    },
    onTrouble: (trouble) => {
      state.trouble = trouble;
      draw();
    }
  });
}
var bar = (
  /** @type {HTMLElement} */
  document.querySelector(".fg-go")
);
new ResizeObserver(() => document.documentElement.style.setProperty("--fg-go-height", `${bar.offsetHeight}px`)).observe(bar, { box: "border-box" });
byId("session-name").value = nameFromAddress();
unfoldIfAsked();
byId("fg-choose").addEventListener("toggle", () => {
  fold();
  draw();
});
begin();
nameComing();
watch(to);
