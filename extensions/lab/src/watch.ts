/** The one question that this page asks again and again, for all its parts. */

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import { Token } from "@lumino/coreutils";
import { Poll } from "@lumino/polling";
import { Signal, type ISignal } from "@lumino/signaling";

import { ENGLISH, readCatalogue } from "../../frontend/common/translate.js";
import { endOf, readOverview, type NoticeKind, type Overview } from "./model.js";

type Catalogue = typeof ENGLISH;

const INTERVAL = 5000; // ms; nothing is asked while the page is hidden
const SLOWEST = 30_000;
const SOON = 60_000; // ms before the announced end that a session may be over for that reason
const PATIENCE = 3000; // ms that JupyterLab waits for the language
const NOT_RUNNING = 424; // what the hub answers for a server that is not there

/**
 * `unknown`: nobody has answered yet; `none`: this server runs behind no door; `here`: it answers; `silent`: it does
 * not at this moment; `ended`: it is over.
 */
export type Phase = "unknown" | "none" | "here" | "silent" | "ended";

export interface Watch {
  readonly phase: Phase;
  /** As it was told last; null before the first answer. */
  readonly overview: Overview | null;
  /** Why it ended, where that was announced. */
  readonly over: NoticeKind | null;
  readonly changed: ISignal<Watch, void>;
  /** Epoch ms by the session's own clock. */
  now(): number;
  /** Asks for more time. Rejects with the site's words. */
  extend(hours: number): Promise<void>;
  /** The texts of a language, as JupyterLab names it; English is what the person chose at the gateway. */
  catalogue(language: string): Promise<Catalogue>;
  /** Has the example notebooks put among the person's files; the path of the first. Rejects with words. */
  examples(): Promise<string>;
}

export const Watch = new Token<Watch>("factorygate-lab:Watch", "What is known of the session that this page is open in.");

/** An answer that is not a good one. */
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
      return ENGLISH; // JupyterLab must begin
    }
  }

  async examples(): Promise<string> {
    const told = await this.ask("examples", { method: "POST" });
    if (typeof told === "object" && told !== null && "path" in told && typeof told.path === "string") return told.path;
    throw new Error();
  }

  /** Rejects where nobody answered well, so that it is asked more rarely. */
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
