// Pure parts of the pages: formatting, choosing, reading sessions. Run: node --test tests/unit/pages.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { addresses, backoff, startAgain } from "../../extensions/frontend/pages/api.js";
import * as choose from "../../extensions/frontend/common/choose.js";
import * as cluster from "../../extensions/frontend/pages/cluster.js";
import * as cost from "../../extensions/frontend/common/cost.js";
import * as format from "../../extensions/frontend/common/format.js";
import { codeIn } from "../../extensions/frontend/pages/join_code.js";
import { loginState } from "../../extensions/frontend/pages/logins.js";
import { AGAIN_MS, sendOnce } from "../../extensions/frontend/pages/once.js";
import * as hands from "../../extensions/frontend/pages/workshops/hands_view.js";
import * as room from "../../extensions/frontend/pages/workshops/room_view.js";
import * as session from "../../extensions/frontend/pages/session.js";
import * as soon from "../../extensions/frontend/pages/soon.js";
import * as view from "../../extensions/frontend/common/start_view.js";
import { t, tn, use } from "../../extensions/frontend/common/translate.js";
import * as windows from "../../extensions/frontend/common/windows.js";
import { W } from "../../extensions/frontend/common/words.js";

// What the link may say, out of its own models: a kind that is added there must have words here.
const MODELS = readFileSync(new URL("../../spawners/factorycommon/models/sessions.py", import.meta.url), "utf8");
const NOTICES = /class Notice\(Model\):.*?kind: Literal\[(.*?)\]/s.exec(MODELS)[1].match(/(?<=")[a-z]+(?=")/g);
const END_REASONS = [.../class EndReason\(StrEnum\):(.*?)\n\n\n/s.exec(MODELS)[1].matchAll(/ = "([a-z-]+)"/g)].map((found) => found[1]);

const NOW = Date.parse("2026-03-10T12:00:00Z");
const inMinutes = (minutes) => new Date(NOW + minutes * 60_000).toISOString();

function size(id, gpus, fitsNow, start = null, more = {}) {
  const most = more.max_hours ?? 24;
  return {
    offer: {
      environments: id === "g4" ? ["plain", "big"] : ["plain"], environment: "plain", project: null, project_in: {},
      hours: { least: Math.min(0.25, most), most, preset: 1 },
    },
    price: price({ gpu_hours: gpus, number: gpus }),
    size: {
      id, gpus, cores: gpus * 8 + 4, partition: "p", max_hours: 24, default_hours: 1, billed_as: "x", whole_node: false, ...more,
    },
    gpu_label: `${gpus} x GPU`, fits_now: fitsNow, estimate: start === null ? null : { start, basis: "test-only" },
  };
}

/** Price JSON. `own`: [amount, unit] in the factory's own unit. */
function price({ gpu_hours = 1, counted = gpu_hours, own = null, charged_for = "gpus", number = 1, unit = "GPU" }) {
  return { gpu_hours, counted, own: own && { amount: own[0], unit: own[1] }, charged_for, number, unit };
}

function factory(id, sizes, more = {}) {
  return {
    id, name: id, site: { machine: id.toUpperCase(), city: "X", country: "FI" }, health: { state: "ok" },
    partitions: [{ name: "p", gpus_total: 4, gpus_free: 1, pending: 0 }], sizes,
    environments: [
      { id: "plain", title: "Plain", sizes: [] },
      { id: "big", title: "Big", sizes: ["g4"] },
    ],
    default_environment: "plain", default_size: sizes[0]?.size.id,
    bounds: {
      idle_minutes: { least: 1, most: 480, preset: 60 }, unopened_minutes: { least: 1, most: 120, preset: 30 },
      give_up_hours: { least: 0.05, most: 720, preset: null },
    },
    ...more,
  };
}

function one(more = {}) {
  return {
    id: "a", user: "ada", server: "", state: "pending", before: null, wish: "run", created: inMinutes(-3), started: null,
    ready: null, ends: null, ended: null, position: null, expected_start: null, waits_for: null, last_activity: null,
    ends_idle: null, end_reason: null, end: null, job: null, node: null, log: [], log_tail: [],
    choice: { factory: "one", size: "g1", environment: "plain", hours: 2, give_up_hours: null }, ...more,
  };
}

