/** Every text that the pages' scripts show, in one place. Sentences take their parts as arguments. */

import { t, tn } from "./translate.js";

export const W = {
  // Asking and not being answered
  noAnswer: t("The gateway does not answer. Perhaps your own connection is down."),
  streamLost: t("Live updates stopped for a moment."),
  signedOut: t("You are signed out. Reload the page to sign in again."),
  misread: t("The gateway gave an answer that this page does not understand."),
  status: (code) => ({
    403: t("You may not do this."),
    404: t("That is not there (any more)."),
    409: t("That is being changed by another window at this moment. Try again."),
    503: t("The gateway cannot reach the factories at this moment."),
  })[code] ?? t("The gateway answered with an error ({code}).", { code }),
  retrying: t("It is tried again by itself; you need not reload."),

  // Start: factories
  freeNow: t("Free now"),
  startsNow: t("now"),
  startsAbout: (when) => t("Starts about {when}", { when }),
  about: (when) => t("about {when}", { when }),
  startUnknown: t("Full now; start not known yet"),
  unknown: t("not known yet"),
  noTelling: "–",
  noSizes: t("Nothing to start here at this moment"),
  checking: t("Asking what is free…"),
  silent: (when) => (when ? t("Not answering, last seen {when}", { when }) : t("Not answering")),
  draining: t("Closed for new sessions"),
  earliest: t("Earliest start"),
  gpusFree: (free, total, unit) => tn(total, "{free} of {n} {unit} free", "{free} of {n} {unit}s free", { free, unit }),
  gpusEach: (n, unit) => tn(n, "{n} {unit} a node", "{n} {unit}s a node", { unit }),
  waitingJobs: (n) => tn(n, "{n} job waiting", "{n} jobs waiting"),
  noFactories: t("No factory is open to you at this moment."),
  listSilent: t("The list of factories does not come."),

  // Start: sizes, environments, hours
  shape: (cores, memory) => tn(cores, "{n} core · {memory} memory", "{n} cores · {memory} memory", { memory }),
  billed: (unit) => t("Billed {unit}", { unit }),
  upTo: (hours) => t("up to {hours}", { hours }),
  wholeNode: t("the whole node"),
  moreFit: (n) => tn(n, "{n} more fits now", "{n} more fit now"),
  noFitWhen: (when) => t("Full now; starts {when}", { when }),
  notForSize: (size) => t("Not made for {size}", { size }),
  endsAt: (when) => t("If it starts now, it ends at {when}.", { when }),
  endsLater: (start, end) => t("It would start about {start} and end about {end}.", { start, end }),
  hoursLimit: (limit) => t("At most {limit} in this size.", { limit }),
  hours: t("Hours"),
  hoursInSteps: t("Hours, in steps"),
  estimateChip: (hours, when) => t("{hours}: {when}", { hours, when }),
  asking: "…",

  // Start: summary. What stands between stars is set in bold.
  ask: (hours, size, machine) => t("You ask for *{size}* on *{machine}* *for {hours}*.", { hours, size, machine }),
  startLine: {
    now: t("It should start now."), unknown: t("It is full; the start is not known yet."), closed: "",
  },
  startsLine: (when) => t("It should start about {when}.", { when }),
  files: (machine, folder) =>
    t("Your files are on {machine}, in {folder}. Files on other factories are not there.", { machine, folder }),
  homeFolder: t("your home folder"),
  quota: (folder, quota) => t("{folder} (limit: {quota})", { folder, quota }),
  outbound: {
    compute: t("The session can reach the internet."),
    login: t("The session itself cannot reach the internet; downloads go through the login side."),
    none: t("The session cannot reach the internet."),
  },
  endsByItself: (unopened, idle) =>
    t("It ends by itself if nobody opens it within {unopened}, or after {idle} without work.", { unopened, idle }),
  givesUp: (hours) => t("If it has not started after {hours}, the wish is dropped.", { hours }),
  costs: (unit) => t("Billed {unit}.", { unit }),
  within: (low, high) => t("{low} to {high} minutes", { low, high }),
  nameBad: t("A name begins with a letter a–z, then letters, digits or dashes; 30 at most."),
  start: t("Start"),
  starting: t("Starting…"),
  cannotSilent: (machine) => t("{machine} does not answer at this moment. Wait, or pick another factory.", { machine }),
  cannotDrain: (machine) => t("{machine} takes no new sessions at this moment. Pick another factory.", { machine }),
  cannotEnvironment: t("No environment is made for this size. Pick another size."),
  fromLink: t("A link filled this in for you; check and press Start."),
  fromLinkUnknown: (pairs) => t("The link also asked for what is not here: {pairs}.", { pairs }),
  fromLinkPair: (field, value) => t("{field} “{value}”", { field, value }),
  fromAgain: t("Filled in as in your earlier session. Change what you like and press Start."),
  changed: (machine, what) => t("{machine}: {what}", { machine, what }),

  // Sessions
  state: {
    pending: t("In the queue"), starting: t("Starting"), running: t("Running"), ending: t("Ending"), ended: t("Ended"),
    unreachable: t("Out of reach"),
  },
  reason: {
    finished: t("Finished"), stopped: t("Stopped by you"), idle: t("Ended: idle"), unopened: t("Ended: never opened"),
    walltime: t("Time was up"), "out-of-memory": t("Out of memory"), "node-failed": t("The node failed"),
    preempted: t("Had to make room"), "cancelled-by-site": t("Cancelled by the site"), refused: t("Not accepted"),
    "gave-up": t("Waited too long"), "never-opened-door": t("Did not come up"), failed: t("Failed"),
  },
  whose: {
    you: t("Your move"), site: t("The site’s move"), operator: t("The gateway’s operators’ move"),
    wait: t("Nobody’s move: wait"),
  },
  server: (name) => name || t("Main session"),
  unreachableWhat: t("The factory does not answer; your session is not lost."),
  unreachableDo: t("It goes on there. This page shows it again as soon as the factory answers."),
  timeLeft: (left, at) => t("{left} left, ends {at}", { left, at }),
  idleEnds: (at) => t("ends {at} unless you go on", { at }),
  idleFor: (since) => t("idle for {since}", { since }),
  busy: t("in use"),
  neverOpened: t("not opened yet"),
  position: (n) => (n === 1 ? t("Next in line") : tn(n - 1, "{n} ahead of you", "{n} ahead of you")),
  expected: (when) => t("expected to start {when}", { when }),
  noPlan: t("The scheduler has no plan for it yet"),

  // Waiting
  title: {
    pending: (n) => (n ? t("#{n} in the queue", { n }) : t("In the queue")), starting: t("Starting…"),
    running: t("Ready"), ending: t("Ending…"), ended: t("Ended"), unreachable: t("Factory does not answer"),
    looking: t("Starting…"),
  },
  waitHead: {
    looking: t("Handing your request to the factory"),
    pending: (machine) => t("Waiting in the queue of {machine}", { machine }),
    starting: (machine) => t("Your session is starting on {machine}", { machine }),
    running: t("Your session is ready"),
    ending: t("Your session is ending"),
    unreachable: (machine) => t("{machine} does not answer", { machine }),
  },
  waitSub: {
    looking: t("This takes a second or two."),
    pending: t("It starts by itself as soon as what you asked for is free."),
    starting: t("The node is yours; Jupyter is coming up. This usually takes less than a minute."),
    running: t("Opening JupyterLab…"),
    unreachable:
      t("Your session is not lost: it goes on there, and this page shows it again as soon as the factory answers."),
    ending: t("It saves and closes."),
  },
  facts: {
    place: t("Place in line"), expected: t("Expected start"), waiting: t("Waiting for"), starting: t("Starting for"),
    asked: t("You asked for"), node: t("Node"), giveUp: t("Gives up"), job: t("Job"),
  },
  cancel: t("Cancel"),
  cancelling: t("Cancelling…"),
  stillThere: t("It has not stopped yet. Try once more."),
  notify: {
    ask: t("Tell me when it starts"), on: t("You will be told. Keep this tab open in the background."),
    denied: t("Your browser does not allow notifications from this page."),
    ready: t("Your session is ready"), failed: t("Your session did not start"),
  },
  openNow: t("Open it now"),
  startAgain: t("Start again"),
  toHome: t("Home"),
  cancelled: t("You cancelled it. Nothing runs."),
  cancelledDo: t("Nothing more is billed. You can start again whenever you like."),
  failedHead: t("Your session did not start"),
  endedHead: t("Your session has ended"),
  comingBack: t("Your session is alive; the gateway is finding its way back to it. This page goes on by itself."),
  schedulerSaid: t("What the scheduler said"),
  logTail: t("The last lines of the job’s log"),
  history: t("What happened"),

  // A session whose end is near
  soon: {
    walltime: (name, at) => t("{name} ends at {at}: its time is over then. Save your work.", { name, at }),
    idle: (name, at) => t("{name} is not in use and gives its node back at {at}.", { name, at }),
    unopened: (name, at) => t("Nobody has opened {name} yet. It gives its node back at {at}.", { name, at }),
  },
  soonTitle: t("A session ends soon"),
  tellEnd: t("Tell me before a session ends"),
  toldEnd: t("You will be told before a session ends, as long as this tab is open in the background."),

  // Logins of the person's own
  loginGood: (when) => t("Your login there is good until {when}.", { when }),
  loginSoon: (when) => t("Your login there ends {when}. Renew it before you start a session.", { when }),
  loginOver: (when) => (when
    ? t("Your login there ended {when}. What runs goes on; nothing new starts, and it cannot be reached anew.", { when })
    : t("The gateway has no login of yours there yet.")),
  loginToken: t("Get a token"),
  loginPaste: t("Paste it here:"),
  loginRenew: t("Renew"),
  loginAsking: t("Renewing…"),

  // Home
  more: t("More time…"),
  moreAsked: t("Asking for more time…"),
  moreMost: (hours) => t("This size allows {hours} more.", { hours }),
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
  endedAt: (when, ran) => (ran ? t("{when} · ran {ran}", { when, ran }) : when),
  limitReached: t("You have as many sessions as you may have. Stop one to start another."),
  homeSilent: t("The gateway’s view of the factories does not come; what is shown may be old."),
  hubOnly: t("Running; the gateway does not tell more at this moment"),
  named: (what, name) => t("{what}: {name}", { what, name }),
};
