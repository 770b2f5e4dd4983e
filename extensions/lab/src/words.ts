/** Every text that the extension shows. Its translations are in the catalogues of hub_config/locale. */

import { type Format } from "./format.js";
import { type Cluster, type NoticeKind, type Session, type Use } from "./model.js";
import { type Texts } from "./texts.js";

export class Words {
  constructor(
    private readonly texts: Texts,
    readonly format: Format,
  ) {}

  /** As in `<html lang>`. */
  get language(): string {
    return this.texts.language;
  }

  private t(text: string, parts: Record<string, string> = {}): string {
    return this.texts.t(text, parts);
  }

  get title(): string {
    return this.t("Factory session");
  }

  get thisSession(): string {
    return this.t("This session");
  }

  get yourSessions(): string {
    return this.t("Your sessions");
  }

  get yourClusters(): string {
    return this.t("Your clusters");
  }

  get noOther(): string {
    return this.t("You have no other session.");
  }

  get allSessions(): string {
    return this.t("All sessions…");
  }

  get showPanel(): string {
    return this.t("Show your sessions and clusters");
  }

  get saveAll(): string {
    return this.t("Save all");
  }

  get moreTime(): string {
    return this.t("More time…");
  }

  get startAgain(): string {
    return this.t("Start again…");
  }

  get examples(): string {
    return this.t("Examples");
  }

  get examplesLong(): string {
    return this.t("Example notebooks, copied into your files: from first steps to work on two factories");
  }

  get ended(): string {
    return this.t("Session ended");
  }

  get silent(): string {
    return this.t("Session not answering");
  }

  get silentLong(): string {
    return this.t("The session is not answering. It is not lost: this page keeps trying.");
  }

  left(seconds: number): string {
    return this.t("{span} left", { span: this.format.span(seconds) });
  }

  endsAt(seconds: number, at: number, now: number): string {
    return this.t("{span} left, ends {when}", { span: this.format.span(seconds), when: this.format.clock(at, now) });
  }

  ends(at: number, now: number): string {
    return this.t("ends {when}", { when: this.format.clock(at, now) });
  }

  /** That the end is near, and what helps against it. */
  notice(kind: NoticeKind, at: number, now: number): string {
    const when = this.format.clock(at, now);
    switch (kind) {
      case "walltime":
        return this.t("This session reaches its time limit at {when}. Save your work.", { when });
      case "idle":
        return this.t("This session is idle and stops at {when} unless you use it.", { when });
      case "unopened":
        return this.t("You have not used this session yet. It stops at {when} unless you use it.", { when });
      case "access":
        return this.t("Your access to the project of this session ends at {when}, and the session stops then. Save your work.", { when });
    }
  }

  /** That it is over, and why, where that was announced. */
  over(kind: NoticeKind | null): string {
    switch (kind) {
      case "walltime":
        return this.t("This session reached its time limit. Start again opens a new one with the same choices and documents.");
      case "idle":
      case "unopened":
        return this.t(
          "This session was idle and stopped. Start again opens a new one with the same choices and documents.");
      case "access":
        return this.t("Your access to the project of this session ended, so the session stopped. Your files are as you saved them.");
      case null:
        return this.t("The session has ended. Start again opens a new one with the same choices and documents.");
    }
  }

  /** "GPU 37% · 2.1 of 120 GB"; "" while nothing is known. */
  use(use: Use | null): string {
    if (use === null) return "";
    const busy = use.gpus.map((gpu) => gpu.percent).filter((percent) => percent !== null);
    const gpu = busy.length ? this.t("GPU {percent}", { percent: this.format.percent(busy.reduce((a, b) => a + b) / busy.length) }) : "";
    return [gpu, this.t("memory {amount}", { amount: this.amount(use.memory, use.memoryLimit) })].filter(Boolean).join(" · ");
  }

  amount(used: number, limit: number | null): string {
    const { format } = this;
    return limit === null ? format.bytes(used) : this.t("{used} of {limit}", { used: format.bytes(used), limit: format.bytes(limit) });
  }

  get memory(): string {
    return this.t("Memory");
  }

  gpu(number: number, name: string): string {
    return this.t("GPU {number} ({name})", { number: String(number), name });
  }

  gpuMemory(number: number): string {
    return this.t("Memory of GPU {number}", { number: String(number) });
  }

  get notTold(): string {
    return this.t("not known");
  }

  budget(hours: number): string {
    return this.t("{hours} GPU-hours left", { hours: this.format.number(hours) });
  }

  server(name: string): string {
    return name || this.t("Main session");
  }

  state(session: Session): string {
    switch (session.state) {
      case "pending":
        return session.position === null
          ? this.t("In the queue")
          : this.t("In the queue, place {position}", { position: this.format.number(session.position) });
      case "starting":
        return this.t("Starting");
      case "running":
        return this.t("Running");
      case "ending":
        return this.t("Ending");
      case "unreachable":
        return this.t("Not answering");
      default:
        return session.state;
    }
  }

  cluster(cluster: Cluster): string {
    const counts = cluster.counts.map(([state, number]) => this.jobs(state, number));
    return [cluster.machine, cluster.size, ...(counts.length ? counts : [this.clusterState(cluster.state)])].filter(Boolean).join(" · ");
  }

  private clusterState(state: string): string {
    switch (state) {
      case "live":
        return this.t("Running");
      case "ending":
        return this.t("Ending");
      case "ended":
        return this.t("Ended");
      default:
        return state;
    }
  }

  private jobs(state: string, number: number): string {
    const count = this.format.number(number);
    switch (state) {
      case "asked":
        return this.t("{count} asked for", { count });
      case "pending":
        return this.t("{count} waiting", { count });
      case "running":
        return this.t("{count} running", { count });
      case "ended":
        return this.t("{count} ended", { count });
      case "unreachable":
        return this.t("{count} not answering", { count });
      default:
        return `${count} ${state}`;
    }
  }

  open(name: string): string {
    return this.t("Open {name}", { name: this.server(name) });
  }

  saved(count: number): string {
    return count
      ? this.texts.tn(count, "{n} document saved.", "{n} documents saved.", { n: this.format.number(count) })
      : this.t("Everything is already saved.");
  }

  notSaved(names: string[]): string {
    return this.t("Could not be saved: {names}", { names: names.join(", ") });
  }

  get moreTitle(): string {
    return this.t("More time for this session?");
  }

  moreLabel(most: number): string {
    return this.t("Hours to add (this size allows {most} more)", { most: this.format.number(most) });
  }

  get moreAsk(): string {
    return this.t("Ask for more time");
  }

  moreAsked(hours: number): string {
    return this.t("The factory gave this session {span} more.", { span: this.format.hours(hours) });
  }

  get keptLong(): string {
    return this.t("This is its last state. Run the cell again to use it.");
  }

  get runAgain(): string {
    return this.t("Run again");
  }

  get noAnswer(): string {
    return this.t("The session did not answer.");
  }
}
