/** Pure reading of Cluster JSON: where it stands, what it uses, in words. */

import { msOf, number, secondsBetween, span } from "../common/format.js";
import * as session from "./session.js";
import { W } from "../common/words.js";

const HOUR = 3_600_000;

/** {running, waiting, unreachable}: its jobs that have not ended. */
export function jobs({ counts }) {
  const of = (...states) => states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  return { running: of("running"), waiting: of("asked", "pending"), unreachable: of("unreachable") };
}

/** [kind of dot, words] of the cluster as a whole: without its scheduler it does nothing. */
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

/** What is used and promised at this moment, in GPU-hours: it goes on evenly since the gateway told it. */
export function gpuHours({ gpu_hours: told }, now) {
  const moved = Math.min(told.committed, told.per_hour * Math.max(0, now - msOf(told.at)) / HOUR);
  return { spent: told.spent + moved, committed: told.committed - moved };
}

/** The same in words; "" where there are no GPUs and nothing is limited. */
export function hoursLine(cluster, now) {
  const { cap } = cluster.gpu_hours;
  if (!cluster.gpus && cap === null) return "";
  const { spent, committed } = gpuHours(cluster, now);
  const used = cap === null ? W.cluster.hours(number(spent)) : W.cluster.hoursOf(number(spent), number(cap));
  return committed > 0 ? `${used} · ${W.cluster.committed(committed, number(committed))}` : used;
}

/** For how long, and whose: `sessions` as far as the page knows them. */
export function aboutLine(cluster, sessions, now) {
  const owner = sessions.find((one) => one.id === cluster.session);
  return [
    W.cluster.liveFor(span(secondsBetween(cluster.created, now) ?? 0)),
    owner && W.cluster.session(W.server(owner.server)),
  ].filter(Boolean).join(" · ");
}

/** Where its scheduler stands, where that is a job of its own; else "". */
export function headLine({ head }, now) {
  if (!head) return "";
  return W.cluster.ownHead(head.state === "starting" ? W.state.starting : session.standing(head, now));
}

/** Its dashboard's address, if it is one that a browser may be sent to. */
export function dashboard({ dashboard: address }) {
  return /^(https?:\/\/|\/(?!\/))/.test(address ?? "") ? address : null;
}
