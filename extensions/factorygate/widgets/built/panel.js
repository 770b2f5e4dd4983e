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
  const told = document.body.dataset.jpThemeLight;
  return told === void 0 ? window.matchMedia(DARK).matches : told === "false";
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
function gigabytes(gb) {
  return gb >= 1e3 ? amount(gb / 1e3, "terabyte", "short") : amount(gb, "gigabyte", "short");
}

// common/state_words.js
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

// widgets/panel_state.js
var NOTHING = { order: [], rows: {}, filter: "all", first: 0, total: 0 };
function merged(shown2, told) {
  const order = told.order ?? shown2.order;
  const all = { ...told.whole ? {} : shown2.rows, ...told.rows };
  const rows = Object.fromEntries(order.filter((name) => all[name]).map((name) => [name, all[name]]));
  const { filter, first, total } = told.order ? told : shown2;
  return { order: order.filter((name) => rows[name]), rows, filter, first, total };
}
function figures(summary) {
  const { counts, cap } = summary;
  const spent = number(summary.spent, 2);
  const memory = gigabytes(Math.round(summary.memory / 1e8) / 10);
  const rows = [
    ["running", number(counts.running, 0), false],
    ["waiting", number(counts.waiting, 0), false],
    ["lost", number(summary.lost, 0), summary.lost > 0],
    ["failed", number(summary.failed, 0), summary.failed > 0],
    ["workers", summary.workers ? V.workersOf(number(summary.workers, 0), summary.threads, memory) : "0", false],
    ["spent", cap === null ? spent : V.ofCap(spent, number(cap, 2)), cap !== null && summary.spent >= cap],
    ["committed", number(summary.committed, 2), false],
    ["rate", number(summary.per_hour, 2), false]
  ];
  return rows.map(([name, text, bad]) => ({ name, label: V.figures[name], text, bad }));
}
function jobsOf(text, most) {
  const value = Number(text);
  return text.trim() !== "" && Number.isInteger(value) && value >= 0 && value <= most ? value : null;
}
function pages({ first, total, order }) {
  return {
    from: total ? first + 1 : 0,
    to: first + order.length,
    total,
    earlier: first > 0 ? Math.max(0, first - 50) : null,
    later: first + order.length < total ? first + order.length : null
  };
}

// widgets/panel_view.js
var KIND = {
  asked: "wait",
  pending: "wait",
  running: "free",
  ending: "wait",
  lost: "bad",
  failed: "bad",
  ended: "down",
  unreachable: "down",
  starting: "wait",
  closing: "wait",
  closed: "down"
};
function status(state, words) {
  return h(
    "span",
    { class: `fg-status fg-status-${KIND[state]}` },
    h("span", { class: "fg-dot", "aria-hidden": "true" }),
    words
  );
}
function head(summary) {
  return [
    h(
      "div",
      { key: "title", class: "fg-head-line" },
      h("strong", { class: "fg-name" }, V.panel(summary.name)),
      status(summary.status, V.status[summary.status]),
      summary.dashboard ? h("a", { href: summary.dashboard, target: "_blank", rel: "noopener noreferrer" }, V.dashboard) : null
    ),
    h("p", { key: "where", class: "fg-quiet" }, V.where(summary.factory, summary.size)),
    h("dl", { key: "figures", class: "fg-figures" }, figures(summary).map(({ name, label, text, bad }) => h("div", { key: name }, h("dt", {}, label), h("dd", { class: bad ? "fg-bad" : null, "data-figure": name }, text)))),
    summary.message ? h("p", { key: "message", class: "fg-notice fg-notice-warn", role: "status" }, summary.message) : null
  ];
}
function filters(summary, current, on) {
  return Object.entries(V.filter).map(([name, words]) => h("button", {
    key: name,
    type: "button",
    class: `fg-chip${name === current ? " fg-chip-on" : ""}`,
    "aria-pressed": String(name === current),
    "data-filter": name,
    onclick: () => on(name)
  }, words(summary.counts[name])));
}
function facts(row, now) {
  return [
    row.job && V.job(row.job),
    row.node,
    row.workers && V.jobWorkers(row.workers),
    row.position && V.place(row.position),
    row.expected_start && V.expected(clock(row.expected_start, now)),
    row.ends && V.ends(clock(row.ends, now))
  ].filter(Boolean).join(" · ");
}
function job(name, row, now, onLog) {
  return h(
    "li",
    { key: name, class: "fg-job" },
    h(
      "div",
      { class: "fg-job-line" },
      status(row.state, V.state[row.state]),
      h("strong", {}, name),
      h("span", { class: "fg-quiet" }, facts(row, now))
    ),
    row.why || row.do ? h("p", {}, [row.why, row.do].filter(Boolean).join(" ")) : null,
    row.has_log ? h(
      "details",
      { ontoggle: (event) => onLog(name, event.target.open) },
      h("summary", {}, V.log),
      h(
        "pre",
        { class: "fg-log", tabindex: "0", role: "region", "aria-label": V.logOf(name) },
        row.log ? row.log.join("\n") : V.fetching
      )
    ) : null
  );
}
function jobs(shown2, now, onLog) {
  return shown2.order.map((name) => job(name, shown2.rows[name], now, onLog));
}
function pager(shown2, on) {
  const { from, to, total, earlier, later } = pages(shown2);
  if (total === 0) return h("p", { key: "none", class: "fg-quiet" }, V.noJobs);
  if (earlier === null && later === null) return [];
  const button = (key, words, first) => h("button", {
    key,
    type: "button",
    class: "fg-button",
    disabled: first === null,
    onclick: () => on(first)
  }, words);
  return [
    button("earlier", V.earlier, earlier),
    h("span", { key: "where", role: "status" }, V.shown(from, to, total)),
    button("later", V.later, later)
  ];
}

