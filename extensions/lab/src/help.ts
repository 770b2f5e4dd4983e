/** Help in a workshop: raise a hand with what the person chooses to send, and let helpers see a notebook. */

import { type JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, Notification, showDialog } from "@jupyterlab/apputils";
import { type IDocumentManager } from "@jupyterlab/docmanager";
import { Widget } from "@lumino/widgets";

import { h } from "../../frontend/common/dom.js";
import { errorOf, LOOK_MINUTES, MOST_QUESTION, plain, type Sent } from "./hand.js";
import { type Help } from "./model.js";
import { type Watch } from "./watch.js";
import { type Words } from "./words.js";

/** The selected cell of the notebook in front. */
interface Selected {
  file: string;
  path: string;
  source: string;
  error: string;
}

/** A cell in JupyterLab, as far as it is needed here. */
interface Cell {
  model: { sharedModel: { getSource(): string }; outputs?: { toJSON(): unknown } };
}

/** The notebook in front with its selected cell; null: there is none. */
function selected(shell: JupyterFrontEnd.IShell, documents: IDocumentManager): Selected | null {
  const widget = shell.currentWidget;
  const context = widget && documents.contextForWidget(widget);
  if (!context?.localPath.endsWith(".ipynb")) return null;
  const cell = (widget as unknown as { content?: { activeCell?: Cell | null } }).content?.activeCell;
  return {
    path: context.localPath,
    file: context.localPath.split("/").at(-1) ?? "",
    source: plain(cell?.model.sharedModel.getSource() ?? ""),
    error: errorOf(cell?.model.outputs?.toJSON()),
  };
}

/** The body of the dialog: each part that can be sent, as it is sent. */
class HandForm extends Widget implements Dialog.IBodyWidget<Sent> {
  private readonly question: HTMLTextAreaElement;
  private readonly source: HTMLInputElement;
  private readonly error: HTMLInputElement;

  constructor(
    words: Words,
    private readonly cell: Selected | null,
  ) {
    const question = h("textarea", { class: "jp-mod-styled", rows: "3", maxlength: String(MOST_QUESTION) });
    const source = h("input", { type: "checkbox", name: "source" });
    const error = h("input", { type: "checkbox", name: "error" });
    const part = (tick: HTMLInputElement, label: string, text: string): HTMLElement | null => text
      ? h("div", {}, h("label", {}, tick, " ", label), h("pre", { class: "fg-Sent", tabindex: "0" }, text)) : null;
    super({
      node: h("div", { class: "fg-Hand", lang: words.language },
        h("p", {}, words.handLong),
        h("label", {}, words.question, question),
        cell && part(source, words.sendSource(cell.file), cell.source),
        cell && part(error, words.sendError, cell.error)),
    });
    this.question = question;
    this.source = source;
    this.error = error;
  }

  getValue(): Sent {
    const source = this.source.checked ? (this.cell?.source ?? "") : "";
    const error = this.error.checked ? (this.cell?.error ?? "") : "";
    return { question: this.question.value, file: source || error ? (this.cell?.file ?? "") : "", source, error };
  }
}

export class HelpActions {
  constructor(
    private readonly watch: Watch,
    private readonly shell: JupyterFrontEnd.IShell,
    private readonly documents: IDocumentManager,
    private readonly words: Words,
  ) {}

  /** What the person has asked for; null: this session is not for a workshop. */
  get now(): Help | null {
    return this.watch.overview?.help ?? null;
  }

  /** Shows what can be sent, then raises the hand. */
  async raise(): Promise<void> {
    const answer = await showDialog({
      title: this.words.handTitle,
      body: new HandForm(this.words, selected(this.shell, this.documents)),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: this.words.sendHand })],
      focusNodeSelector: "textarea",
    });
    const sent = answer.value;
    if (answer.button.accept && sent !== null) await this.tried(() => this.watch.raiseHand(sent));
  }

  async lower(): Promise<void> {
    await this.tried(() => this.watch.lowerHand());
  }

  /** Asks, saves the notebook in front, and lets helpers see it. */
  async allowLook(): Promise<void> {
    const { words } = this;
    const notebook = selected(this.shell, this.documents);
    if (notebook === null) {
      Notification.warning(words.noNotebook, { autoClose: 5000 });
      return;
    }
    const answer = await showDialog({
      title: words.lookTitle,
      body: new Widget({
        node: h("div", { class: "fg-Hand", lang: words.language },
          h("p", {}, words.lookLong(notebook.file, LOOK_MINUTES)), h("p", {}, words.lookSaves)),
      }),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: words.lookOk })],
    });
    if (!answer.button.accept) return;
    await this.tried(async () => {
      const widget = this.documents.findWidget(notebook.path);
      await (widget && this.documents.contextForWidget(widget))?.save();
      await this.watch.allowLook(notebook.path);
    });
  }

  async endLook(): Promise<void> {
    await this.tried(() => this.watch.endLook());
  }

  private async tried(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      Notification.error(error instanceof Error && error.message ? error.message : this.words.noAnswer, { autoClose: false });
    }
  }
}
