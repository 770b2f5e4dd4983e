/** The actions for a session's end and start, for all places that offer them. */

import { type JupyterFrontEnd } from "@jupyterlab/application";
import { Notification } from "@jupyterlab/apputils";
import { type IDocumentManager } from "@jupyterlab/docmanager";
import { type IDocumentWidget } from "@jupyterlab/docregistry";
import { Token } from "@lumino/coreutils";

import { HelpActions } from "./help.js";
import { askExport, download } from "./exporting.js";
import { askHours } from "./hours.js";
import { own } from "./model.js";
import { saveAll } from "./saving.js";
import { type Watch } from "./watch.js";
import { type Words } from "./words.js";

const SHOWN = 5000; // ms for which a short confirmation is shown

export class Actions {
  readonly help: HelpActions;

  constructor(
    private readonly watch: Watch,
    private readonly shell: JupyterFrontEnd.IShell,
    private readonly documents: IDocumentManager,
    readonly words: Words,
  ) {
    this.help = new HelpActions(watch, shell, documents, words);
  }

  /** Saves everything and shows the result; resolves to whether all was saved. */
  async save(): Promise<boolean> {
    const { count, failed } = await saveAll(this.shell, this.documents);
    if (failed.length) Notification.error(this.words.notSaved(failed), { autoClose: false });
    else Notification.success(this.words.saved(count), { autoClose: SHOWN });
    return failed.length === 0;
  }

  /** Hours that can be added to the session's walltime; 0: none, or not known. */
  get room(): number {
    return (this.watch.overview && own(this.watch.overview)?.extendHours) ?? 0;
  }

  /** Asks for the number of hours, then requests the extension. */
  async more(): Promise<void> {
    const hours = await askHours(this.words, this.room);
    if (hours === null) return;
    try {
      await this.watch.extend(hours);
      Notification.success(this.words.moreAsked(hours), { autoClose: SHOWN });
    } catch (error) {
      this.say(error);
    }
  }

  /** Opens the first example notebook; resolves to the document. */
  async examples(): Promise<IDocumentWidget | undefined> {
    try {
      return this.documents.openOrReveal(await this.watch.examples());
    } catch (error) {
      this.say(error);
      return undefined;
    }
  }

  /** The folder of the class that this session is for; "": it is for none. */
  get folder(): string {
    return (this.watch.overview && own(this.watch.overview)?.folder) ?? "";
  }

  /** Says what a zip of the folder of the class would have, asks, and downloads it. */
  async exportWork(): Promise<void> {
    const { folder } = this;
    if (!folder) return;
    try {
      await this.save();
      const plan = await this.watch.exportPlan(folder);
      if (await askExport(this.words, folder, plan)) await download(this.watch, this.words, folder, plan);
    } catch (error) {
      this.say(error);
    }
  }

  private say(error: unknown): void {
    Notification.error(error instanceof Error && error.message ? error.message : this.words.noAnswer, { autoClose: false });
  }

  /** Whether there is a gateway's page from which to start again. */
  get canStartAgain(): boolean {
    return Boolean(this.watch.overview?.home);
  }

  /** Saves what can be saved, then opens the gateway's page, which asks and starts again. */
  async again(): Promise<void> {
    const overview = this.watch.overview;
    if (!overview?.home) return;
    if (this.watch.phase === "here" && !(await this.save())) return;
    window.location.assign(`${overview.home}#again=${encodeURIComponent(overview.session)}`);
  }
}

export const IActions = new Token<Actions>("factorygate-lab:Actions", "What can be done about the session's end.");