describe("maintenance", () => {
  const before = (minutes) => windows.hoursBefore({ ...size("g1", 1, 1), fits_until: inMinutes(minutes) }, NOW);

  test("hours are shortened to whole minutes that end before the maintenance", () => {
    assert.equal(before(65), 1);
    assert.equal(before(35.5), 0.5);
    assert.equal(before(60 * 24 * 9), 24); // the size's own limit
  });

  test("a maintenance is in progress for a size that it leaves no node", () => {
    const during = (from, to, closes = ["p"]) => factory("one", [size("g1", 1, 1)], {
      health: { state: "ok" }, maintenance: [{ name: "m", start: inMinutes(from), end: inMinutes(to), nodes: 8, closes }],
    });
    const runs = (place) => windows.runsMaintenance(place, place.sizes[0], NOW);
    assert.equal(runs(during(-60, 60)).name, "m");
    assert.equal(runs(during(60, 120)), null);
    assert.equal(runs(during(-60, 60, [])), null); // of some nodes only
    assert.equal(runs(during(-120, -60)), null);
  });

  test("hours before a maintenance may be zero, or unlimited without one", () => {
    assert.equal(before(10), null);
    assert.equal(before(-10), null);
    assert.equal(windows.hoursBefore(size("g1", 1, 1), NOW), null);
  });

  test("the card shows how many GPUs are free on one node where this is less than all free ones", () => {
    assert.equal(windows.together({ gpus_free: 5, node_gpus_free: 2 }), "at most 2 on one node");
    assert.equal(windows.together({ gpus_free: 2, node_gpus_free: 2 }), null);
    assert.equal(windows.together({ gpus_free: 2 }), null);
    assert.equal(windows.together(null), null);
  });

  test("a chosen reservation is kept only at a factory that offers it", () => {
    const offers = factory("one", [size("g1", 1, 1)], { reservations: [{ id: "course", name: "course", end: inMinutes(60) }] });
    assert.equal(choose.settle({ reservation: "course" }, offers).reservation, "course");
    assert.equal(choose.settle({ reservation: "other" }, offers).reservation, null);
    assert.equal(choose.settle({ reservation: "course" }, factory("two", [size("g1", 1, 1)])).reservation, null);
  });

  test("a reservation can be chosen only with a project that is in it", () => {
    const one = size("g1", 1, 1);
    const view = { ...one, projects: ["p", "q"], offer: { ...one.offer, project: "p", project_in: { course: "q" } } };
    const offers = factory("one", [view], {
      projects: ["p", "q"], reservations: [{ id: "course", name: "course", end: inMinutes(60), projects: ["q"] }],
    });
    const settled = (wanted) => {
      const { project, reservation } = choose.settle(wanted, offers);
      return [project, reservation];
    };
    assert.deepEqual(settled({ reservation: "course" }), ["q", "course"]); // a link that names no project
    assert.deepEqual(settled({ reservation: "course", project: "q" }), ["q", "course"]);
    assert.deepEqual(settled({ reservation: "course", project: "p" }), ["p", null]);
    assert.deepEqual(settled({}), ["p", null]);
  });

  test("beside a workshop's project, a person may also start without one", () => {
    const one = size("g1", 1, 1);
    const paid = { ...one, projects: ["workshop-a"], offer: { ...one.offer, project: null, project_in: {} } };
    const offers = factory("one", [paid, size("g2", 2, 1)], { projects: ["workshop-a"], project_needed: false });
    assert.equal(choose.settle({}, offers).project, null);
    assert.equal(choose.settle({ project: "workshop-a" }, offers).project, "workshop-a"); // of a link
    assert.equal(choose.settle({ project: "workshop-a", size: "g2" }, offers).project, null);
    assert.deepEqual(cost.payers(offers, paid, null).map((payer) => payer.id), [null, "workshop-a"]);
    assert.equal(cost.tooMuch(offers, choose.settle({ size: "g2" }, offers), [], NOW), null);
    assert.equal(cost.payer(offers, choose.settle({}, offers), []), null);
  });
});

describe("format", () => {
  test("a point in time is written as short as possible", () => {
    assert.equal(format.clock(inMinutes(140), NOW, "UTC"), "14:20");
    assert.deepEqual([65, 60, 0.5, 0, -5].map((minutes) => format.hoursUntil(NOW + minutes * 60_000, NOW)),
      ["1:05", "1:00", "0:01", "0:00", "0:00"]);
    assert.equal(format.clock(inMinutes(60 * 21), NOW, "UTC"), "tomorrow 09:00");
    assert.equal(format.clock(inMinutes(-60 * 15), NOW, "UTC"), "yesterday 21:00");
    assert.equal(format.clock(inMinutes(60 * 24 * 3), NOW, "UTC"), "Fri 13 Mar, 12:00");
    assert.equal(format.clock(null, NOW), "");
    assert.equal(format.clock("nonsense", NOW), "");
  });

  test("the day is that of the reader's time zone", () => {
    assert.equal(format.clock("2026-03-10T23:30:00Z", NOW, "Europe/Helsinki"), "tomorrow 01:30");
  });

  test("spans, hours, sizes", () => {
    assert.equal(format.span(-5), "0 seconds");
    assert.equal(format.span(59.9), "59 seconds");
    assert.equal(format.span(3600), "1 hour");
    assert.equal(format.span(52 * 3600), "2 days 4 hours");
    assert.equal(format.hoursText(0.25), "15 minutes");
    assert.equal(format.hoursText(1.5), "1 hour 30 minutes");
    assert.equal(format.hoursText(72), "72 hours");
    assert.equal(format.gigabytes(480), "480 GB");
    assert.equal(format.gigabytes(2000), "2 TB");
    assert.equal(format.country("FI"), "Finland");
    assert.equal(format.country("not a code"), "not a code");
  });
});

describe("clusters", () => {
  const made = (more = {}) => ({
    id: "c", name: "sweep", state: "live", gpus: 2, created: inMinutes(-90), session: "a", counts: {},
    gpu_hours: { spent: 1, committed: 3, cap: null, at: inMinutes(-30), per_hour: 4 }, ...more,
  });

  test("a cluster's state is that of its most advanced job, if its jobs are known", () => {
    const of = (counts, state = "live") => cluster.standing(made({ counts, state }))[1];
    assert.equal(of({ running: 1, pending: 5, ended: 9 }), "Running");
    assert.equal(of({ asked: 1, ended: 9 }), "In the queue");
    assert.equal(of({ ended: 9 }), "No jobs");
    assert.equal(of({ unreachable: 2, ended: 1 }), "Not answering");
    assert.equal(of({ running: 1 }, "ending"), "Ending");
    assert.equal(cluster.jobsLine(made({ counts: { running: 4, asked: 1, pending: 1, ended: 2 } })), "4 jobs running · 2 waiting");
    assert.equal(cluster.jobsLine(made({ counts: { ended: 2 } })), "No jobs");
  });

  test("GPU-hours go on from promised to used while jobs run, and never beyond what was promised", () => {
    assert.deepEqual(cluster.gpuHours(made(), NOW), { spent: 3, committed: 1 });
    assert.deepEqual(cluster.gpuHours(made(), NOW + 3_600_000), { spent: 4, committed: 0 });
    assert.equal(cluster.gpuHours(made(), NOW - 3_600_000).spent, 1); // a clock that is behind takes nothing back
    assert.equal(cluster.hoursLine(made(), NOW), "3 GPU-hours used · 1 GPU-hour reserved");
    const capped = { ...made().gpu_hours, cap: 20, per_hour: 0, committed: 0 };
    assert.equal(cluster.hoursLine(made({ gpu_hours: capped }), NOW), "1 of at most 20 GPU-hours used");
    assert.equal(cluster.hoursLine(made({ gpus: 0, gpu_hours: { ...capped, cap: null } }), NOW), "");
  });

  test("the page shows to which session a cluster belongs, if it knows", () => {
    const sessions = [one({ server: "train" })];
    assert.equal(cluster.aboutLine(made(), sessions, NOW), "open for 1 hour 30 minutes · belongs to train");
    assert.equal(cluster.aboutLine(made({ session: null }), sessions, NOW), "open for 1 hour 30 minutes");
  });

  test("a cluster whose scheduler is a job of its own has that job's state", () => {
    const head = (state, more) => made({ session: "c", counts: { pending: 1 }, head: one({ state, id: "c", ...more }) });
    assert.equal(cluster.headLine(made(), NOW), "");
    assert.equal(cluster.headLine(head("pending", { position: 1, expected_start: inMinutes(0) }), NOW),
      "The cluster’s Dask scheduler runs in a job of its own: Next in the queue · expected to start now");
    assert.equal(cluster.headLine(head("starting"), NOW), "The cluster’s Dask scheduler runs in a job of its own: Starting");
    assert.match(cluster.headLine(head("running", { ends: inMinutes(60) }), NOW), /: 1 hour left, ends \d\d:\d\d$/);
    assert.deepEqual(cluster.standing(head("starting")), ["wait", "Starting"]);
    assert.deepEqual(cluster.standing(head("unreachable")), ["down", "Not answering"]);
    assert.deepEqual(cluster.standing(head("running")), ["wait", "In the queue"]);
  });

  test("a dashboard's address becomes a link only if it is a web address", () => {
    assert.equal(cluster.dashboard(made({ dashboard: "/user/ada/dashboard" })), "/user/ada/dashboard");
    for (const address of [undefined, null, "javascript:alert(1)", "//elsewhere.example", "data:text/html,x"]) {
      assert.equal(cluster.dashboard(made({ dashboard: address })), null);
    }
  });
});

