/** The start page's elements: cards, hours, summary. Builds elements; requests and stores nothing. */

import {
  cardSize, earliest, findEnvironment, findSize, fits, hoursStart, ladder, loadOf, mostHours, nearest, rungs, sizeStart,
  takesRequests,
} from "./choose.js";
import { billedText } from "./cost.js";
import { h } from "./dom.js";
import { clock, country, gigabytes, hoursText, msOf } from "./format.js";
import { locale } from "./translate.js";
import { runsMaintenance, together } from "./windows.js";
import { W } from "./words.js";

const HOUR = 3_600_000;

/** The label of a size: its GPUs or "no GPU", and what distinguishes it from other sizes with the same hardware. */
function sizeName(view) {
  const [, ...apart] = view.gpu_label.split(", ");
  return view.size.gpus > 0 ? view.gpu_label : [W.noGpu, ...apart].join(", ");
}

/** The chosen values as a sentence. Text between stars is bold. */
export function askLine(factory, view, hours) {
  const { cores, gpus } = view.size;
  return gpus > 0
    ? W.ask(hoursText(hours), view.gpu_label, factory.site.machine)
    : W.askCores(hoursText(hours), cores, factory.site.machine);
}

/** A coloured dot with text; the text alone says everything. */
function status(kind, text) {
  return h("span", { class: `fg-status fg-status-${kind}` }, h("span", { class: "fg-dot", "aria-hidden": "true" }), text);
}

function startStatus(start, now, words = {}) {
  if (start.now) return status("free", words.now ?? W.freeNow);
  if (start.known) return status("wait", (words.later ?? W.startsAbout)(clock(start.at, now)));
  return status("wait", words.unknown ?? W.startUnknown);
}

/** The health of a factory as one line, or a note that its rules must be accepted; null if nothing prevents a start. */
export function healthStatus(factory, now) {
  const { state, answered_at: answered, words } = factory.health;
  if (state === "unreachable") return status("down", W.silent(clock(answered, now)));
  if (state === "draining") return status("down", words?.what || W.draining);
  if (state === "starting") return status("wait", W.checking);
  if (factory.rules_open) return status("wait", W.rulesOpen);
  const view = cardSize(factory);
  const maintenance = view && runsMaintenance(factory, view, now);
  return maintenance ? status("wait", W.inMaintenance(clock(maintenance.end, now))) : null;
}

/** The start of a factory's next maintenance as text; null if one is running or none is announced. */
function announced(factory, now) {
  if (factory.health.state !== "ok") return null;
  const next = (factory.maintenance ?? []).find((one) => msOf(one.start) > now);
  return next ? h("span", { class: "fg-quiet" }, W.maintenanceFrom(clock(next.start, now))) : null;
}

/** A radio button that looks like a card; the button itself stays in the page for keyboard and screen reader. */
/** @param {Json} shown */
function card({ name, value, checked, disabled, title, badge, lines, foot, describe }) {
  const id = `${name}-${value}`;
  const described = describe ? `${id}-text` : null;
  return h("label", { class: "fg-card", key: id, for: id },
    h("input", {
      type: "radio", name, value, id, checked, disabled, class: "fg-card-radio", "aria-describedby": described,
    }),
    h("span", { class: "fg-card-body" },
      h("span", { class: "fg-card-title" }, title, badge ? h("span", { class: "fg-badge" }, badge) : null),
      h("span", { id: described, class: "fg-card-text" },
        lines.filter(Boolean).map((line) => h("span", { class: "fg-card-line" }, line)),
        foot ? h("span", { class: "fg-card-foot" }, foot) : null)));
}

export function factoryCards(factories, choice, now) {
  const first = earliest(factories, now);
  return factories.map((factory) => {
    const view = cardSize(factory);
    const load = loadOf(factory, view);
    const { accelerator, site } = factory;
    const start = view ? startStatus(sizeStart(view, now), now) : status("down", factory.projects?.length ? W.noSizesForProjects : W.noSizes);
    const busy = load && load.gpus_total > 0 && factory.health.state === "ok"
      ? h("span", { class: "fg-quiet" }, W.gpusFree(load.gpus_free, load.gpus_total, accelerator.unit),
        together(load) ? `, ${together(load)}` : null,
        load.pending > 0 ? ` · ${W.waitingJobs(load.pending)}` : null)
      : null;
    return card({
      name: "factory", value: factory.id, checked: factory.id === choice?.factory, describe: true,
      // A chosen factory that stops answering stays chosen; the start button says why it cannot be used.
      disabled: (!takesRequests(factory) || !view) && factory.id !== choice?.factory,
      title: site.machine, badge: factory.id === first ? W.earliest : null,
      lines: [
        `${factory.name} · ${site.city}, ${country(site.country)}`,
        h("span", {}, [accelerator.vendor, accelerator.model, accelerator.memory_gb && gigabytes(accelerator.memory_gb)]
          .filter(Boolean).join(" "),
          h("span", { class: "fg-quiet" }, ` · ${W.gpusEach(accelerator.per_node, accelerator.unit)}`)),
      ],
      foot: [healthStatus(factory, now) ?? start, busy, announced(factory, now)],
    });
  });
}