// widgets/panel.js
var FLOWING = ["spent", "committed", "rate"];
var RESTS = 600;
function field(id, label, attributes) {
  const input = h("input", { type: "number", min: 0, step: 1, id, class: "form-control", inputmode: "numeric", ...attributes });
  return { input, whole: h("span", { class: "fg-field" }, h("label", { for: id }, label), input) };
}
function control(send) {
  const slider = h("input", { type: "range", min: 0, step: 1, class: "form-range", "aria-label": V.wantedInSteps });
  const wanted = field("wanted", V.wanted, { "aria-describedby": "per-job" });
  const least = field("least", V.minimum);
  const most = field("most", V.maximum);
  const adaptive = h("input", { type: "checkbox", role: "switch", id: "adaptive" });
  const perJob = h("span", { class: "fg-quiet", id: "per-job" });
  const element = h(
    "fieldset",
    { class: "fg-step" },
    h("legend", {}, V.control),
    h("div", { class: "fg-hours" }, slider, wanted.whole, perJob),
    h(
      "div",
      { class: "fg-adaptive" },
      h("span", { class: "fg-field" }, adaptive, h("label", { for: "adaptive" }, V.adaptive)),
      least.whole,
      most.whole
    )
  );
  let resting = null;
  let maximum = 0;
  function set(input, value, force) {
    if (force || input !== input.getRootNode().activeElement) input.value = value;
  }
  function scale(text, rests) {
    clearTimeout(resting);
    const number2 = jobsOf(text, maximum);
    wanted.input.setAttribute("aria-invalid", String(number2 === null));
    if (number2 === null) return;
    slider.value = String(number2);
    wanted.input.value = String(number2);
    slider.setAttribute("aria-valuetext", V.jobs(number2));
    resting = setTimeout(() => {
      resting = null;
      send({ op: "scale", jobs: number2 });
    }, rests);
  }
  function adapt() {
    const minimum = jobsOf(least.input.value, maximum);
    const bound = jobsOf(most.input.value, maximum);
    least.input.setAttribute("aria-invalid", String(minimum === null));
    most.input.setAttribute("aria-invalid", String(bound === null));
    if (minimum !== null && bound !== null) send({ op: "adapt", minimum, maximum: bound });
  }
  slider.addEventListener("input", () => scale(slider.value, RESTS));
  wanted.input.addEventListener("change", () => scale(wanted.input.value, 0));
  adaptive.addEventListener("change", () => {
    if (adaptive.checked) adapt();
    else scale(wanted.input.value, 0);
  });
  for (const { input } of [least, most]) {
    input.addEventListener("change", () => {
      if (adaptive.checked) adapt();
    });
  }
  return {
    element,
    show(summary, force = false) {
      maximum = summary.maximum;
      for (const input of [slider, wanted.input, least.input, most.input]) input.max = String(maximum);
      if (resting === null || force) {
        set(slider, summary.wanted, force);
        set(wanted.input, summary.wanted, force);
        slider.setAttribute("aria-valuetext", V.jobs(summary.wanted));
      }
      const [low, high] = summary.adapting ?? [0, maximum];
      if (summary.adapting || least.input.value === "" || force) set(least.input, low, force);
      if (summary.adapting || most.input.value === "" || force) set(most.input, high, force);
      adaptive.checked = summary.adapting !== null;
      perJob.textContent = V.perJob(summary.processes);
      element.disabled = summary.status === "closing" || summary.status === "closed";
    },
    stop: () => clearTimeout(resting)
  };
}
function ending(send, count) {
  const question = h("p", { id: "question" });
  const keep = h("button", { type: "button", class: "fg-button" }, V.keep);
  const go = h("button", { type: "button", class: "fg-button fg-button-bad" }, V.endThem);
  const asking = h(
    "div",
    { class: "fg-notice fg-notice-bad", role: "alertdialog", "aria-labelledby": "question", hidden: true },
    question,
    h("div", { class: "fg-buttons" }, keep, go)
  );
  const open = h("button", { type: "button", class: "fg-button" }, V.end);
  function ask(shown2) {
    asking.hidden = !shown2;
    open.hidden = shown2;
    question.textContent = V.endSure(count());
    (shown2 ? keep : open).focus();
  }
  open.addEventListener("click", () => ask(true));
  keep.addEventListener("click", () => ask(false));
  asking.addEventListener("keydown", (event) => {
    if (event.key === "Escape") ask(false);
  });
  go.addEventListener("click", () => {
    ask(false);
    send({ op: "close", sure: true });
  });
  return { element: h("div", { class: "fg-ending" }, open, asking), open };
}
function show({ model, el }) {
  const page = Array.from(crypto.getRandomValues(new Uint32Array(2)), String).join("-");
  const send = (message) => model.send(message);
  const summary = () => model.get("_summary");
  let shown2 = NOTHING;
  let stood = "";
  const top = h("div", {});
  const how = control(send);
  const said = h("p", { class: "fg-said", role: "status", "aria-live": "polite" });
  const choose = h("div", { class: "fg-chips", role: "group", "aria-label": V.filters });
  const list = h("ul", { class: "fg-jobs", tabindex: "0", "aria-label": V.jobList });
  const way = h("div", { class: "fg-buttons" });
  const end = ending(send, () => summary().counts.all - summary().counts.ended);
  const whole = h(
    "section",
    { class: "fg-widget fg-page", "aria-label": V.panel(summary().name) },
    top,
    how.element,
    said,
    choose,
    list,
    way,
    end.element
  );
  function drawSummary() {
    render(top, head(summary()));
    how.show(summary());
    end.open.disabled = ["closing", "closed"].includes(summary().status);
    drawFilters();
    const told = figures(summary()).map(({ name, label, text }) => [name, `${label}: ${text}`]);
    const still = told.filter(([name]) => !FLOWING.includes(name)).join();
    if (still === stood) return;
    stood = still;
    tellState(el, [V.panel(summary().name), V.status[summary().status], ...told.map(([, text]) => text)].join("\n"));
  }
  function drawFilters() {
    render(choose, filters(summary(), shown2.filter, (filter) => send({ op: "rows", first: 0, filter })));
  }
  function drawSaid() {
    const { text, bad } = model.get("_said");
    said.textContent = text;
    said.classList.toggle("fg-bad", bad);
    if (bad) how.show(summary(), true);
  }
  function hear(told) {
    shown2 = merged(shown2, told);
    render(list, jobs(shown2, Date.now(), (name, open) => send({ op: "log", name, open })));
    render(way, pager(shown2, (first) => send({ op: "rows", first, filter: shown2.filter })));
    drawFilters();
  }
  const stops = [
    listen(model, ["_summary"], drawSummary),
    listen(model, ["_said"], drawSaid),
    mount(el, whole, model.get("_styles"))
  ];
  model.on("msg:custom", hear);
  drawSummary();
  drawSaid();
  send({ op: "watch", page });
  return () => {
    send({ op: "leave", page });
    how.stop();
    model.off("msg:custom", hear);
    for (const stop of stops) stop();
  };
}
var panel_default = { render: show };
export {
  panel_default as default
};