describe("languages", () => {
  const german = {
    language: "de", plural: "1011", texts: {
      "{n} core": ["{n} Kern", "{n} Kerne"], "ends {at}": "endet {at}", "{machine} is not answering": "{machine} antwortet nicht",
    },
  };

  test("a text without a translation stays English, and inserted values are not translated", () => {
    use(german);
    assert.equal(t("ends {at}", { at: "{machine}" }), "endet {machine}");
    assert.equal(t("Nobody translated this"), "Nobody translated this");
    assert.equal(t("ends {at}"), "endet {at}"); // a part that is not given is seen, not swallowed
    use({ language: "en", texts: {}, plural: "" });
    assert.equal(t("ends {at}", { at: "now" }), "ends now");
  });

  test("the number chooses the plural form and is written as in the reader's language", () => {
    use(german);
    assert.deepEqual([1, 2].map((n) => tn(n, "{n} core", "{n} cores")), ["1 Kern", "2 Kerne"]);
    use({ ...german, plural: "10".padEnd(200, "1") });
    assert.equal(tn(1234, "{n} core", "{n} cores"), "1.234 Kerne");
    use({ language: "en", texts: {}, plural: "" });
    assert.equal(tn(1234, "{n} core", "{n} cores"), "1,234 cores");
  });

  test("times, durations and sizes are written as in the reader's language", () => {
    use(german);
    assert.equal(format.clock(inMinutes(60 * 21), NOW, "UTC"), "morgen 09:00");
    assert.equal(format.span(90 * 60), "1 Stunde 30 Minuten");
    assert.equal(format.gigabytes(1500), "1,5 TB");
    assert.equal(format.country("DE"), "Deutschland");
    use({ language: "en", texts: {}, plural: "" });
  });
});

describe("what starts first", () => {
  test("a free factory comes before one that is free later, then unknown ones, then silent ones", () => {
    const later = factory("later", [size("g1", 1, 0, inMinutes(20))]);
    const unknown = factory("unknown", [size("g1", 1, 0)]);
    const silent = factory("silent", [size("g1", 1, 4)], { health: { state: "unreachable" } });
    assert.equal(choose.earliest([unknown, later, silent], NOW), "later");
    assert.equal(choose.earliest([later, factory("free", [size("g1", 1, 1)])], NOW), "free");
    assert.equal(choose.earliest([unknown, silent], NOW), null);
    assert.equal(choose.earliest([], NOW), null);
  });

  test("of two free factories, the one with more free GPUs comes first", () => {
    const factories = [factory("a", [size("g1", 1, 1)]), factory("b", [size("g1", 1, 9)])];
    assert.equal(choose.earliest(factories, NOW), "b");
  });

  test("a size without GPU does not make a full factory look free", () => {
    const full = factory("full", [size("cpu", 0, 9), size("g1", 1, 0, inMinutes(60))]);
    assert.equal(choose.cardSize(full).size.id, "g1");
    assert.equal(choose.earliest([full, factory("soon", [size("g1", 1, 0, inMinutes(5))])], NOW), "soon");
  });

  test("each walltime has its own estimate", () => {
    const view = size("g1", 1, 2);
    assert.deepEqual(choose.hoursStart(view, undefined, NOW), { known: true, now: true, at: null });
    assert.equal(choose.hoursStart(view, { start: inMinutes(90) }, NOW).at, NOW + 90 * 60_000);
    assert.equal(choose.hoursStart(size("g1", 1, 0), null, NOW).known, false);
    assert.equal(choose.hoursStart(size("g1", 1, 0), { start: inMinutes(0.5) }, NOW).now, true);
  });
});

describe("a factory whose rules are not accepted", () => {
  const open = factory("one", [size("g1", 1, 4)], { rules_open: { what: "Not yet.", do: "Read them." } });
  const other = factory("two", [size("g1", 1, 1)]);

  test("says so at the start button, and is not preset or recommended first", () => {
    const { choice } = choose.preset([open, other], {});
    assert.equal(choice.factory, "two");
    assert.equal(choose.earliest([open, other], NOW), "two");
    assert.equal(view.obstacle(other, choice), null);
    assert.equal(view.obstacle(open, choose.settle({}, open)), "Not yet.");
  });

  test("can be chosen nevertheless, and is preset if there is no other factory", () => {
    assert.equal(choose.preset([open, other], { link: { factory: "one" } }).choice.factory, "one");
    assert.equal(choose.preset([open], {}).choice.factory, "one");
    assert.ok(choose.takesRequests(open));
  });
});

