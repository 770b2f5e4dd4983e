/** Texts of the extension; they are translated when shown, once the language is known. */

import { bytes, clock, countdown, hoursText, number, percent } from "../../frontend/common/format.js";
import { sessionName, stateWords } from "../../frontend/common/state_words.js";
import { language, t, tn } from "../../frontend/common/translate.js";
import { type Cluster, type Help, type NoticeKind, type Session, type Use } from "./model.js";

function stateOf(state: string): string {
  const known: Record<string, string> = stateWords();
  return known[state] ?? state;
}

function jobs(state: string, many: number): string {
  const count = number(many);
  switch (state) {
    case "asked":
      return t("{count} asked for", { count });
    case "pending":
      return t("{count} waiting", { count });
    case "running":
      return t("{count} running", { count });
    case "ended":
      return t("{count} ended", { count });
    case "unreachable":
      return t("{count} not answering", { count });
    default:
      return `${count} ${state}`;
  }
}

export const words = {
  /** The language as in `<html lang>`. */
  get language(): string {
    return language();
  },

  get title(): string {
    return t("Factory session");
  },

  get thisSession(): string {
    return t("This session");
  },

  get yourSessions(): string {
    return t("Your sessions");
  },

  get yourClusters(): string {
    return t("Your clusters");
  },

  get noOther(): string {
    return t("You have no other session.");
  },

  get allSessions(): string {
    return t("All sessions…");
  },

  get showPanel(): string {
    return t("Show your sessions and clusters");
  },

  get saveAll(): string {
    return t("Save all");
  },

  get moreTime(): string {
    return t("More time…");
  },

  get startAgain(): string {
    return t("Start again…");
  },

  get examples(): string {
    return t("Examples");
  },

  get examplesLong(): string {
    return t("Example notebooks, copied into your files: from first steps to work on two factories");
  },

  get ended(): string {
    return t("Session ended");
  },

  get silent(): string {
    return t("Session not answering");
  },

  get silentLong(): string {
    return t("The session is not answering. It is not lost: this page keeps trying.");
  },

  left(seconds: number): string {
    return t("{span} left", { span: countdown(seconds) });
  },

  endsAt(seconds: number, at: number, now: number): string {
    return t("{left} left, ends {at}", { left: countdown(seconds), at: clock(at, now) });
  },

  ends(at: number, now: number): string {
    return t("ends {when}", { when: clock(at, now) });
  },

  /** The text that the end is near, and what helps. */
  notice(kind: NoticeKind, at: number, now: number): string {
    const when = clock(at, now);
    switch (kind) {
      case "walltime":
        return t("This session reaches its time limit at {when}. Save your work.", { when });
      case "idle":
        return t("This session is idle and stops at {when} unless you use it.", { when });
      case "unopened":
        return t("You have not used this session yet. It stops at {when} unless you use it.", { when });
      case "access":
        return t("Your access to the project of this session ends at {when}, and the session stops then. Save your work.", { when });
    }
  },

  /** The text that the session has ended, and why, if that was announced. */
  over(kind: NoticeKind | null): string {
    switch (kind) {
      case "walltime":
        return t("This session reached its time limit. Start again opens a new one with the same choices and documents.");
      case "idle":
      case "unopened":
        return t(
          "This session was idle and stopped. Start again opens a new one with the same choices and documents.");
      case "access":
        return t("Your access to the project of this session ended, so the session stopped. Your files are as you saved them, unless your account at the factory was only lent to you.");
      case null:
        return t("The session has ended. Start again opens a new one with the same choices and documents.");
    }
  },

  /** "GPU 37% · 2.1 of 120 GB"; "" if nothing is known. */
  use(use: Use | null): string {
    if (use === null) return "";
    const busy = use.gpus.map((gpu) => gpu.percent).filter((percent) => percent !== null);
    const gpu = busy.length ? t("GPU {percent}", { percent: percent(busy.reduce((a, b) => a + b) / busy.length) }) : "";
    return [gpu, t("memory {amount}", { amount: this.amount(use.memory, use.memoryLimit) })].filter(Boolean).join(" · ");
  },

  amount(used: number, limit: number | null): string {
    return limit === null ? bytes(used) : t("{used} of {limit}", { used: bytes(used), limit: bytes(limit) });
  },

  get memory(): string {
    return t("Memory");
  },

  gpu(number: number, name: string): string {
    return t("GPU {number} ({name})", { number: String(number), name });
  },

  gpuMemory(number: number): string {
    return t("Memory of GPU {number}", { number: String(number) });
  },

  get notTold(): string {
    return t("not known");
  },

  budget(hours: number): string {
    return t("{hours} GPU-hours left", { hours: number(hours, 1) });
  },

  server(name: string): string {
    return sessionName(name);
  },

  state(session: Session): string {
    if (session.state === "pending" && session.position !== null) {
      return t("In the queue, place {position}", { position: number(session.position) });
    }
    return stateOf(session.state);
  },

  cluster(cluster: Cluster): string {
    const counts = cluster.counts.map(([state, count]) => jobs(state, count));
    return [cluster.machine, cluster.size, ...(counts.length ? counts : [cluster.state === "live" ? stateWords().running : stateOf(cluster.state)])].filter(Boolean).join(" · ");
  },

  open(name: string): string {
    return t("Open {name}", { name: this.server(name) });
  },

  saved(count: number): string {
    return count
      ? tn(count, "{n} document saved.", "{n} documents saved.")
      : t("Everything is already saved.");
  },

  notSaved(names: string[]): string {
    return t("Could not be saved: {names}", { names: names.join(", ") });
  },

  get moreTitle(): string {
    return t("More time for this session?");
  },

  moreLabel(most: number): string {
    return t("Hours to add (at most {most} more)", { most: number(most) });
  },

  get moreAsk(): string {
    return t("Ask for more time");
  },

  moreAsked(hours: number): string {
    return t("The factory gave this session {span} more.", { span: hoursText(hours) });
  },

  get exportWork(): string {
    return t("Download my work…");
  },

  get exportTitle(): string {
    return t("Download your folder of the class?");
  },

  exportHas(folder: string, files: number, size: number): string {
    return tn(files, "The folder {folder} has {n} file with {size}, before it is compressed.",
      "The folder {folder} has {n} files with {size}, before they are compressed.", { folder, size: bytes(size) });
  },

  exportLimit(files: number, size: number): string {
    return t("One zip may have {files} files with {size}.", { files: number(files), size: bytes(size) });
  },

  exportTooLarge(folder: string): string {
    return t("The folder {folder} is too large for one zip. Move what you do not need to another folder, or download single files.", { folder });
  },

  /** That entries of a kind are left out of a zip. */
  exportLeft(kind: string, many: number): string {
    switch (kind) {
      case "link":
        return tn(many, "{n} link is not followed; the zip lists it.", "{n} links are not followed; the zip lists them.");
      case "closed":
        return tn(many, "{n} folder cannot be read, and is left out.", "{n} folders cannot be read, and are left out.");
      default:
        return tn(many, "{n} entry is left out; the zip lists it.", "{n} entries are left out; the zip lists them.");
    }
  },

  get exportGo(): string {
    return t("Download the zip");
  },

  exportGoes(files: number, of: number): string {
    return tn(of, "The zip is on its way: {files} of {n} file.", "The zip is on its way: {files} of {n} files.", { files: number(files) });
  },

  exportDone(size: number): string {
    return t("The zip is finished: {size} before compression. Your browser keeps it with its downloads.", { size: bytes(size) });
  },

  get exportCut(): string {
    return t("The download was cut off. Nothing of it is left in the session; delete what your browser has of it, and try again.");
  },

  get keptLong(): string {
    return t("This is its last state. Run the cell again to use it.");
  },

  get runAgain(): string {
    return t("Run again");
  },

  get help(): string {
    return t("Help");
  },

  get raiseHand(): string {
    return t("Raise your hand…");
  },

  get changeHand(): string {
    return t("Send something else…");
  },

  get lowerHand(): string {
    return t("Lower your hand");
  },

  get allowLook(): string {
    return t("Let helpers see this notebook…");
  },

  get endLook(): string {
    return t("Let nobody see it any more");
  },

  /** Where a raised hand stands in the queue; `place` 0: a helper comes. */
  handIs(place: number, by: string): string {
    if (place === 0) return by ? t("{helper} comes to help you.", { helper: by }) : t("Somebody comes to help you.");
    return t("Your hand is up. You are number {place} in the queue.", { place: number(place) });
  },

  asksToLook(by: string): string {
    return t("{helper} asks to see your notebook.", { helper: by });
  },

  lookLasts(file: string, until: number, now: number): string {
    return t("Helpers can see the saved state of {file} until {when}.", { file, when: clock(until, now) });
  },

  seenBy(names: string[]): string {
    return t("Seen by: {names}", { names: names.join(", ") });
  },

  /** For the status bar: a raised hand, and a notebook that helpers can see. */
  helpShort(help: Help | null): string {
    const hand = help?.hand ? t("Hand up") : "";
    const look = help?.look ? t("Helpers see {file}", { file: help.look.file }) : "";
    return [hand, look].filter(Boolean).join(" · ");
  },

  get handTitle(): string {
    return t("Raise your hand?");
  },

  get handLong(): string {
    return t("The people who help in your workshop see your question and what you tick below, until your hand is down.");
  },

  get question(): string {
    return t("Your question (if you like)");
  },

  sendSource(file: string): string {
    return t("The code of the selected cell of {file}", { file });
  },

  get sendError(): string {
    return t("The error of this cell");
  },

  get sendHand(): string {
    return t("Raise");
  },

  get lookTitle(): string {
    return t("Let helpers see a notebook?");
  },

  lookLong(file: string, minutes: number): string {
    return t("The people who help in your workshop can read {file}, as it was last saved, for {minutes} minutes. They cannot change or run anything. You can end it at any time. The workshop’s log says that, with the file’s name, and who has looked.", { file, minutes: number(minutes) });
  },

  get lookSaves(): string {
    return t("The notebook is saved now, and each time you save it they see the new state: code, texts and images, but nothing interactive.");
  },

  get lookOk(): string {
    return t("Let them see it");
  },

  get noNotebook(): string {
    return t("Open the notebook that they may see, and select it.");
  },

  get noAnswer(): string {
    return t("The session did not answer.");
  },
};

export type Words = typeof words;
