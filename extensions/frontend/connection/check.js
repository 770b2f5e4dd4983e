/** The page of the connection check: does the tests, shows each result in words, and copies the report. */

import "./catalogue.js";

import { Trouble, ask } from "../pages/api.js";
import { announce, byId, h, render, settings } from "../common/dom.js";
import { dayAndTime } from "../common/format.js";
import { measure } from "./measure.js";
import { explained, gatewayOf, report } from "./report.js";
import { TESTS, judge, overall } from "./verdicts.js";
import { SUMMARY, TEST, VERDICT, W } from "./words.js";

const DOTS = { good: "free", limited: "wait", bad: "bad", unknown: "down" };
const NOTICES = { good: "", limited: " fg-notice-warn", bad: " fg-notice-bad", unknown: " fg-notice-warn" };

const page = settings("fg-connection");
const gateway = gatewayOf(location, page.base.replace(/hub\/$/, ""));

/** @type {{results: import("./verdicts.js").Result[], now: string | null, ended: Date | null}} */
const state = { results: [], now: null, ended: null };

const status = (dot, words) => h("span", { class: `fg-status fg-status-${dot}` },
  h("span", { class: "fg-dot", "aria-hidden": "true" }), words);

const labelled = (label, text) => (text ? h("p", {}, h("strong", {}, label), " ", text) : null);

/** A test, with its result as soon as there is one. */
function card(test) {
  const result = state.results.find((one) => one.test === test);
  const name = h("h2", {}, TEST[test]);
  if (!result) {
    const words = state.now === test ? W.testingHead : W.waits;
    return h("li", { key: test, class: "fg-test" }, h("header", {}, name, status("down", words)));
  }
  const { what, means, help, staff } = explained(result, gateway);
  return h("li", { key: test, class: "fg-test", "data-verdict": result.verdict, "data-code": result.code },
    h("header", {}, name, status(DOTS[result.verdict], VERDICT[result.verdict])),
    h("p", {}, what), labelled(W.means, means), labelled(W.help, help), labelled(W.staff, staff));
}

function draw() {
  render(byId("fg-tests"), TESTS.map(card));
  const done = state.ended !== null;
  byId("fg-after").hidden = !done;
  if (!done) {
    render(byId("fg-summary"), h("p", { class: "fg-notice" }, state.now ? W.testing(TEST[state.now]) : W.testingHead));
    return;
  }
  const verdict = overall(state.results);
  const [head, text] = SUMMARY[verdict];
  render(byId("fg-summary"),
    h("div", { class: `fg-notice${NOTICES[verdict]}`, "data-verdict": verdict }, h("p", {}, h("strong", {}, head)), h("p", {}, text)));
}

async function run() {
  Object.assign(state, { results: [], now: null, ended: null });
  byId("fg-copied").textContent = "";
  byId("fg-report").hidden = true;
  const sent = byId("fg-sent");
  if (sent) sent.textContent = "";
  await measure(`${page.base}check/`, (test) => {
    state.now = test;
    draw();
  }, (test, facts) => {
    const result = judge(test, facts);
    state.results.push(result);
    announce(W.line(TEST[test], VERDICT[result.verdict]));
    draw();
  });
  state.ended = new Date();
  draw();
}

/** Without https a page cannot write to the clipboard: then the report is shown and selected, to be copied by hand. */
async function copy() {
  const text = report(state.results, gateway, dayAndTime((state.ended ?? new Date()).toISOString()));
  const shown = byId("fg-report");
  shown.textContent = text;
  shown.hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    byId("fg-copied").textContent = W.copied;
  } catch {
    getSelection()?.selectAllChildren(shown);
    byId("fg-copied").textContent = W.selected;
  }
}

/** Sends the verdicts, without figures, to a workshop of the person's. */
async function send(event) {
  event.preventDefault();
  const tests = Object.fromEntries(state.results.map((one) => [one.test, one.verdict]));
  byId("fg-sent").textContent = W.sending;
  try {
    await ask(byId("fg-send").dataset.url, { method: "POST", body: { workshop: byId("fg-workshop").value, tests } });
    byId("fg-sent").textContent = W.sent;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    byId("fg-sent").textContent = error.message;
  }
}

byId("fg-send")?.addEventListener("submit", send);
byId("fg-check-again").addEventListener("click", run);
byId("fg-copy").addEventListener("click", copy);
run();