describe("what is preset", () => {
  const factories = [
    factory("down", [size("g1", 1, 0)], { health: { state: "unreachable" } }),
    factory("one", [size("g1", 1, 1), size("g4", 4, 0, null, { max_hours: 4 })]),
    factory("two", [size("h4", 4, 1)]),
  ];

  test("the default of the first healthy factory is preset if nothing else is known", () => {
    const { choice, from } = choose.preset(factories, {});
    assert.equal(from, "default");
    assert.deepEqual([choice.factory, choice.size, choice.environment, choice.hours], ["one", "g1", "plain", 1]);
    assert.deepEqual([choice.idle_minutes, choice.unopened_minutes, choice.give_up_hours], [60, 30, null]);
  });

  test("a refused form comes first, then a link's choice, an earlier session's and the last choice", () => {
    const sources = {
      last: { factory: "one" }, again: { factory: "two" }, link: { factory: "one", size: "g4", hours: "99" }, posted: null,
    };
    const { choice, from } = choose.preset(factories, sources);
    assert.equal(from, "link");
    assert.deepEqual([choice.size, choice.hours], ["g4", 4]); // above the size's limit: moved to it
    assert.equal(choose.preset(factories, { ...sources, link: null }).from, "again");
    assert.equal(choose.preset(factories, { ...sources, posted: { factory: "two" } }).from, "posted");
  });

  test("if the factory of one source no longer exists, the next source counts", () => {
    assert.equal(choose.preset(factories, { link: { factory: "gone" }, last: { factory: "two" } }).from, "last");
    assert.equal(choose.preset([], { last: { factory: "one" } }).choice, null);
  });

  test("a link's parameters are checked like any input", () => {
    assert.equal(choose.fromQuery("?next=%2Fx"), null);
    const wanted = choose.fromQuery("?opt-factory=one&opt-size=%3Cscript%3E&opt-environment=none");
    assert.deepEqual(choose.unknownIn(wanted, factories), [["size", "<script>"], ["environment", "none"]]);
    assert.deepEqual(choose.unknownIn({ factory: "zzz" }, factories), [["factory", "zzz"]]);
    assert.equal(choose.preset(factories, { link: wanted }).choice.size, "g1");
  });

  test("tokens in addresses are allowed by a click or by starting the same again, not by a link or the last choice", () => {
    const allowed = { factory: "one", url_tokens: true };
    const shown = (sources) => choose.preset(factories, sources).choice.url_tokens;
    assert.deepEqual([shown({ posted: allowed }), shown({ again: allowed })], [true, true]);
    assert.deepEqual([shown({ last: allowed }), shown({ link: choose.fromQuery("?opt-url_tokens=true") })], [false, false]);
    assert.equal(shown({}), false);
  });

  test("choosing another factory keeps the number of GPUs and replaces an environment that does not fit", () => {
    const four = choose.settle({ factory: "one", size: "g4", environment: "big", hours: 2 }, factories[1]);
    assert.equal(four.environment, "big");
    assert.equal(choose.settle({ ...four, factory: "two" }, factories[2]).size, "h4");
    assert.equal(choose.settle({ ...four, size: "g1" }, factories[1]).environment, "plain");
  });

  test("minutes and hours stay within the bounds", () => {
    const choice = choose.settle({ hours: -1, idle_minutes: 9999, unopened_minutes: "x", give_up_hours: "2.5" }, factories[1]);
    assert.deepEqual([choice.hours, choice.idle_minutes, choice.unopened_minutes, choice.give_up_hours], [0.25, 480, 30, 2.5]);
  });
});

