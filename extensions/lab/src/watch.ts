/** Polls the session's overview for all parts of the page. */

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import { Token } from "@lumino/coreutils";
import { Poll } from "@lumino/polling";
import { Signal, type ISignal } from "@lumino/signaling";

import { ENGLISH, readCatalogue } from "../../frontend/common/translate.js";
import { type Sent } from "./hand.js";
import {
  endOf, readExportPlan, readExportProgress, readOverview, type ExportPlan, type ExportProgress, type NoticeKind, type Overview,
} from "./model.js";
import { readSteps, type Step } from "./step_model.js";

type Catalogue = typeof ENGLISH;

const INTERVAL = 5000; // ms; a hidden page does not poll
const SLOWEST = 30_000;
const SOON = 60_000; // ms; a session that ends within this time of the announced end has ended for that reason
const PATIENCE = 3000; // ms that JupyterLab waits for the language
const NOT_RUNNING = 424; // the hub's status for a server that does not run

/**
 * `unknown`: no answer yet; `none`: this server has no door; `here`: it answers; `silent`: it does not answer now;
 * `ended`: the session has ended.
 */
export type Phase = "unknown" | "none" | "here" | "silent" | "ended";

export interface Watch {
  readonly phase: Phase;
  /** The last overview; null before the first answer. */
  readonly overview: Overview | null;
  /** Why it ended, if that was announced. */
  readonly over: NoticeKind | null;
  readonly changed: ISignal<Watch, void>;
  /** Epoch ms by the session's own clock. */
  now(): number;
  /** Requests an extension. Rejects with the site's message. */
  extend(hours: number): Promise<void>;
  /**
   * The texts of a language with JupyterLab's name. English means the language that the person chose at the gateway.
   */
  catalogue(language: string): Promise<Catalogue>;
  /**
   * Makes the server copy the example notebooks into the person's files; resolves to the path of the first. Rejects
   * with a message.
   */
  examples(): Promise<string>;
  /** Raises the person's hand with what they chose to send. This and the following reject with a message. */
  raiseHand(sent: Sent): Promise<void>;
  lowerHand(): Promise<void>;
  /** Lets helpers see the last saved state of a notebook. */
  allowLook(path: string): Promise<void>;
  endLook(): Promise<void>;
  /** What a zip of a folder would have. Rejects with a message. */
  exportPlan(folder: string): Promise<ExportPlan>;
  /** The address of a folder as a zip; `id`: for `exportProgress`. */
  exportAddress(folder: string, id: string): string;
  /** How far a download is; null: the server does not know it (yet). */
  exportProgress(id: string): Promise<ExportProgress | null>;
  /** The steps of a workshop's folder, and the numbers of those that were done. */
  steps(folder: string): Promise<{ steps: Step[]; done: number[] }>;
  /** Says that a step was done. */
  stepDone(folder: string, index: number): Promise<{ steps: Step[]; done: number[] }>;
}

export const Watch = new Token<Watch>("factorygate-lab:Watch", "What is known of the session that this page is open in.");

/** An error answer. */
class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export class SessionWatch implements Watch {
  phase: Phase = "unknown";
  overview: Overview | null = null;
  readonly changed = new Signal<this, void>(this);
  private skew = 0;
  private readonly poll: Poll;

  constructor(private readonly settings: ServerConnection.ISettings) {
    this.poll = new Poll({
      name: "factorygate-lab:overview",
      auto: false,
      standby: "when-hidden",
      linger: 0,
      frequency: { interval: INTERVAL, backoff: true, max: SLOWEST },
      factory: () => this.look(),
    });
  }

  get over(): NoticeKind | null {
    const notice = this.overview?.notice ?? null;
    return notice !== null && notice.at - this.now() < SOON ? notice.kind : null;
  }

  start(): void {
    void this.poll.start();
  }

  now(): number {
    return Date.now() + this.skew;
  }

  async extend(hours: number): Promise<void> {
    await this.ask("extend", { method: "POST", body: JSON.stringify({ hours }) });
    await this.poll.refresh();
  }

  async catalogue(language: string): Promise<Catalogue> {
    const wanted = new URLSearchParams({ language: /^(en|default)?$/.test(language) ? "" : language });
    try {
      return readCatalogue(await this.ask(`texts?${wanted}`, { signal: AbortSignal.timeout(PATIENCE) }));
    } catch {
      return ENGLISH; // JupyterLab must not wait for it
    }
  }

  async examples(): Promise<string> {
    const told = await this.ask("examples", { method: "POST" });
    if (typeof told === "object" && told !== null && "path" in told && typeof told.path === "string") return told.path;
    throw new Error();
  }

  async raiseHand(sent: Sent): Promise<void> {
    await this.ask("hand", { method: "PUT", body: JSON.stringify(sent) });
    await this.poll.refresh();
  }

  async lowerHand(): Promise<void> {
    await this.ask("hand", { method: "DELETE" });
    await this.poll.refresh();
  }

  async allowLook(path: string): Promise<void> {
    await this.ask("look", { method: "PUT", body: JSON.stringify({ path }) });
    await this.poll.refresh();
  }

  async endLook(): Promise<void> {
    await this.ask("look", { method: "DELETE" });
    await this.poll.refresh();
  }

  async exportPlan(folder: string): Promise<ExportPlan> {
    return readExportPlan(await this.ask(`export?${new URLSearchParams({ path: folder })}`));
  }

  exportAddress(folder: string, id: string): string {
    const query = new URLSearchParams({ path: folder, id });
    const shown = /\b_xsrf=([^;]*)/.exec(document.cookie)?.[1]; // as JupyterLab's own downloads
    if (shown) query.append("_xsrf", shown);
    return URLExt.join(this.settings.baseUrl, "api/factorygate/export/zip") + `?${query}`;
  }

  async exportProgress(id: string): Promise<ExportProgress | null> {
    try {
      return readExportProgress(await this.ask(`export/progress?${new URLSearchParams({ id })}`));
    } catch (error) {
      if (error instanceof Failure && error.status === 404) return null;
      throw error;
    }
  }

  async steps(folder: string): Promise<{ steps: Step[]; done: number[] }> {
    return readSteps(await this.ask(`steps?${new URLSearchParams({ folder })}`));
  }

  async stepDone(folder: string, index: number): Promise<{ steps: Step[]; done: number[] }> {
    return readSteps(await this.ask("steps", { method: "POST", body: JSON.stringify({ folder, index }) }));
  }

  /** Rejects if there is no successful answer, so that polling slows down. */
  private async look(): Promise<void> {
    try {
      const overview = readOverview(await this.ask("overview"));
      this.skew = overview.now - Date.now();
      this.overview = overview;
      this.say("here");
    } catch (error) {
      const status = error instanceof Failure ? error.status : 0;
      if (status === 404) {
        this.say("none");
        await this.poll.stop();
        return;
      }
      this.say(status === NOT_RUNNING || this.isOver() ? "ended" : "silent");
      throw error;
    }
  }

  private isOver(): boolean {
    const end = this.overview && (this.overview.notice?.at ?? endOf(this.overview.ends, null));
    return end !== null && this.now() > end;
  }

  private say(phase: Phase): void {
    this.phase = phase;
    this.changed.emit();
  }

  private async ask(name: string, init: RequestInit = {}): Promise<unknown> {
    const url = URLExt.join(this.settings.baseUrl, "api/factorygate", name);
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    const told: unknown = await response.json().catch(() => null);
    if (response.ok) return told;
    const message = typeof told === "object" && told !== null && "message" in told ? told.message : null;
    throw new Failure(response.status, typeof message === "string" ? message : response.statusText);
  }
}
