// The connection check's verdicts, and pages whose event streams are held back. Run: node --test tests/unit/*.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, mock, test } from "node:test";

import { gatewayOf, report } from "../../extensions/frontend/connection/report.js";
import { BUSY, TESTS, judge, megabits, overall } from "../../extensions/frontend/connection/verdicts.js";
import { RESULT, SUMMARY, TEST, VERDICT } from "../../extensions/frontend/connection/words.js";
import { FIRST_EVENT, NO_EVENT, POLL, STREAM_AGAIN, follow } from "../../extensions/frontend/pages/api.js";

const MB = 1_000_000;

// test, facts, verdict, code
const TABLE = [
  ["browser", { missing: [], storage: true }, "good", "browser-fits"],
  ["browser", { missing: ["IndexedDB"], storage: true }, "bad", "browser-old"],
  ["browser", { missing: ["IndexedDB"], storage: false }, "bad", "browser-old"],
  ["browser", { missing: [], storage: false }, "limited", "no-storage"],
  ["cookies", { kept: true }, "good", "cookies-kept"],
  ["cookies", { kept: false }, "bad", "cookies-lost"],
  ["cookies", { kept: null }, "unknown", "not-tested"], // there was no answer that could say so
  ["trip", { times: [20, 30, 9000, 25, 40], failed: 0 }, "good", "answers"], // one late answer is no slow network
  ["trip", { times: [600, 700, 20], failed: 0 }, "limited", "answers-slow"],
  ["trip", { times: [20, 30, 25, 40], failed: 1 }, "limited", "answers-lost"],
  ["trip", { times: [], failed: 5 }, "bad", "no-answer"],
  ["trip", { times: [], failed: 5, busy: true }, "unknown", "not-tested"],
  ["download", { bytes: 2 * MB, ms: 1000 }, "good", "download"],
  ["download", { bytes: MB, ms: 5000 }, "limited", "download-slow"],
  ["download", { bytes: 0.1 * MB, ms: 5000 }, "bad", "download-useless"],
  ["download", { bytes: 0, ms: 0 }, "bad", "download-blocked"],
  ["download", { busy: true }, "unknown", "not-tested"],
  ["upload", { bytes: 262_144, ms: 500 }, "good", "upload"],
  ["upload", { bytes: 262_144, ms: 15_000 }, "limited", "upload-slow"],
  ["upload", { bytes: 0, ms: 0 }, "bad", "upload-blocked"],
  ["stream", { arrivals: [10, 311, 612] }, "good", "stream"],
  ["stream", { arrivals: [10, 11, 612] }, "good", "stream"], // the first ones together, but not all of them
  ["stream", { arrivals: [612, 612, 613] }, "limited", "stream-held"],
  ["stream", { arrivals: [10, 311] }, "limited", "stream-cut"],
  ["stream", { arrivals: [] }, "limited", "stream-blocked"],
  ["socket", { opened: true, echoes: [9, 30, 12], closed: null }, "good", "socket"],
  ["socket", { opened: true, echoes: [9], closed: 1006 }, "bad", "socket-silent"],
  ["socket", { opened: false, echoes: [], closed: 1006 }, "bad", "socket-blocked"],
  ["socket", { opened: true, echoes: [], closed: BUSY }, "unknown", "not-tested"],
  ["socket", null, "unknown", "not-tested"],
];

