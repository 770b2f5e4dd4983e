// What a project's page makes of the lines it is told. Run: node --test tests/unit/usage.test.mjs
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { bars, grouped, sinceDay, total } from "../../extensions/frontend/pages/usage.js";

const line = (day, person, seconds, jobs = 1) => ({ day, person, factory: "one", gpu_seconds: seconds, jobs });
const LINES = [
  line("2026-02-27", "ada", 100), line("2026-02-27", "ben", 300, 2), line("2026-03-02", "ada", 50, 0),
];

describe("usage", () => {
  test("days are sorted and include days without sessions", () => {
    assert.deepEqual(grouped(LINES, "day"), [
      { key: "2026-02-27", jobs: 3, seconds: 400 },
      { key: "2026-02-28", jobs: 0, seconds: 0 },
      { key: "2026-03-01", jobs: 0, seconds: 0 },
      { key: "2026-03-02", jobs: 0, seconds: 50 },
    ]);
  });

  test("who used most comes first, and all sums are the same", () => {
    assert.deepEqual(grouped(LINES, "person").map((row) => row.key), ["ben", "ada"]);
    for (const by of ["day", "factory", "person"]) assert.deepEqual(total(grouped(LINES, by)), { jobs: 3, seconds: 450 });
    assert.deepEqual(total(grouped([], "day")), { jobs: 0, seconds: 0 });
  });

  test("bars have the height of their values and stay within the plot", () => {
    const drawn = bars(grouped(LINES, "day"), 720, 200);
    assert.deepEqual(drawn.map((bar) => bar.height), [200, 0, 0, 25]);
    for (const bar of drawn) assert.ok(bar.x >= 0 && bar.x + bar.width <= 720 && bar.y + bar.height === 200);
    assert.deepEqual(bars([], 720, 200), []);
  });

  test("a period counts today, in UTC", () => {
    const now = Date.parse("2026-03-02T23:59:00Z");
    assert.equal(sinceDay(30, now), "2026-02-01");
    assert.equal(sinceDay(1, now), "2026-03-02");
    assert.equal(sinceDay(0, now), "");
  });
});