describe("who pays", () => {
  const paying = (more = {}) => ({
    id: "p", title: "Weather", left: 10, granted: 100, ends: null, max_hours: null, ...more,
  });
  const place = (projects, ofSize = projects) => {
    const view = { ...size("g1", 1, 3), projects: ofSize, price: price({ gpu_hours: 4 }) };
    view.offer = { ...view.offer, project: ofSize[0] ?? null };
    return factory("one", [view], { projects });
  };
  const choice = { factory: "one", size: "g1", hours: 2, project: "p" };
  const site = { site: { machine: "ONE" } };
  const costs = (parts, hours = 2, gpus = 1) => cost.costLine(site, { ...size("s", gpus, 1), price: price(parts) }, hours);
  const onCores = (own) => ({ gpu_hours: 0, own, charged_for: "cores", number: 1 });

  test("the link says how much is charged, and for what", () => {
    assert.equal(costs({ gpu_hours: 4, own: [1, "node-hour"], number: 4 }),
      "It costs at most 8 GPU-hours: 2 hours on 4 GPUs (ONE counts that as 2 node-hours).");
    assert.equal(costs({ gpu_hours: 8, charged_for: "whole-node", number: 8 }),
      "It costs at most 16 GPU-hours: 2 hours on a whole node with 8 GPUs.");
    assert.equal(costs({ gpu_hours: 0.5, charged_for: "part", number: 0.5, unit: "GCD" }),
      "It costs at most 1 GPU-hour: 2 hours on half a GPU (1 GCD).");
    assert.equal(costs({ gpu_hours: 4, charged_for: "part", number: 4, unit: "GCD" }, 2, 8),
      "It costs at most 8 GPU-hours: 2 hours on 4 GPUs (8 GCDs).");
    assert.equal(costs({ gpu_hours: 0, charged_for: "cores", number: 8 }), "It costs no GPU-hours.");
  });

  test("a unit is a word in the plural form that its number needs", () => {
    assert.equal(costs(onCores([1, "core-hour"]), 1), "It costs at most 1 core-hour: 1 hour on 1 core.");
    assert.equal(costs(onCores([1, "core-hour"])), "It costs at most 2 core-hours: 2 hours on 1 core.");
    assert.equal(costs(onCores([0.5, "node-hour"]), 1), "It costs at most 0.5 node-hours: 1 hour on 1 core.");
    assert.match(costs(onCores([3, "credit"]), 1), /^It costs at most 3 credits:/); // a unit that nobody translated
    assert.match(costs(onCores([1, "constructor"]), 1), /^It costs at most 1 constructor:/);
    const billed = (parts, text = "") =>
      cost.billedText({ ...size("cpu", 0, 1, null, { billed_as: text }), price: price(parts) });
    assert.equal(billed(onCores([0.25, "node-hour"])), "Costs 0.25 node-hours per hour");
    assert.equal(billed(onCores(null), "a whole node"), "Billed as a whole node");
    assert.equal(billed({}, "a whole node"), "Costs 1 GPU-hour per hour");
    assert.equal(cost.standingLine(paying({ left: 0.5, granted: 1 }), NOW), "You may still use 0.5 of its 1 GPU-hour.");
  });

  test("the charge of an ended session is the link's number and includes earlier runs", () => {
    const ran = { started: inMinutes(-90), ended: inMinutes(0), charged: { gpu_hours: 1.5, counted: 3 } };
    assert.equal(cost.chargedText(ran), "1.5 GPU-hours");
    assert.equal(cost.chargedText({ ...ran, started: null }), "1.5 GPU-hours"); // put back into the queue, then stopped
    assert.equal(cost.chargedText({ started: null, charged: { gpu_hours: 0, counted: 0 } }), "Not charged: it never ran");
    assert.equal(cost.chargedText({ ...ran, charged: null }), null);
    assert.equal(cost.chargedText({ ...ran, charged: { gpu_hours: 0, counted: 0 } }), "No GPU-hours");
  });

  test("a unit has the plural forms of the language, also for fractions", () => {
    const texts = (forms) => ({ "{amount} core-hour": forms.map((form) => `{amount} ${form}`), "It costs at most {total}: {hours} on {what}.": "{total}." });
    const of = (language, plural, forms) => {
      use({ language, plural: plural.padEnd(200, plural.at(-1)), texts: texts(forms) });
      const said = [1, 2, 5, 0.5, 1.5].map((n) => costs(onCores([1, "core-hour"]), n));
      use({ language: "en", texts: {}, plural: "" });
      return said;
    };
    assert.deepEqual(of("pl", "2011122", ["godzina", "godziny", "godzin"]),
      ["1 godzina.", "2 godziny.", "5 godzin.", "0,5 godziny.", "1,5 godziny."]);
    assert.deepEqual(of("de", "101", ["Stunde", "Stunden"]),
      ["1 Stunde.", "2 Stunden.", "5 Stunden.", "0,5 Stunden.", "1,5 Stunden."]);
    assert.deepEqual(of("fr", "001", ["heure", "heures"]),
      ["1 heure.", "2 heures.", "5 heures.", "0,5 heure.", "1,5 heure."]);
  });

  test("a choice that does not fit a project is refused with the choices that fit", () => {
    const no = (project, more = {}) => cost.tooMuch(place(["p"]), { ...choice, ...more }, [paying(project)], NOW);
    assert.equal(no({}), null);
    assert.equal(no({}, { hours: 3 }), "You have 10 GPU-hours left in p, and this needs 12: at most 2.5 h of this size fit.");
    assert.equal(no({ left: null, granted: null }, { hours: 3 }), null);
    assert.equal(no({ max_hours: 1 }), "p allows at most 1 h at a time. Ask for fewer hours.");
    assert.match(no({ ends: inMinutes(90) }), /^p ends .*: at most 1.5 h fit/);
    assert.equal(no({ ends: inMinutes(120) }), null);
    assert.equal(cost.tooMuch(place([]), { ...choice, project: null }, [], NOW), null);
    assert.equal(cost.tooMuch(place(["p"]), choice, null, NOW), null); // not known yet: the link has the last word
  });

  test("with a size the wanted project is kept, or else the first that may use the size is chosen", () => {
    const settled = (projects, ofSize, project) => choose.settle({ size: "g1", project }, place(projects, ofSize)).project;
    assert.equal(settled(["p", "q"], ["p", "q"], "q"), "q");
    assert.equal(settled(["p", "q"], ["p"], "q"), "p");
    assert.equal(settled(["p", "q"], ["p", "q"], undefined), "p");
    assert.equal(settled([], [], "q"), "q");
  });

  test("the rest of a project's budget is shown with its end", () => {
    assert.equal(cost.standingLine(paying(), NOW), "You may still use 10 of its 100 GPU-hours.");
    assert.match(cost.standingLine(paying({ left: null, ends: inMinutes(60 * 48) }), NOW), /^The project ends Thu 12 Mar, /);
  });
});

describe("steps and names", () => {
  test("the slider ends exactly at the limit", () => {
    assert.deepEqual(choose.ladder(4), [0.25, 0.5, 1, 1.5, 2, 3, 4]);
    assert.deepEqual(choose.ladder(0.167), [0.167]);
    assert.deepEqual(choose.rungs(24, 2), [1, 2, 4]);
    assert.deepEqual(choose.rungs(0.5, 0.5), [0.5]);
    const limited = { size: { max_hours: 24 }, offer: { hours: { least: 0.25 } } };
    assert.deepEqual([2, 48, null, undefined, 0.1].map((limit) => choose.mostHours(limited, limit)), [2, 24, 24, 24, 0.25]);
    assert.equal(choose.nearest(choose.ladder(4), 2.9), 5);
  });

  test("a name that no server has is proposed", () => {
    assert.equal(choose.freeName([]), "");
    assert.equal(choose.freeName([""]), "session-2");
    assert.equal(choose.freeName(["", "session-2", "session-4"]), "session-3");
    assert.equal(choose.freeName(["", "session-2"], ["", "session-2"], 1), null);
    assert.equal(choose.freeName([""], ["", "old", "session-2"], 2), "session-2");
    assert.equal(choose.freeName([""], [], 0, false), null);
  });

  test("a name has at most 30 small letters, digits and hyphens, and begins with a letter", () => {
    for (const good of ["a", "my-work-2"]) assert.match(good, choose.NAME_PATTERN);
    for (const bad of ["", "2a", "A", "a/b", "a b", "x".repeat(31)]) assert.doesNotMatch(bad, choose.NAME_PATTERN);
  });
});

