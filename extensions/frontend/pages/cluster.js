/** Pure functions of Cluster JSON: its state and its use, as texts. */

import { msOf, number, secondsBetween, span } from "../common/format.js";
import * as session from "./session.js";
import { W } from "../common/words.js";

const HOUR = 3_600_000;

/** {running, waiting, unreachable}: the numbers of its jobs that have not ended. */
export function jobs({ counts }) {
  const of = (...states) => states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  return { running: of("running"), waiting: of("asked", "pending"), unreachable: of("unreachable") };
}

/** [kind of dot, text] of the cluster; it can do nothing without its scheduler. */
export function standing(cluster) {
  if (cluster.state !== "live") return ["wait", W.state[cluster.state]];
  const head = cluster.head?.state ?? "running";
  if (head !== "running") return [head === "unreachable" ? "down" : "wait", W.state[head]];
  const { running, waiting, unreachable } = jobs(cluster);
  if (unreachable) return ["down", W.state.unreachable];
  if (running) return ["free", W.state.running];
  return waiting ? ["wait", W.state.pending] : ["down", W.cluster.none];
}

/** "4 jobs running · 2 waiting" */
export function jobsLine(cluster) {
  const told = Object.entries(jobs(cluster)).filter(([, number]) => number > 0);
  return told.length ? told.map(([name, number]) => W.cluster[name](number)).join(" · ") : W.cluster.none;
}

/** The used and reserved GPU-hours now, computed from the gateway's last report, since they change evenly. */
export function gpuHours({ gpu_hours: told }, now) {
  const moved = Math.min(told.committed, told.per_hour * Math.max(0, now - msOf(told.at)) / HOUR);
  return { spent: told.spent + moved, committed: told.committed - moved };
}

/** The same as text; "" if there are no GPUs and no limit. */
export function hoursLine(cluster, now) {
  const { cap } = cluster.gpu_hours;
  if (!cluster.gpus && cap === null) return "";
  const { spent, committed } = gpuHours(cluster, now);
  const used = cap === null ? W.cluster.hours(number(spent)) : W.cluster.hoursOf(number(spent), number(cap));
  return committed > 0 ? `${used} · ${W.cluster.committed(committed, number(committed))}` : used;
}

/** How long the cluster exists, and its session; `sessions`: those that the page knows. */
export function aboutLine(cluster, sessions, now) {
  const owner = sessions.find((one) => one.id === cluster.session);
  return [
    W.cluster.liveFor(span(secondsBetween(cluster.created, now) ?? 0)),
    owner && W.cluster.session(W.server(owner.server)),
  ].filter(Boolean).join(" · ");
}

/** The state of its scheduler if the scheduler has its own job, else "". */
export function headLine({ head }, now) {
  if (!head) return "";
  return W.cluster.ownHead(head.state === "starting" ? W.state.starting : session.standing(head, now));
}

/** Its dashboard's URL, if it is safe to link to. */
export function dashboard({ dashboard: address }) {
  return /^(https?:\/\/|\/(?!\/))/.test(address ?? "") ? address : null;
}
