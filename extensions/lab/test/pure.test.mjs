// What is pure in the extension: reading what is told, its language, what was shown. Run: node --test
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, describe, test } from "node:test";

import { ENGLISH, readCatalogue, use } from "../lib/frontend/common/translate.js";
import { errorOf, MOST_SENT, plain } from "../lib/lab/src/hand.js";
import { endOf, NOTICES, own, readExportPlan, readExportProgress, readOverview, step } from "../lib/lab/src/model.js";
import { Shown } from "../lib/lab/src/shown.js";
import { readCells, readSteps, stepOf } from "../lib/lab/src/step_model.js";
import { words } from "../lib/lab/src/words.js";

const NOW = Date.parse("2026-03-10T12:00:00Z");
const WALLTIME = { kind: "walltime", at: "2026-03-10T12:14:00Z", minutes: 15 };

describe("reading an overview", () => {
  test("a valid overview is read", () => {
    const told = readOverview({
      session: "a", now: "2026-03-10T12:00:00Z", ends: "2026-03-10T12:15:00Z", notice: WALLTIME, home: "/hub/home",
      use: { memory: 5, memory_limit: null, gpus: [{ name: "A100", percent: 0, memory: 1, memory_limit: 2 }] },
      sessions: [{ id: "a", server: "", state: "running", machine: "Leonardo", size: "1 x A100", url: "/user/x/", extend_hours: 2 }],
      clusters: [{ id: "c", name: "dask", state: "running", counts: { running: 2, pending: 0 } }],
      messages: [{ id: "1", text: "Hello", kind: "warning" }],
    });
    assert.equal(told.now, NOW);
    assert.deepEqual(told.notice, { kind: "walltime", at: NOW + 14 * 60_000, minutes: 15 });
    assert.equal(told.use.gpus[0].percent, 0);
    assert.equal(own(told).machine, "Leonardo");
    assert.equal(own(told).budget, null);
    assert.deepEqual(told.clusters[0].counts, [["running", 2]]);
    assert.deepEqual(told.messages, [{ id: "1", text: "Hello", kind: "warning" }]);
  });

  for (const told of [null, undefined, 5, "x", [], {}, { sessions: {} }, { sessions: [null, 5, { id: 7 }] }, { messages: "x" },
    { notice: { kind: "walltime", at: "soon" } }, { notice: { kind: "fire", at: "2026-03-10T12:00:00Z" } }, { use: { memory: -1 } },
    { use: { memory: "much" } }, { ends: 5 }, { messages: [{ id: "", text: "x" }] }, { clusters: [{ counts: 5 }] }]) {
    test(`the invalid overview ${JSON.stringify(told)} is ignored`, () => {
      const { now, ...read } = readOverview(told);
      assert.ok(Number.isFinite(now));
      assert.deepEqual(read, {
        session: "", ends: null, notice: null, messages: [], use: null, sessions: [], clusters: [], help: null, home: "", trouble: "",
      });
    });
  }

  for (const home of ["javascript:alert(1)", "data:text/html,x", "//elsewhere/hub", "hub/home", " /x"]) {
    test(`${home} is not accepted as an address`, () => assert.equal(readOverview({ home }).home, ""));
  }

  test("a message of an unknown kind is shown as an information", () => {
    assert.equal(readOverview({ messages: [{ id: "1", text: "x", kind: "fatal" }] }).messages[0].kind, "info");
  });

  test("once the end is announced, only one time is shown", () => {
    const { notice } = readOverview({ notice: WALLTIME });
    assert.equal(endOf(NOW, notice), notice.at);
    assert.equal(endOf(NOW, { ...notice, kind: "idle" }), NOW);
    assert.equal(endOf(NOW, null), NOW);
  });

  test("a warning is new at 5 minutes, after the end moved, and in another session", () => {
    const { notice } = readOverview({ notice: WALLTIME });
    const steps = [step("a", notice), step("a", { ...notice, minutes: 5 }), step("a", { ...notice, at: NOW }), step("b", notice)];
    assert.equal(new Set(steps).size, steps.length);
    assert.equal(step("a", { ...notice }), steps[0]);
  });
});