describe("sessions", () => {
  test("an unreachable session keeps its last known state", () => {
    const seen = session.stages(one({ state: "unreachable", before: "starting" }));
    assert.deepEqual(seen.map((stage) => stage.is), ["done", "current", "todo"]);
    assert.deepEqual(session.stages(null).map((stage) => stage.is), ["current", "todo", "todo"]);
    assert.ok(session.isLive(one({ state: "unreachable" })));
  });

  test("a server shows its live session, or else the one that ended last", () => {
    const old = one({ id: "old", state: "ended", ended: inMinutes(-90) });
    const last = one({ id: "last", state: "ended", ended: inMinutes(-5) });
    assert.equal(session.ofServer([old, last], "ada", "").id, "last");
    assert.equal(session.ofServer([last, one({ id: "live" })], "ada", "").id, "live");
    assert.equal(session.ofServer([last], "ada", "other"), null);
    assert.equal(session.ofServer([last], "grace", ""), null);
  });

  test("position and plan in words", () => {
    const rows = new Map(session.facts(one({ position: 1, expected_start: inMinutes(30) }),
      { size: "1 x GPU", environment: "Plain" }, NOW));
    assert.equal(rows.get(W.facts.place), "Next in the queue");
    assert.match(rows.get(W.facts.expected), /^about .*\(30 minutes\)$/);
    assert.equal(new Map(session.facts(one(), { size: "", environment: "" }, NOW)).get(W.facts.expected), W.noPlan);
  });

  test("a session is called idle only after a while", () => {
    const running = one({ state: "running", started: inMinutes(-60), ends: inMinutes(60) });
    assert.equal(session.idling(running, NOW), W.neverOpened);
    assert.equal(session.idling({ ...running, last_activity: inMinutes(-1) }, NOW), W.busy);
    assert.equal(session.idling({ ...running, last_activity: inMinutes(-20), ends_idle: inMinutes(40) }, NOW), "idle for 20 minutes");
    assert.equal(session.used(running, NOW), 0.5);
    assert.equal(session.used(one(), NOW), null);
  });

  test("only one end is shown: the earliest, or the announced one", () => {
    const running = one({ state: "running", started: inMinutes(-60), ends: inMinutes(12) });
    assert.match(session.standing(running, NOW), /^12 minutes left/);
    const told = (kind) => ({ ...running, notice: { kind, at: inMinutes(11), minutes: 15 } });
    assert.match(session.standing(told("walltime"), NOW), /^11 minutes left/);
    assert.match(session.standing(told("idle"), NOW), /^11 minutes left, stops at \d\d:\d\d if still idle$/);
    const unused = { ...running, last_activity: inMinutes(-20) };
    assert.match(session.standing({ ...unused, ends_idle: inMinutes(5) }, NOW), /^5 minutes left, stops at .* if still idle$/);
    assert.match(session.standing({ ...unused, ends_idle: inMinutes(40) }, NOW), /^12 minutes left, ends/);
    assert.match(session.standing({ ...running, last_activity: inMinutes(-1), ends_idle: inMinutes(5) }, NOW), /^12 minutes left, ends/);
  });

  test("the clusters that would end with a session are named", () => {
    const running = one({ state: "running" });
    const clusters = [{ name: "sweep", session: "a", state: "live" }, { name: "over", session: "a", state: "ending" },
      { name: "other", session: "b", state: "live" }];
    assert.deepEqual(session.runsIn(running, []), []);
    assert.deepEqual(session.runsIn({ ...running, busy: true, busy_with: ["train.ipynb"] }, clusters),
      ["train.ipynb is running", "The Dask cluster sweep is running"]);
    assert.deepEqual(session.runsIn({ ...running, busy: true, busy_with: [] }, []), [W.somethingBusy]);
  });

  test("a request that was cancelled before it began did not end as a session does", () => {
    const stopped = one({ state: "ended", end_reason: "stopped" });
    assert.equal(session.endText(stopped), W.withdrawn);
    assert.equal(session.endText({ ...stopped, ready: inMinutes(-1) }), W.reason.stopped);
  });

  const memory = (id, gigabytes, more = {}) => size(id, 1, 1, null, { memory_gb: gigabytes, ...more });
  const ran = one({ state: "ended", end_reason: "out-of-memory", started: inMinutes(-60), ended: inMinutes(0) });

  test("a session that ran out of memory says so, whether JupyterLab answered or not", () => {
    assert.equal(session.endHead(ran), "Your session ran out of memory");
    assert.equal(session.endHead({ ...ran, ready: inMinutes(-50) }), "Your session ran out of memory");
    assert.equal(session.endHead({ ...ran, end_reason: "failed" }), "Your session did not start");
    assert.equal(session.endHead({ ...ran, end_reason: "failed", ready: inMinutes(-50) }), "Your session has ended");
  });

  test("it can start again with the next larger memory size that fits the project", () => {
    const sizes = [memory("g1", 60), memory("huge", 900), memory("g2", 120, { max_hours: 1 }), memory("tiny", 30)];
    const found = session.larger(ran, [factory("one", sizes)]);
    assert.deepEqual([found.choice.size, found.choice.hours], ["g2", 1]);
    assert.equal(session.larger({ ...ran, choice: { ...ran.choice, size: "huge" } }, [factory("one", sizes)]), null);
    assert.equal(session.larger({ ...ran, end_reason: "failed" }, [factory("one", sizes)]), null);
    assert.equal(session.larger(ran, []), null); // the factory is not known yet
    const without = (view) => ({ ...view, offer: { ...view.offer, environments: [] } });
    const bound = sizes.map((view) => (view.size.id === "g2" ? without(view) : view));
    assert.equal(session.larger(ran, [factory("one", bound)]).choice.size, "huge"); // where its environment runs
    const paid = sizes.map((view) => ({ ...view, projects: view.size.id === "huge" ? ["p"] : [] }));
    const ofProject = { ...ran, choice: { ...ran.choice, project: "p" } };
    assert.equal(session.larger(ofProject, [factory("one", paid, { projects: ["p"] })]).choice.size, "huge");
  });

  test("only changes that matter to the person are announced", () => {
    const waiting = one({ position: 3 });
    assert.equal(session.change(waiting, { ...waiting }), null);
    assert.equal(session.change(waiting, { ...waiting, position: 2 }), "1 ahead of you");
    assert.equal(session.change(waiting, { ...waiting, state: "running" }), "Running");
  });

  test("an end that is near is announced once at each step, the nearest first", () => {
    const far = one({ id: "far", state: "running", notice: { kind: "walltime", at: inMinutes(14), minutes: 15 } });
    const near = one({ id: "near", server: "b", state: "running", notice: { kind: "idle", at: inMinutes(4), minutes: 5 } });
    const told = new Set();
    assert.deepEqual(soon.newly([far, one({ state: "running", notice: null }), near], told).map((s) => s.id), ["near", "far"]);
    assert.deepEqual(soon.newly([far, near], told), []);
    const later = { ...far, notice: { ...far.notice, minutes: 5 } };
    assert.deepEqual(soon.newly([later, near], told), [later]);
    const moved = { ...later, notice: { ...later.notice, at: inMinutes(64) } };
    assert.deepEqual(soon.newly([moved], told), [moved]); // more time was given, and that is near its end as well
    assert.deepEqual(soon.newly([{ ...near, state: "unreachable" }], new Set()), []);
    assert.match(soon.soonText(far, NOW), /^Main session reaches its time limit at \d\d:\d\d. Save your work.$/);
    for (const kind of NOTICES) assert.ok(W.soon[kind]("x", "12:00").includes("12:00"), kind);
    assert.deepEqual(Object.keys(W.soon).sort(), [...NOTICES].sort());
  });

  test("an end that the person asked for is no failure", () => {
    assert.ok(session.isFailure(one({ state: "ended", end_reason: "out-of-memory" })));
    assert.ok(!session.isFailure(one({ state: "ended", end_reason: "stopped" })));
    assert.deepEqual(Object.keys(W.reason).sort(), END_REASONS.sort());
  });
});