/** Planned factories without a machine: named, but not selectable. */
export function comingList(factories) {
  return factories.map(({ id, name, site, coming }) => h("li", { key: id },
    `${name} · ${site.city}, ${country(site.country)}`,
    coming?.machine ? h("span", { class: "fg-quiet" }, ` · ${coming.machine}`) : null));
}

export function sizeCards(factory, choice, now) {
  return factory.sizes.map((view) => {
    const { size } = view;
    const start = sizeStart(view, now);
    return card({
      name: "size", value: size.id, checked: size.id === choice.size, describe: true,
      title: sizeName(view),
      lines: [
        W.shape(size.cores, gigabytes(size.memory_gb)) + (size.whole_node ? ` · ${W.wholeNode}` : ""),
        h("span", { class: "fg-quiet" },
          [billedText(view), W.upTo(hoursText(size.max_hours))].filter(Boolean).join(" · ")),
      ],
      foot: takesRequests(factory)
        ? startStatus(start, now, {
          now: view.fits_now > 0 ? W.moreFit(view.fits_now) : W.freeNow,
          later: (when) => W.noFitWhen(W.about(when)),
        })
        : null,
    });
  });
}

export function environmentCards(factory, choice) {
  const view = findSize(factory, choice.size);
  const trouble = noEnvironment(factory, choice);
  const cards = factory.environments.map((environment) => {
    const fit = fits(view, environment.id);
    const stack = [environment.gpu_stack, environment.architecture].filter(Boolean).join(" · ");
    return card({
      name: "environment", value: environment.id, checked: environment.id === choice.environment && fit, disabled: !fit,
      describe: true, title: environment.title,
      lines: [
        environment.frameworks.length ? environment.frameworks.join(" · ") : null,
        h("span", { class: "fg-quiet" }, stack),
      ],
      foot: fit ? null : status("down", view.size.gpus > 0 ? W.notForSize(view.gpu_label) : W.notWithoutGpu),
    });
  });
  return trouble ? [h("p", { key: "none", class: "fg-notice fg-notice-warn fg-whole" }, trouble), ...cards] : cards;
}

/** Why no environment can be chosen, or null. */
function noEnvironment(factory, choice) {
  if (!factory.environments.length) return W.noEnvironments(factory.site.machine);
  return findSize(factory, choice.size).offer.environments.length ? null : W.cannotEnvironment;
}

/**
 * Slider, number, and comparison of walltimes. `estimateOf(hours)` returns an Estimate, null (none) or undefined
 * (requested); `limit`: the most hours that the paying project allows, if it has such a limit.
 */
export function hoursPicker(factory, choice, estimateOf, now, on, limit = null) {
  const view = findSize(factory, choice.size);
  const max = mostHours(view, limit);
  const steps = ladder(max);
  const start = hoursStart(view, estimateOf(choice.hours), now);
  const begin = start.at ?? now;
  return [
    h("div", { class: "fg-hours", key: "picker" },
      h("input", {
        type: "range", id: "hours-slider", class: "form-range", min: 0, max: steps.length - 1, step: 1,
        value: nearest(steps, choice.hours), "aria-label": W.hoursInSteps, "aria-valuetext": hoursText(choice.hours),
        oninput: (event) => on(steps[Number(event.target.value)]),
      }),
      h("span", { class: "input-group fg-hours-number" },
        h("input", {
          type: "number", name: "hours", id: "hours", class: "form-control", min: view.offer.hours.least, max, step: "any",
          value: String(Math.round(choice.hours * 1000) / 1000), inputmode: "decimal", "aria-describedby": "hours-text",
          "aria-label": W.hours,
        }),
        h("span", { class: "input-group-text", "aria-hidden": "true" }, "h"))),
    h("p", { id: "hours-text", class: "fg-hours-text", key: "text" },
      start.now || !start.known
        ? W.endsAt(clock(begin + choice.hours * HOUR, now))
        : W.endsLater(clock(begin, now), clock(begin + choice.hours * HOUR, now)),
      h("span", { class: "fg-quiet" }, ` ${W.hoursLimit(hoursText(max))}`)),
    h("div", { class: "fg-chips", key: "chips" },
      rungs(max, choice.hours).map((hours) => chip(factory, view, hours, hours === choice.hours, estimateOf(hours), now, on))),
  ];
}