describe("notices", () => {
  test("every notice that the link may send is known and has its own text", () => {
    const models = readFileSync(new URL("../../../spawners/factorycommon/models/sessions.py", import.meta.url), "utf8");
    const link = /class Notice\(Model\):.*?kind: Literal\[(.*?)\]/s.exec(models)[1].match(/(?<=")[a-z]+(?=")/g);
    assert.deepEqual([...NOTICES].sort(), link.sort());
    const texts = NOTICES.map((kind) => words.notice(kind, NOW, NOW));
    assert.equal(new Set(texts).size, NOTICES.length);
    for (const text of texts) assert.match(text, /\d\d:\d\d/);
    for (const kind of [...NOTICES, null]) assert.match(words.over(kind), /\.$/);
    for (const kind of NOTICES) {
      assert.equal(readOverview({ notice: { kind, at: "2026-03-10T12:14:00Z", minutes: 15 } }).notice.kind, kind);
    }
  });

  const ACCESS = { kind: "access", at: "2026-03-10T12:10:00Z", minutes: 15 };
  const told = (more, access = ACCESS) =>
    readOverview({ session: "a", now: "2026-03-10T12:00:00Z", sessions: [{ id: "a", notice: access }], ...more });
  const message = { id: `access-${(NOW + 600_000) / 1000}`, text: "English", kind: "warning" };

  test("the notice names what ends first: the time limit, or the person's access", () => {
    assert.deepEqual(told({}).notice, { kind: "access", at: NOW + 600_000, minutes: 15 });
    assert.equal(told({ notice: WALLTIME }).notice.kind, "access");
    assert.equal(told({ notice: { ...WALLTIME, at: "2026-03-10T12:05:00Z" } }).notice.kind, "walltime");
    assert.equal(told({}, WALLTIME).notice, null); // the clock tells of the walltime, and is newer
    assert.equal(readOverview({ session: "b", sessions: [{ id: "a", notice: ACCESS }] }).notice, null); // another session's
    assert.equal(endOf(null, told({}).notice), NOW + 600_000);
  });

  test("a message with the same news is shown as the notice, until the gateway sends something newer", () => {
    const { notice, messages } = told({ sessions: [], messages: [message] });
    assert.deepEqual(notice, { kind: "access", at: NOW + 600_000, minutes: 15 });
    assert.deepEqual(messages, []);
    assert.equal(step("a", notice), step("a", told({}).notice)); // it is not said twice
    assert.equal(told({ messages: [message] }, null).notice, null); // access came back
    assert.equal(told({ messages: [message], trouble: "It is silent." }, null).notice.kind, "access");
    assert.equal(told({ sessions: [], messages: [{ ...message, id: "access-soon" }] }).messages.length, 1);
  });
});

describe("help in a workshop", () => {
  const hand = { since: "2026-03-10T11:50:00Z", place: 2, by: "", asked_by: "Tina" };
  const look = { file: "a.ipynb", until: "2026-03-10T12:30:00Z", seen_by: ["Tina", 5] };

  test("what the person asked for is read", () => {
    const { help } = readOverview({ help: { open: true, hand, look, trouble: "" } });
    assert.deepEqual(help.hand, { since: NOW - 600_000, place: 2, by: "", askedBy: "Tina" });
    assert.deepEqual(help.look, { file: "a.ipynb", until: NOW + 1_800_000, seenBy: ["Tina"] });
    assert.match(words.helpShort(help), /^Hand up · Helpers see a\.ipynb$/);
    assert.equal(words.helpShort(null), "");
  });

  for (const told of [{ open: "yes" }, { hand: { since: "soon" }, look: { file: 5, until: 5 } }, { hand: [], look: "x" }]) {
    test(`${JSON.stringify(told)} is no hand and no consent`, () =>
      assert.deepEqual(readOverview({ help: told }).help, { open: false, hand: null, look: null, trouble: "" }));
  }

  test("what is shown and sent is plain text, and bounded", () => {
    assert.equal(plain("if x:\n\ty()\r\n\u001b[31mz\u001b[0m\u202e\u0000"), "if x:\n    y()\nz\ufffd\ufffd");
    assert.equal(plain("x".repeat(2 * MOST_SENT)).length, MOST_SENT);
  });

  test("the error of a cell is found in its outputs, without colours", () => {
    const error = { output_type: "error", traceback: ["\u001b[0;31mNameError\u001b[0m", "x", 5] };
    assert.equal(errorOf([{ output_type: "stream", text: "a" }, error]), "NameError\nx");
    assert.ok(errorOf([{ output_type: "error", traceback: ["y".repeat(2 * MOST_SENT), "the end"] }]).endsWith("the end"));
    for (const none of [undefined, null, 5, [], [null, 5, { output_type: "error" }]]) assert.equal(errorOf(none), "");
  });
});

describe("languages", () => {
  afterEach(() => use(ENGLISH));

  const german = { language: "de", plural: "10", texts: {
    "{n} document saved.": ["{n} Dokument gespeichert.", "{n} Dokumente gespeichert."], "Save all": "Alles speichern", broken: 5,
  } };

  test("translated texts are shown, the others stay English", () => {
    use(readCatalogue(german));
    assert.deepEqual([words.language, words.saveAll, words.ended], ["de", "Alles speichern", "Session ended"]);
    assert.deepEqual([words.saved(1), words.saved(0)], ["1 Dokument gespeichert.", "Everything is already saved."]);
    use(readCatalogue({ ...german, plural: "10".padEnd(200, "1") }));
    assert.equal(words.saved(1234), "1.234 Dokumente gespeichert.");
    assert.match(words.left(4800), /^1 Std\. 20 Min\. left$/);
    assert.equal(readCatalogue(german).texts.broken, undefined);
  });

  for (const told of [null, 5, {}, { language: "de" }, { language: 5, texts: {}, plural: "" }, { language: "de", texts: null, plural: "" }]) {
    test(`${JSON.stringify(told)} is no catalogue`, () => assert.equal(readCatalogue(told), ENGLISH));
  }
});