test("retries are spread out, and at most 37 s apart", () => {
  assert.ok(backoff(0, 0) >= 750 && backoff(0, 1) <= 1250);
  assert.ok(backoff(50, 1) <= 37_500);
});

test("starting again waits until the hub has finished the ended server; other refusals are shown", async (context) => {
  const { fetch, window } = globalThis;
  context.after(() => Object.assign(globalThis, { fetch, window }));
  const answers = [[400, "ada:deep is pending stop"], [201, ""], [400, "No such size."]];
  const asked = [];
  globalThis.window = { jhdata: { xsrf_token: "x" } };
  globalThis.fetch = async (url, { method, body }) => {
    asked.push([method, url, JSON.parse(body)]);
    const [status, message] = answers.shift();
    return new Response(message && JSON.stringify({ status, message }), { status });
  };
  const to = addresses("/hub/", "ada", "/user/ada/");
  await startAgain(to, one({ server: "deep" }));
  const start = ["POST", "/hub/api/users/ada/servers/deep", { factory: "one", size: "g1", environment: "plain", hours: 2 }];
  assert.deepEqual(asked, [start, start]);
  await assert.rejects(startAgain(to, one({ server: "deep" })), { status: 400, message: "No such size." });
  assert.equal(asked.length, 3);
});

describe("logins of the person's own", () => {
  test("a login is valid, ends soon, or has ended", () => {
    assert.equal(loginState({ until: inMinutes(120) }, NOW), "good");
    assert.equal(loginState({ until: inMinutes(20) }, NOW), "soon");
    assert.equal(loginState({ until: inMinutes(-1) }, NOW), "over");
    assert.equal(loginState({ until: null }, NOW), "over");
  });
});

