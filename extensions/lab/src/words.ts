/** Every text that the extension shows, through JupyterLab's translator. */

import { type TranslationBundle } from "@jupyterlab/translation";

import { type Format } from "./format.js";
import { type Cluster, type NoticeKind, type Session, type Use } from "./model.js";

export class Words {
  constructor(
    private readonly trans: TranslationBundle,
    readonly format: Format,
  ) {}

  get title(): string {
    return this.trans.__("Factory session");
  }

  get thisSession(): string {
    return this.trans.__("This session");
  }

  get yourSessions(): string {
    return this.trans.__("Your sessions");
  }

  get yourClusters(): string {
    return this.trans.__("Your clusters");
  }

  get noOther(): string {
    return this.trans.__("No other session is live.");
  }

  get allSessions(): string {
    return this.trans.__("All sessions…");
  }

  get showPanel(): string {
    return this.trans.__("Show your sessions and clusters");
  }

  get saveAll(): string {
    return this.trans.__("Save all");
  }

  get moreTime(): string {
    return this.trans.__("More time…");
  }

  get startAgain(): string {
    return this.trans.__("Start again…");
  }

  get examples(): string {
    return this.trans.__("Examples");
  }

  get examplesLong(): string {
    return this.trans.__("Example notebooks, copied into your files: from first steps to computing at two factories");
  }

  get ended(): string {
    return this.trans.__("Session ended");
  }

  get silent(): string {
    return this.trans.__("Session out of reach");
  }

  get endedLong(): string {
    return this.trans.__("The session has ended. Start again opens a new one with the same choices and the same documents.");
  }

  get silentLong(): string {
    return this.trans.__("The session does not answer at this moment. It is not lost: this goes on by itself.");
  }

  left(seconds: number): string {
    return this.trans.__("%1 left", this.format.span(seconds));
  }

  endsAt(seconds: number, at: number, now: number): string {
    return this.trans.__("%1 left, ends %2", this.format.span(seconds), this.format.clock(at, now));
  }

  ends(at: number, now: number): string {
    return this.trans.__("ends %1", this.format.clock(at, now));
  }

  notice(kind: NoticeKind, at: number, now: number): string {
    const when = this.format.clock(at, now);
    switch (kind) {
      case "walltime":
        return this.trans.__("This session ends at %1: its time is over then. Save your work.", when);
      case "idle":
        return this.trans.__("This session is not in use and gives its node back at %1, unless you go on.", when);
      case "unopened":
        return this.trans.__("This session gives its node back at %1, unless you use it.", when);
    }
  }

  /** "GPU 37% · 2.1 of 120 GB"; "" while nothing is known. */
  use(use: Use | null): string {
    if (use === null) return "";
    const busy = use.gpus.map((gpu) => gpu.percent).filter((percent) => percent !== null);
    const gpu = busy.length ? this.trans.__("GPU %1", this.format.percent(busy.reduce((a, b) => a + b) / busy.length)) : "";
    return [gpu, this.trans.__("memory %1", this.amount(use.memory, use.memoryLimit))].filter(Boolean).join(" · ");
  }

  amount(used: number, limit: number | null): string {
    const { format } = this;
    return limit === null ? format.bytes(used) : this.trans.__("%1 of %2", format.bytes(used), format.bytes(limit));
  }

  get memory(): string {
    return this.trans.__("Memory");
  }

  gpu(number: number, name: string): string {
    return this.trans.__("GPU %1 (%2)", number, name);
  }

  gpuMemory(number: number): string {
    return this.trans.__("Memory of GPU %1", number);
  }

  get notTold(): string {
    return this.trans.__("not told");
  }

  budget(hours: number): string {
    return this.trans.__("%1 GPU-hours left", this.format.number(hours));
  }

  server(name: string): string {
    return name || this.trans.__("Main session");
  }

  state(session: Session): string {
    switch (session.state) {
      case "pending":
        return session.position === null
          ? this.trans.__("In the queue")
          : this.trans.__("In the queue, place %1", session.position);
      case "starting":
        return this.trans.__("Starting");
      case "running":
        return this.trans.__("Running");
      case "ending":
        return this.trans.__("Ending");
      case "unreachable":
        return this.trans.__("Out of reach");
      default:
        return session.state;
    }
  }

  cluster(cluster: Cluster): string {
    const counts = cluster.counts.map(([state, number]) => `${this.format.number(number)} ${state}`);
    return [cluster.machine, cluster.size, ...(counts.length ? counts : [cluster.state])].filter(Boolean).join(" · ");
  }

  open(name: string): string {
    return this.trans.__("Open %1", this.server(name));
  }

  saved(count: number): string {
    return count
      ? this.trans._n("%1 document saved.", "%1 documents saved.", count, count)
      : this.trans.__("Everything was saved already.");
  }

  notSaved(names: string[]): string {
    return this.trans.__("Could not be saved: %1", names.join(", "));
  }

  get moreTitle(): string {
    return this.trans.__("More time for this session?");
  }

  moreLabel(most: number): string {
    return this.trans.__("Hours to add (this size allows %1 more)", this.format.number(most));
  }

  get moreAsk(): string {
    return this.trans.__("Ask for it");
  }

  moreAsked(hours: number): string {
    return this.trans.__("The site gave this session %1 more.", this.format.hours(hours));
  }

  get noAnswer(): string {
    return this.trans.__("The session did not answer.");
  }
}
