/** Dask clusters on Home: the live ones, each with a button to close it, and the last that ended. */

import { Trouble, ask } from "./api.js";
import { aboutLine, dashboard, headLine, hoursLine, jobs, jobsLine, standing } from "./cluster.js";
import { announce, byId, h, render } from "../common/dom.js";
import { clock, secondsBetween, span } from "../common/format.js";
import { names } from "./session.js";
import { wordsBox } from "./session_view.js";
import { W } from "../common/words.js";

const RECENT = 3;

/**
 * `closing`: the button was pressed; `trouble`: why closing failed; `on.close(cluster)`: called when the button is
 * pressed.
 */
function card(cluster, { factories, sessions, now }, closing, trouble, on) {
  const named = names(cluster, factories);
  const [dot, words] = standing(cluster);
  const ending = closing || cluster.state === "ending";
  const lines = [jobsLine(cluster), hoursLine(cluster, now), headLine(cluster, now)].filter(Boolean);
  const address = dashboard(cluster);
  const id = `cluster-${cluster.id}`;
  return h("article", { class: "fg-session", key: cluster.id, "aria-labelledby": id, "data-cluster": cluster.name },
    h("header", { class: "fg-session-head" },
      h("h3", { id }, cluster.name),
      h("span", { class: `fg-status fg-status-${dot}` }, h("span", { class: "fg-dot", "aria-hidden": "true" }), words)),
    h("p", { class: "fg-session-what" }, h("strong", {}, named.machine), ` · ${named.size}`,
      h("span", { class: "fg-quiet fg-line" }, aboutLine(cluster, sessions, now))),
    lines.map((line) => h("p", { class: "fg-session-line" }, line)),
    cluster.wrong ? wordsBox(cluster.wrong, "fg-notice-warn", W.details) : null,
    cluster.waits_for && !cluster.wrong
      ? h("p", { class: "fg-quiet" }, `${cluster.waits_for.what} ${cluster.waits_for.do ?? ""}`.trim()) : null,
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null,
    h("div", { class: "fg-buttons" },
      address ? h("a", {
        href: address, class: "btn btn-sm fg-primary", target: "_blank", rel: "noopener noreferrer",
        "aria-label": W.named(W.cluster.dashboard, cluster.name),
      }, W.cluster.dashboard) : null,
      h("button", {
        type: "button", class: "btn btn-sm btn-outline-danger", key: `close-${cluster.id}`, "aria-disabled": String(ending),
        "aria-label": W.named(ending ? W.cluster.closing : W.cluster.close, cluster.name), onclick: () => on.close(cluster),
      }, ending ? W.cluster.closing : W.cluster.close)));
}

/** An ended cluster, and why it ended. */
function row(cluster, { factories, now }) {
  const named = names(cluster, factories);
  const ran = span(secondsBetween(cluster.created, cluster.ended) ?? 0);
  const did = [cluster.counts.ended ? W.cluster.ran(cluster.counts.ended) : "", hoursLine(cluster, now)];
  return h("li", { class: "fg-ended", key: cluster.id },
    h("div", { class: "fg-ended-main" },
      h("p", {}, h("strong", {}, cluster.name), ` · ${[named.machine, named.size, ...did].filter(Boolean).join(" · ")}`),
      h("p", { class: "fg-quiet" },
        `${cluster.end ? W.state.ended : W.cluster.closed} · ${W.endedAt(clock(cluster.ended, now), ran)}`),
      cluster.end ? h("p", {}, [cluster.end.what, cluster.end.do].filter(Boolean).join(" ")) : null));
}

/** `part`: the section on the page; `to`: URLs. */
export function clusters(part, to) {
  const dialog = byId("fg-close");
  const closing = new Set();
  const troubles = new Map();
  let live = [];
  let over = [];
  let asking = null;
  let around = { factories: [], sessions: [] };
  let heard = false;
  let asked = 0;

  function draw() {
    const told = { ...around, now: Date.now() };
    part.hidden = live.length + over.length === 0;
    render(part.querySelector("#fg-clusters"),
      live.map((one) => card(one, told, closing.has(one.id), troubles.get(one.id), on)));
    const list = part.querySelector("#fg-clusters-ended");
    list.parentElement.hidden = over.length === 0;
    render(list, over.slice(0, RECENT).map((one) => row(one, told)));
  }

  /** Requests the ended clusters, which are in no stream. */
  async function refresh() {
    asked += 1;
    const mine = asked;
    try {
      const told = await ask(to.clusters);
      if (mine !== asked) return;
      over = told.filter((one) => one.state === "ended");
      draw();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error; // the page itself shows that the gateway does not answer
    }
  }

  async function close(cluster) {
    closing.add(cluster.id);
    troubles.delete(cluster.id);
    draw();
    try {
      await ask(to.cluster(cluster.id), { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      troubles.set(cluster.id, [error.message, error.advice].filter(Boolean).join(" "));
      closing.delete(cluster.id);
      draw();
    }
  }

  const on = {
    close(cluster) {
      if (closing.has(cluster.id) || cluster.state === "ending") return;
      asking = cluster;
      dialog.querySelector("h2").textContent = W.cluster.closeHead(cluster.name);
      const { running, waiting } = jobs(cluster);
      dialog.querySelector("#fg-close-jobs").textContent = running + waiting ? jobsLine(cluster) : "";
      dialog.showModal();
    },
  };

  // The event comes shortly after the dialog closed; the person may have opened it again by then.
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "go") close(asking);
    dialog.returnValue = "";
  });

  return {
    /** Takes the live clusters; for a missing one, asks the gateway how it ended. */
    hear(told) {
      const fresh = new Map(told.map((one) => [one.id, one]));
      const gone = live.filter((one) => !fresh.has(one.id));
      for (const known of live) {
        const one = fresh.get(known.id);
        const words = one ? standing(one)[1] : W.state.ended;
        if (standing(known)[1] !== words) announce(W.named(known.name, words));
      }
      for (const { id } of gone) {
        closing.delete(id);
        troubles.delete(id);
      }
      live = told;
      draw();
      if (gone.length || !heard) refresh();
      heard = true;
    },
    /** The live clusters. */
    get live() {
      return live;
    },
    /** Other data of the page: {factories, sessions}. */
    show(known) {
      around = known;
      draw();
    },
  };
}