describe("verdicts of the connection check", () => {
  for (const [name, facts, verdict, code] of TABLE) {
    test(`${name}: ${JSON.stringify(facts)} is ${code}`, () => {
      const result = judge(name, facts);
      assert.deepEqual([result.test, result.verdict, result.code], [name, verdict, code]);
    });
  }

  test("each code has words, and each text of the words has a code", () => {
    assert.deepEqual([...new Set(TABLE.map(([, , , code]) => code))].sort(), Object.keys(RESULT).sort());
    assert.deepEqual(Object.keys(TEST), [...TESTS]);
    assert.deepEqual(Object.keys(VERDICT).sort(), Object.keys(SUMMARY).sort());
  });

  test("what does not work says what it means, what to do, and what an IT department can do", () => {
    for (const [, , verdict, code] of TABLE) {
      const { means, help, staff } = RESULT[code];
      if (verdict === "bad") assert.ok(means && help && staff, code);
      if (verdict === "limited") assert.ok(means && help, code);
      if (verdict === "good") assert.ok(!means && !help && !staff, code);
    }
  });

  test("all tests together are as good as the worst one", () => {
    const of = (...verdicts) => overall(verdicts.map((verdict) => ({ verdict })));
    assert.equal(of("good", "good"), "good");
    assert.equal(of("good", "limited", "good"), "limited");
    assert.equal(of("unknown", "limited"), "unknown");
    assert.equal(of("limited", "bad", "unknown"), "bad");
  });

  test("speeds have two digits", () => {
    assert.equal(megabits({ bytes: 2_097_152, ms: 777 }), 22);
    assert.equal(megabits({ bytes: 100, ms: 0 }), 0.8);
  });

  test("the gateway closes a WebSocket with the code that means busy here", () => {
    const python = readFileSync(new URL("../../spawners/factoryspawner/pages/check/handlers.py", import.meta.url), "utf8");
    assert.equal(Number(/^BUSY = (\d+)/m.exec(python)[1]), BUSY);
  });

  test("the report names host, port and protocol, and no person", () => {
    const gateway = gatewayOf({ protocol: "https:", hostname: "hub.example", port: "" }, "/");
    assert.deepEqual(gateway, { host: "hub.example", port: "443", scheme: "https", base: "/" });
    assert.equal(gatewayOf({ protocol: "http:", hostname: "h", port: "8000" }, "/").port, "8000");
    const text = report([judge("download", { bytes: MB, ms: 5000 }), judge("socket", { opened: false, echoes: [], closed: 1006 })], gateway, "1 Dec 2026, 10:00");
    assert.equal(text, [
      "Connection check of hub.example, 1 Dec 2026, 10:00",
      "Result: You cannot take part from here yet",
      "",
      "Download: Works with limits",
      "1.6 Mbit/s, which is slow.",
      "What this means: JupyterLab takes up to a minute until it opens for the first time. Then your browser keeps its files.",
      "",
      "WebSocket, the connection to a notebook: Does not work",
      "The connection does not open, most likely because of a proxy or firewall in this network.",
      "What this means: JupyterLab opens, and you can read and save files, but no cell runs: there is no other way to a notebook’s kernel.",
      "For your IT department: Allow WebSockets to wss://hub.example:443: pass on requests with “Connection: Upgrade” and “Upgrade: websocket” (RFC 6455) to paths below /, and keep the connections open for hours. If the proxy cannot do this, exempt hub.example from it.",
      "",
    ].join("\n"));
  });
});

