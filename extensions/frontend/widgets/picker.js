/** The picker: the start page's choices in a notebook. Python has the catalogue and the choice; this shows them. */

import "./catalogue.js";

import { listen, mount, tellState } from "./frame.js";
import { findFactory, findSize, settle, within } from "../common/choose.js";
import { costLine, projectPicker } from "../common/cost.js";
import { h, render } from "../common/dom.js";
import {
  askLine, environmentCards, factoryCards, hoursPicker, obstacle, sizeCards, startLine,
} from "../common/start_view.js";
import { W } from "../common/words.js";
import { estimateOf, fitting, joined, same, told } from "./picker_state.js";
import { V } from "./words.js";

const RESTS = 300; // ms after which a choice counts as resting
const FRESH = 30_000; // ms; the link caches estimates as long
const SLOW = 8000;

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
  const steps = h("div", { hidden: true },
    step(V.factory, factories), step(V.size, sizes), step(V.environment, environments), step(V.howLong, hours),
    paying, line);
  const form = h("form", { class: "fg-widget fg-page", "aria-label": V.picker, novalidate: true }, notices, steps);

  /** @type {Json} */
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
    render(notices, words.map((text, index) =>
      h("p", { key: index, class: `fg-notice${quiet ? "" : " fg-notice-warn"}` }, text)));
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
    const compared = [...hours.querySelectorAll("[data-hours]")].map((chip) => Number(chip.getAttribute("data-hours")));
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

  /** Takes Python's choice. While the kernel is busy this may be older than the person's, so only changes count. */
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
    if (state.moving) draw(); // the answer to an intermediate step; the last step's follows
    else adopt();
  }

  function hearRefusal(content) {
    if (!content.refused) return;
    adopt();
    state.refused = content.refused;
    draw();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (/** @type {Json} */ event) => {
    const { name, value } = event.target;
    const factory = state.choice && findFactory(state.factories, state.choice.factory);
    if (!factory) return;
    if (["factory", "environment", "project"].includes(name)) choose({ [name]: value });
    else if (name === "size") choose({ size: value, gpus: findSize(factory, value).size.gpus });
    else if (name === "hours") {
      const number = within({ ...findSize(factory, state.choice.size).offer.hours, preset: state.choice.hours }, value);
      event.target.value = number;
      choose({ hours: number });
    }
  });
  form.addEventListener("input", (/** @type {Json} */ event) => {
    if (event.target.name !== "hours" || !state.choice) return;
    const { least, most } = findSize(findFactory(state.factories, state.choice.factory), state.choice.size).offer.hours;
    const number = Number(event.target.value);
    if (number >= least && number <= most) choose({ hours: number }, { settled: false, rests: RESTS });
  });

  const stops = [
    listen(model, ["_catalogue", "_passing"], hearFactories),
    listen(model, ["value"], hearValue),
    listen(model, ["_state", "_estimates"], draw),
    mount(el, form, model.get("_styles")),
  ];
  model.on("msg:custom", hearRefusal);
  hearFactories();
  return () => {
    for (const timer of [slow, resting, renewing]) clearTimeout(timer);
    for (const stop of stops) stop();
    model.off("msg:custom", hearRefusal);
  };
}

export default { render: show };