describe("what was shown", () => {
  const store = (content) => {
    const kept = new Map(content ? [["factorygate-lab:shown", content]] : []);
    return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) };
  };
  const one = { id: "1", text: "Hello", kind: "info" };

  test("a message is shown only once, even if the page is loaded again", () => {
    const storage = store();
    assert.deepEqual(new Shown(storage).fresh("a", [one]), [one]);
    assert.deepEqual(new Shown(storage).fresh("a", [one, { ...one, id: "2" }]), [{ ...one, id: "2" }]);
    assert.deepEqual(new Shown(storage).fresh("b", [one]), [one]); // another session's
  });

  for (const content of ["{", "5", '{"a":1}', "[5]"]) {
    test(`invalid stored data (${content}) hides no message`, () => {
      assert.deepEqual(new Shown(store(content)).fresh("a", [one]), [one]);
    });
  }
});

describe("the download of one's work", () => {
  test("what a zip would have is read", () => {
    const plan = readExportPlan({
      files: 2, bytes: 5, whole: true, most_files: 50, most_bytes: 100, counts: { link: 3, closed: 0 }, paths: { link: ["a -> /etc", 5] },
    });
    assert.deepEqual(plan, { files: 2, bytes: 5, whole: true, mostFiles: 50, mostBytes: 100, left: [["link", 3, ["a -> /etc"]]] });
  });

  for (const told of [null, 5, "x", [], {}, { whole: "yes", counts: 5, paths: [], files: -1 }]) {
    test(`of the invalid answer ${JSON.stringify(told)} nothing is downloaded`, () => {
      const plan = readExportPlan(told);
      assert.deepEqual([plan.files, plan.whole, plan.left], [0, false, []]);
      assert.equal(readExportProgress(told).state, "running");
    });
  }

  test("a download has ended only if the server says so", () => {
    assert.deepEqual(readExportProgress({ files: 1, bytes: 2, state: "cut" }), { files: 1, bytes: 2, state: "cut" });
    assert.equal(readExportProgress({ state: "almost" }).state, "running");
  });
});

describe("the steps of a workshop", () => {
  const step = (cell, name = "", notebook = "a.ipynb") => ({ notebook, cell, name });
  const notebook = (...cells) => () => readCells({ cells: cells.map(([id, ...tags]) => ({ id, cell_type: "code", metadata: { tags } })) });
  const never = () => assert.fail("the cells are not needed");

  test("a cell is known by its id, in its own notebook only", () => {
    const steps = [step("c1"), step("c2"), step("c1", "", "b.ipynb")];
    assert.equal(stepOf(steps, "b.ipynb", "c1", never), 2);
    assert.equal(stepOf(steps, "a.ipynb", "c2", never), 1);
    assert.equal(stepOf(steps, "a.ipynb", "mine", never), null);
    assert.equal(stepOf(steps, "c.ipynb", "c1", never), null);
  });

  test("in a notebook without ids it is known by its name, or by its place", () => {
    const named = [step("", "load"), step("", "train")];
    assert.equal(stepOf(named, "a.ipynb", "n2", notebook(["n1"], ["n2", "step:train"])), 1);
    const plain = [step(""), step("")];
    assert.equal(stepOf(plain, "a.ipynb", "n3", notebook(["n1", "step"], ["n2"], ["n3", "step"])), 1);
    assert.equal(stepOf(plain, "a.ipynb", "n3", notebook(["n3", "step"])), null); // the person has deleted one: not clear which
    assert.equal(stepOf(plain, "a.ipynb", "n1", notebook(["n1"], ["n2", "step"], ["n3", "step"])), null);
  });

  for (const told of [null, 5, { cells: 5 }, { cells: [null, 5, { metadata: { tags: [5, "steps", "x:step"] } }] }]) {
    test(`the invalid notebook ${JSON.stringify(told)} has no steps`, () => {
      assert.deepEqual(readCells(told).filter((cell) => cell.tag !== null), []);
    });
  }

  test("what the server names is read", () => {
    assert.deepEqual(readSteps({ steps: [{ notebook: "a", cell: 5, name: "n" }, null], done: [0, "1", 1.5] }), {
      steps: [{ notebook: "a", cell: "", name: "n" }, { notebook: "", cell: "", name: "" }], done: [0],
    });
    assert.deepEqual(readSteps(null), { steps: [], done: [] });
  });
});