function chip(factory, view, hours, current, estimate, now, on) {
  const start = hoursStart(view, estimate, now);
  let when = W.asking;
  if (start.now) when = W.startsNow;
  else if (start.known) when = W.about(clock(start.at, now));
  else if (estimate !== undefined) when = W.unknown;
  return h("button", {
    type: "button", class: `fg-chip${current ? " fg-chip-on" : ""}`, key: `chip-${hours}`, "aria-pressed": String(current),
    "data-hours": hours, onclick: () => on(hours),
  }, takesRequests(factory) ? W.estimateChip(hoursText(hours), when) : hoursText(hours));
}

/** A folder as a text for people who do not know "~". */
function place({ path, quota }) {
  const name = path === "~" || path === "~/" ? W.homeFolder : path;
  return quota ? W.quota(name, quota) : name;
}

/** A text in which parts between stars are bold. */
const bold = (text) => text.split("*").map((part, index) => (index % 2 ? h("strong", {}, part) : part));

/** Why Start is disabled now, or null. */
export function obstacle(factory, choice) {
  if (!factory || !choice) return W.noFactories;
  if (factory.health.state === "unreachable") return W.cannotSilent(factory.site.machine);
  if (factory.health.state === "draining") return factory.health.words?.what || W.cannotDrain(factory.site.machine);
  if (factory.rules_open) return factory.rules_open.what;
  return noEnvironment(factory, choice) ??
    (fits(findSize(factory, choice.size), choice.environment) ? null : W.pickEnvironment);
}

/** One line that says whether the session would start now; also announced to screen readers when it changes. */
export function startLine(factory, choice, estimate, now) {
  if (!takesRequests(factory)) return W.startLine.closed;
  const start = hoursStart(findSize(factory, choice.size), estimate, now);
  if (start.now) return W.startLine.now;
  return start.known ? W.startsLine(clock(start.at, now)) : W.startLine.unknown;
}

/** The texts of the factory's operator for people that exist in the reader's language. */
const hints = (factory) => (factory.hints ?? []).map((hint) => hint[locale().split("-")[0]]).filter(Boolean);

/** Who can see the files of a session; `accounts`: of ReadyView JSON, null while unknown. Null if this is not known. */
function whoSees(factory, choice, accounts) {
  const mine = accounts?.find((one) => one.factory === factory.id && one.project === choice.project);
  return W.whoSees[mine?.account] ?? null;
}

/**
 * The summary: {asked: the choice and its cost; mind: risks and surprises, one line each; happens: what else will
 * happen}.
 */
export function summary(factory, choice, estimate, now, costs = [], accounts = null) {
  const view = findSize(factory, choice.size);
  const environment = findEnvironment(factory, choice.environment);
  const line = (key, ...children) => h("p", { key }, children);
  const asked = [
    line("ask", ...bold(askLine(factory, view, choice.hours)),
      ` ${startLine(factory, choice, estimate, now)}`),
    environment ? line("environment", h("strong", {}, environment.title),
      environment.gpu_stack ? ` · ${environment.gpu_stack}` : null) : null,
    ...costs,
  ];
  const mind = [
    line("idle", W.stopsUnused(hoursText(choice.idle_minutes / 60))),
    ["none", "login"].includes(factory.outbound) ? line("offline", W.offline) : null,
  ];
  const seen = whoSees(factory, choice, accounts);
  const happens = [
    line("files", W.files(factory.site.machine, place(factory.folder))),
    seen ? line("seen", seen) : null,
    W.outbound[factory.outbound] ? line("outbound", W.outbound[factory.outbound]) : null,
    line("use", W.countsAsUse),
    line("unopened", W.stopsUnopened(hoursText(choice.unopened_minutes / 60))),
    choice.give_up_hours ? line("give-up", W.givesUp(hoursText(choice.give_up_hours))) : null,
    ...hints(factory).map((hint, index) => h("p", { key: `hint-${index}`, class: "fg-quiet" }, hint)),
  ];
  return { asked, mind, happens };
}
