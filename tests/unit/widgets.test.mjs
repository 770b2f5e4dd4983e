// Pure parts of the notebook's widgets. Run: node --test tests/unit/widgets.test.mjs
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { NOTHING, figures, jobsOf, merged, pages } from "../../extensions/frontend/widgets/panel_state.js";
import { estimateOf, fitting, joined, same, told } from "../../extensions/frontend/widgets/picker_state.js";

describe("picker", () => {
  const catalogue = [{ id: "one", sizes: [{ size: { id: "s" }, gpu_label: "x" }] }, { id: "new", sizes: [] }];
  const now = (fits, start = null) => ({ one: { health: { state: "ok" }, partitions: [], sizes: { s: [fits, start] } } });

  test("a factory is shown once both its catalogue entry and its state have arrived", () => {
    const [factory, ...rest] = joined(catalogue, now(2, "2026-03-10T12:00:00Z"));
    assert.deepEqual(rest, []);
    assert.equal(factory.health.state, "ok");
    assert.deepEqual(factory.sizes[0],
      { size: { id: "s" }, gpu_label: "x", fits_now: 2, estimate: { start: "2026-03-10T12:00:00Z" } });
  });

  test("a size without an answer yet fits at no factory", () => {
    const passing = { one: { health: { state: "starting" }, partitions: [], sizes: {} } };
    assert.equal(joined(catalogue, passing)[0].sizes[0].fits_now, 0);
  });

  test("an estimate belongs to one factory, size and walltime", () => {
    const estimates = { of: "one/s", starts: [[1, "2026-03-10T12:00:00Z"], [0.25, null]] };
    assert.deepEqual(estimateOf(estimates, { factory: "one", size: "s" }, 1), { start: "2026-03-10T12:00:00Z" });
    assert.equal(estimateOf(estimates, { factory: "one", size: "s" }, 0.25), null);
    assert.equal(estimateOf(estimates, { factory: "one", size: "s" }, 4), undefined);
    assert.equal(estimateOf(estimates, { factory: "one", size: "other" }, 1), undefined);
    assert.equal(estimateOf({}, { factory: "one", size: "s" }, 1), undefined);
  });

  test("two choices are equal if Python knows the same values", () => {
    const choice = { factory: "one", size: "s", gpus: 1, environment: "e", hours: 1, idle_minutes: 60 };
    assert.deepEqual(told(choice), { factory: "one", size: "s", environment: "e", hours: 1, project: null });
    assert.ok(same(told(choice), choice));
    assert.ok(!same({ ...told(choice), hours: 2 }, choice));
    assert.ok(!same(null, choice) && !same(told(choice), null));
  });

  test("estimates are asked again once the number of jobs that fit has changed", () => {
    assert.notEqual(fitting(joined(catalogue, now(1))[0]), fitting(joined(catalogue, now(2))[0]));
    assert.equal(fitting(null), "null");
  });
});

describe("panel", () => {
  const whole = { whole: true, order: ["a", "b"], rows: { a: { state: "running" }, b: { state: "pending" } },
    filter: "all", first: 0, total: 2 };

  test("changed rows replace earlier ones, and other rows stay", () => {
    const shown = merged(merged(NOTHING, whole), { whole: false, rows: { a: { state: "lost", why: "x" } } });
    assert.deepEqual(shown.rows, { a: { state: "lost", why: "x" }, b: { state: "pending" } });
    assert.deepEqual([shown.order, shown.total, shown.filter], [["a", "b"], 2, "all"]);
  });

  test("rows that are no longer in the order disappear, and unknown rows are not invented", () => {
    const shown = merged(merged(NOTHING, whole), { whole: false, order: ["b", "c"], filter: "all", first: 0, total: 2 });
    assert.deepEqual(shown.order, ["b"]);
    assert.deepEqual(Object.keys(shown.rows), ["b"]);
  });

  test("a page that starts again keeps no rows", () => {
    const other = { ...whole, order: ["z"], rows: { z: { state: "ended" } }, first: 50, total: 51 };
    assert.deepEqual(merged(merged(NOTHING, whole), other).rows, { z: { state: "ended" } });
  });

  test("the list is split into pages", () => {
    const at = (first, shown, total) => pages({ first, total, order: Array.from({ length: shown }) });
    assert.deepEqual(at(0, 50, 120), { from: 1, to: 50, total: 120, earlier: null, later: 50 });
    assert.deepEqual(at(100, 20, 120), { from: 101, to: 120, total: 120, earlier: 50, later: null });
    assert.deepEqual(at(0, 0, 0), { from: 0, to: 0, total: 0, earlier: null, later: null });
  });

  test("a number of jobs is whole and within the limit", () => {
    assert.equal(jobsOf("12", 20), 12);
    assert.equal(jobsOf("0", 20), 0);
    for (const text of ["", " ", "x", "1.5", "-1", "21", "1e9", "NaN"]) {
      assert.equal(jobsOf(text, 20), null, text);
    }
  });

  test("figures name what is wrong", () => {
    const summary = { counts: { running: 1200, waiting: 3 }, lost: 0, failed: 2, workers: 4, threads: 32,
      memory: 480e9, spent: 10.256, committed: 4, cap: 10, per_hour: 4 };
    const text = Object.fromEntries(figures(summary).map((one) => [one.name, one]));
    assert.equal(text.running.text, "1,200");
    assert.equal(text.workers.text, "4 (32 threads, 480 GB)");
    assert.equal(text.spent.text, "10.26 of at most 10");
    assert.deepEqual([text.lost.bad, text.failed.bad, text.spent.bad], [false, true, true]);
    assert.equal(figures({ ...summary, cap: null, workers: 0 }).find((one) => one.name === "spent").text, "10.26");
  });
});