describe("a page that follows an event stream", () => {
  let streams, asked, listeners, heard, troubles, following, kept;

  class Stream {
    constructor(url) {
      Object.assign(this, { url, open: true, hears: {} });
      streams.push(this);
    }

    addEventListener(name, listener) {
      this.hears[name] = listener;
    }

    send(name, data) {
      this.hears[name]({ data: JSON.stringify(data) });
    }

    close() {
      this.open = false;
    }
  }

  const settled = () => new Promise((done) => setImmediate(done));

  /** Lets time pass, and then all answers arrive. */
  async function pass(ms) {
    mock.timers.tick(ms);
    for (let n = 0; n < 10; n += 1) await settled();
  }

  beforeEach(() => {
    streams = [];
    asked = [];
    listeners = {};
    heard = [];
    troubles = [];
    kept = new Map();
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
    globalThis.EventSource = Stream;
    Object.defineProperty(globalThis, "sessionStorage", {
      configurable: true, value: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) },
    });
    globalThis.window = { addEventListener: (name, listener) => (listeners[name] = listener), removeEventListener() {}, jhdata: { xsrf_token: "x" } };
    globalThis.document = {
      visibilityState: "visible", getElementById: () => null, removeEventListener() {},
      addEventListener: (name, listener) => (listeners[name] = listener),
    };
    mock.method(globalThis, "fetch", async (url) => {
      asked.push(url);
      return new Response(JSON.stringify([url, asked.length]));
    });
  });

  afterEach(() => {
    following.stop();
    mock.timers.reset();
    mock.restoreAll();
    for (const name of ["EventSource", "sessionStorage", "window", "document"]) delete globalThis[name];
  });

  async function begin(more = {}) {
    following = follow({
      url: "/list", events: "/events", event: "list", onData: (data) => heard.push(data),
      onTrouble: (error) => troubles.push(error.message), ...more,
    });
    await pass(0);
  }

  test("while the stream is alive, nothing is asked again", async () => {
    await begin();
    streams[0].send("alive", 1);
    for (let n = 0; n < 20; n += 1) {
      await pass(15_000);
      streams[0].send("alive", 1);
    }
    streams[0].send("list", ["x"]);
    assert.deepEqual(heard, [["/list", 1], ["x"]]);
    assert.equal(asked.length, 1);
    assert.equal(streams.length, 1);
  });

  test("a stream that is held back is closed, and its data are asked for every few seconds", async () => {
    const clusters = [];
    await begin({ polled: { "/clusters": (data) => clusters.push(data) } });
    await pass(FIRST_EVENT - 1);
    assert.deepEqual(asked, ["/list"]);
    await pass(1);
    assert.equal(streams[0].open, false); // it takes none of the few connections of a browser
    assert.deepEqual(asked, ["/list", "/list", "/clusters"]);
    await pass(POLL);
    await pass(POLL);
    assert.equal(heard.length, 4);
    assert.equal(clusters.length, 3);
    assert.equal(streams.length, 1);
    assert.deepEqual(troubles, []);
  });

  test("after some minutes, and when the network changes, a stream is tried again", async () => {
    await begin();
    await pass(FIRST_EVENT);
    for (let at = 0; at < STREAM_AGAIN; at += POLL) await pass(POLL);
    assert.equal(streams.length, 2);
    await pass(FIRST_EVENT);
    assert.equal(streams[1].open, false);
    listeners.online();
    await pass(0);
    assert.equal(streams.length, 3);
    streams[2].send("alive", 1);
    const before = asked.length;
    await pass(NO_EVENT - 1);
    assert.equal(asked.length, before); // it is not asked any more
  });

  test("the tab's next page does not wait for a stream in vain, and not for longer than said", async () => {
    await begin();
    await pass(FIRST_EVENT);
    following.stop();
    await begin();
    await pass(POLL);
    assert.equal(streams.length, 1);
    following.stop();
    for (const key of kept.keys()) kept.set(key, "9e99");
    await begin();
    await pass(STREAM_AGAIN);
    assert.equal(streams.length, 2);
    streams[1].send("alive", 1);
    following.stop();
    await begin();
    assert.equal(streams.length, 3); // streams work again
  });

  test("streams that end one after the other without an event are held back, too", async () => {
    await begin();
    for (let n = 0; n < 3; n += 1) {
      streams[n].onerror();
      await pass(10_000);
    }
    assert.equal(streams.length, 3);
    assert.equal(troubles.length, 2);
    const before = asked.length;
    await pass(POLL);
    assert.equal(asked.length, before + 1);
  });

  test("a stream that falls silent is opened anew", async () => {
    await begin();
    streams[0].send("alive", 1);
    await pass(NO_EVENT);
    assert.equal(streams[0].open, false);
    assert.equal(streams.length, 2);
    assert.deepEqual(troubles, []);
  });

  test("a hidden page asks nothing, and a stopped one never again", async () => {
    await begin();
    await pass(FIRST_EVENT);
    document.visibilityState = "hidden";
    listeners.visibilitychange();
    const before = asked.length;
    await pass(10 * POLL);
    assert.equal(asked.length, before);
    document.visibilityState = "visible";
    listeners.visibilitychange();
    await pass(0);
    assert.equal(asked.length, before + 1);
    following.stop();
    await pass(10 * POLL);
    assert.equal(asked.length, before + 1);
  });
});
