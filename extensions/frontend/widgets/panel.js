/** The panel of a cluster: shows Python's data, and sends the person's actions. */

import "./catalogue.js";

import { listen, mount, tellState } from "./frame.js";
import { h, render } from "../common/dom.js";
import { NOTHING, figures, jobsOf, merged } from "./panel_state.js";
import { filters, head, jobs, pager } from "./panel_view.js";
import { V } from "./words.js";

const FLOWING = ["spent", "committed", "rate"];
const RESTS = 600; // ms after which a slider counts as resting

function field(id, label, attributes) {
  const input = h("input", { type: "number", min: 0, step: 1, id, class: "form-control", inputmode: "numeric", ...attributes });
  return { input, whole: h("span", { class: "fg-field" }, h("label", { for: id }, label), input) };
}

/** The number of jobs: a slider with a number, or the bounds of adapting. `send(message)`. */
function control(send) {
  const slider = h("input", { type: "range", min: 0, step: 1, class: "form-range", "aria-label": V.wantedInSteps });
  const wanted = field("wanted", V.wanted, { "aria-describedby": "per-job" });
  const least = field("least", V.minimum);
  const most = field("most", V.maximum);
  const adaptive = h("input", { type: "checkbox", role: "switch", id: "adaptive" });
  const perJob = h("span", { class: "fg-quiet", id: "per-job" });
  const element = h("fieldset", { class: "fg-step" },
    h("legend", {}, V.control),
    h("div", { class: "fg-hours" }, slider, wanted.whole, perJob),
    h("div", { class: "fg-adaptive" },
      h("span", { class: "fg-field" }, adaptive, h("label", { for: "adaptive" }, V.adaptive)), least.whole, most.whole));
  let resting = null;
  let maximum = 0;

  /** Sets a control unless the person is using it; `force`: also then, after a refusal. */
  function set(input, value, force) {
    if (force || input !== input.getRootNode().activeElement) input.value = value;
  }

  function scale(text, rests) {
    clearTimeout(resting);
    const number = jobsOf(text, maximum);
    wanted.input.setAttribute("aria-invalid", String(number === null));
    if (number === null) return;
    slider.value = String(number);
    wanted.input.value = String(number);
    slider.setAttribute("aria-valuetext", V.jobs(number));
    resting = setTimeout(() => {
      resting = null;
      send({ op: "scale", jobs: number });
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
    stop: () => clearTimeout(resting),
  };
}

/** Ends all jobs after a question. `count()`: their number. */
function ending(send, count) {
  const question = h("p", { id: "question" });
  const keep = h("button", { type: "button", class: "fg-button" }, V.keep);
  const go = h("button", { type: "button", class: "fg-button fg-button-bad" }, V.endThem);
  const asking = h("div", { class: "fg-notice fg-notice-bad", role: "alertdialog", "aria-labelledby": "question", hidden: true },
    question, h("div", { class: "fg-buttons" }, keep, go));
  const open = h("button", { type: "button", class: "fg-button" }, V.end);

  function ask(shown) {
    asking.hidden = !shown;
    open.hidden = shown;
    question.textContent = V.endSure(count());
    (shown ? keep : open).focus();
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
  let shown = NOTHING;
  let stood = "";

  const top = h("div", {});
  const how = control(send);
  const said = h("p", { class: "fg-said", role: "status", "aria-live": "polite" });
  const choose = h("div", { class: "fg-chips", role: "group", "aria-label": V.filters });
  const list = h("ul", { class: "fg-jobs", tabindex: "0", "aria-label": V.jobList });
  const way = h("div", { class: "fg-buttons" });
  const end = ending(send, () => summary().counts.all - summary().counts.ended);
  const whole = h("section", { class: "fg-widget fg-page", "aria-label": V.panel(summary().name) },
    top, how.element, said, choose, list, way, end.element);

  function drawSummary() {
    render(top, head(summary()));
    how.show(summary());
    end.open.disabled = ["closing", "closed"].includes(summary().status);
    drawFilters();
    const told = figures(summary()).map(({ name, label, text }) => [name, `${label}: ${text}`]);
    const still = told.filter(([name]) => !FLOWING.includes(name)).join();
    if (still === stood) return; // figures that grow with time are not written into the notebook
    stood = still;
    tellState(el, [V.panel(summary().name), V.status[summary().status], ...told.map(([, text]) => text)].join("\n"));
  }

  function drawFilters() {
    render(choose, filters(summary(), shown.filter, (filter) => send({ op: "rows", first: 0, filter })));
  }

  function drawSaid() {
    const { text, bad } = model.get("_said");
    said.textContent = text;
    said.classList.toggle("fg-bad", bad);
    if (bad) how.show(summary(), true);
  }

  function hear(told) {
    shown = merged(shown, told);
    render(list, jobs(shown, Date.now(), (name, open) => send({ op: "log", name, open })));
    render(way, pager(shown, (first) => send({ op: "rows", first, filter: shown.filter })));
    drawFilters();
  }

  const stops = [
    listen(model, ["_summary"], drawSummary),
    listen(model, ["_said"], drawSaid),
    mount(el, whole, model.get("_styles")),
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

export default { render: show };