describe("the room of a workshop", () => {
  const seat = (number, more = {}) => ({
    seat: number, taken: true, person: `p${number}`, name: "", state: "running", ready: true, stopping: false, words: null,
    position: null, expected_start: null, ends: null, last_activity: null, busy: false, gpu_percent: null, ...more,
  });
  const head = { total: 3, taken: 2, ready: 1 };
  const waits = seat(2, { state: "pending", ready: false, position: 3, words: { what: "Other jobs come first.", do: "Wait." } });
  const free = seat(3, { taken: false, person: null, state: null, ready: false });

  test("changes are put into the seats, and seats beyond the last one go", () => {
    assert.equal(room.merged(null, { head: null, seats: [] }), null);
    const first = room.merged(null, { head, seats: [seat(1), waits, free] });
    const next = room.merged(first, { head: null, seats: [seat(2)] });
    assert.deepEqual(next.seats.map((one) => one.ready), [true, true, false]);
    assert.equal(next.total, 3);
    assert.deepEqual(room.merged(next, { head: { ...head, total: 1 }, seats: [] }).seats.map((one) => one.seat), [1]);
  });

  test("each state has words and a mark of its own", () => {
    const states = [
      seat(1), waits, free, seat(1, { state: null, ready: false }), seat(1, { ready: false }), seat(1, { stopping: true }),
      seat(1, { state: "ended", ready: false, stopping: true }), seat(1, { state: "unreachable", ready: false }),
    ].map(room.standing);
    assert.deepEqual(states, ["ready", "pending", "free", "none", "running", "ending", "ended", "unreachable"]);
    assert.deepEqual(states.map(room.standingWords),
      ["Ready", "In the queue", "Free", "Not started", "Starting", "Ending", "Ended", "Not answering"]);
  });

  test("who is not ready is found", () => {
    const numbers = (filter) => room.shown([seat(1), waits, free], filter).map((one) => one.seat);
    assert.deepEqual([numbers("all"), numbers("taken"), numbers("waiting")], [[1, 2, 3], [1, 2], [2]]);
  });

  test("a seat says why it waits, and what it does", () => {
    assert.equal(room.line(waits, NOW), "number 3 in the queue · Other jobs come first. Wait.");
    const works = seat(1, { last_activity: inMinutes(-1), busy: true, gpu_percent: 37 });
    assert.equal(room.line(works, NOW), "computing · GPU 37%");
    assert.match(room.line(seat(1, { last_activity: inMinutes(-20) }), NOW), /^idle for 20 mins?$/);
    assert.equal(room.line(free, NOW), "");
    const refused = seat(2, { state: null, ready: false, session: null, words: { what: "No account is clean.", do: "Ask." } });
    assert.equal(room.line(refused, NOW), "No account is clean. Ask."); // why it could not be begun
  });

  test("raised hands come in order of time, and those that nobody comes to come first", () => {
    const raised = (number, minutes, place) => seat(number, { hand: { since: inMinutes(minutes), place } });
    const seats = [seat(1), raised(2, -1, 2), raised(3, -9, 0), raised(4, -5, 1)];
    assert.deepEqual(hands.hands(seats).map((one) => one.seat), [4, 2, 3]);
    assert.equal(hands.newHands(null, seats), null); // what the page shows is read anyway
    assert.equal(hands.newHands(seats, seats), null);
    assert.equal(hands.newHands([raised(3, -9, 0)], seats), "Hand up: seat 4, 2");
    assert.equal(hands.newHands(seats, [seat(2)]), null);
  });

  test("what may be done to a seat depends on the role, on what runs, and on what is being done", () => {
    const all = { stop: true, start: true };
    const none = seat(1, { state: null, ready: false });
    assert.deepEqual(room.acts(seat(1), all), ["stop", "restart", "reset"]);
    assert.deepEqual(room.acts(waits, { stop: true, start: false }), ["stop"]);
    assert.deepEqual(room.acts(none, all), ["start", "reset"]);
    assert.deepEqual(room.acts(seat(1, { state: "ended", ready: false }), all), ["start", "reset"]);
    assert.deepEqual(room.acts(free, all), []);
    assert.deepEqual(room.acts(seat(1), { stop: false, start: false }), []);
    assert.deepEqual(room.acts({ ...none, act: { act: "start", state: "starting" } }, all), ["stop"]);
    assert.deepEqual(room.acts({ ...none, act: { act: "start", state: "failed" } }, all), ["start", "reset"]);
  });

  test("how far it is, and why it failed, is in words", () => {
    const act = (state, why = null) => room.progress(seat(1, { act: { act: "reset", state, why } }));
    assert.equal(room.progress(seat(1)), "");
    assert.equal(room.progress(seat(1, { act: null })), "");
    assert.equal(act("stopping"), "The old session ends…");
    assert.equal(act("failed", { text: "The budget is used up." }), "Not done: The budget is used up.");
    assert.equal(act("of a later release"), "");
  });

  test("before anything is lost, the question says what", () => {
    for (const act of ["stop", "restart", "reset"]) assert.match(room.question(1, act).lost, /everything in memory is lost/);
    assert.match(room.question(1, "reset").lost, /own files of the class stay/);
    assert.notEqual(room.question(1, "reset").go, room.question(1, "restart").go);
  });

  test("a seat says how many steps were done, and which was the furthest", () => {
    const steps = [{ notebook: "a/first.ipynb", name: "", done: 2 }, { notebook: "b.ipynb", name: "Train", done: 1 }];
    assert.equal(room.stepLine(seat(1, { step: 2, step_last: 1 }), steps), "2 of 2 steps done · Train");
    assert.equal(room.stepLine(seat(1, { step: 0, step_last: null }), steps), "0 of 2 steps done");
    assert.equal(room.stepLine(seat(1, { step: null }), steps), "");
    assert.equal(room.stepLine(seat(1, { step: 1, step_last: 0 }), []), "");
    assert.equal(room.stepName(steps[0], 0), "Step 1: a/first");
    assert.equal(room.stepName(steps[1], 1), "Step 2: Train");
  });

  test("how many are ready is announced rarely, and at once when all are", () => {
    const told = room.announcer();
    assert.equal(told({ ...head, taken: 3, ready: 0 }, 0), null); // what the page shows is read anyway
    assert.equal(told({ ...head, taken: 3, ready: 1 }, 1000), null);
    assert.equal(told({ ...head, taken: 3, ready: 2 }, 15_000), "2 of 3 ready");
    assert.equal(told({ ...head, taken: 3, ready: 2 }, 60_000), null);
    assert.equal(told({ ...head, taken: 3, ready: 3 }, 60_500), "Everybody who has a seat is ready.");
  });
});

/** A form on a page with the Navigation API, or without. `press` returns whether the form was sent. */
function formThatSendsOnce({ tellsOfStop }) {
  const form = new EventTarget();
  const page = Object.assign(new EventTarget(), tellsOfStop ? { navigation: new EventTarget() } : {});
  const clock = { now: 1000 };
  let answer = null; // the navigation to the answer
  sendOnce(form, page, () => clock.now);
  return {
    page, clock,
    press() {
      const sent = form.dispatchEvent(new Event("submit", { cancelable: true }));
      if (sent) {
        answer = new AbortController();
        page.navigation?.dispatchEvent(Object.assign(new Event("navigate"), { signal: answer.signal }));
      }
      return sent;
    },
    stop: () => answer.abort(),
  };
}

for (const tellsOfStop of [true, false])
  test(`a form is sent once, however often its button is pressed (tells of Stop: ${tellsOfStop})`, () => {
    const form = formThatSendsOnce({ tellsOfStop });
    assert.equal(form.press(), true);
    assert.equal(form.press(), false);
    form.clock.now += AGAIN_MS - 1;
    assert.equal(form.press(), false);
  });

test("a form can be sent again at once after Stop", () => {
  const form = formThatSendsOnce({ tellsOfStop: true });
  for (let round = 0; round < 3; round++) {
    assert.equal(form.press(), true);
    assert.equal(form.press(), false);
    form.stop();
  }
});

test("a form can be sent again after Stop, also in a browser that does not tell of it", () => {
  const form = formThatSendsOnce({ tellsOfStop: false });
  assert.equal(form.press(), true);
  form.clock.now += AGAIN_MS;
  assert.equal(form.press(), true);
  assert.equal(form.press(), false);
});

test("a form of a page to which one comes back can be sent again", () => {
  const form = formThatSendsOnce({ tellsOfStop: true });
  form.press();
  form.page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(form.press(), true);
});

test("a join code is taken from a link's fragment, and nothing else is", () => {
  assert.equal(codeIn("#K7QD-XW3M-9RTA"), "K7QD-XW3M-9RTA");
  assert.equal(codeIn("#code=k7qd-xw3m-9rta"), "K7QD-XW3M-9RTA");
  for (const hash of ["", "#", "#fg-content", "#<img src=x>", `#${"A".repeat(200)}`, "#K7QD XW3M 9RTA"]) assert.equal(codeIn(hash), "");
});
