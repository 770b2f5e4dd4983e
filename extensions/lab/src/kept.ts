/**
 * Shows a widget of factorygate as long as its kernel has it; afterwards its last state as text, with a button that
 * runs its cell again. JupyterLab alone would show "Error displaying widget: model not found".
 */

import { type JupyterFrontEnd } from "@jupyterlab/application";
import { type ISessionContext } from "@jupyterlab/apputils";
import { type IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { type IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { type Kernel } from "@jupyterlab/services";
import { Panel, Widget } from "@lumino/widgets";

import { h, setText as say } from "../../frontend/common/dom.js";
import { button } from "./button.js";
import { type Words } from "./words.js";

export const KEPT = "application/vnd.factorygate.widget+json";
const VIEW = "application/vnd.jupyter.widget-view+json";
const STATE = "factorygate-state"; // the event by which a widget sends its state as text
const RESTS = 1000; // ms between two writes of the state into the notebook
const LONGEST = 4000; // characters
// number of times that the widget manager is asked for a widget of the kernel; it searches 2 s each time
const TRIES = 5;

/** A widget's state in the notebook. */
interface Kept {
  model: string;
  text: string;
}

/** A notebook in JupyterLab, as far as it is needed here. */
interface Notebook extends Widget {
  readonly content: Widget & { rendermime: IRenderMimeRegistry; widgets: readonly Widget[]; activeCellIndex: number };
  readonly sessionContext: ISessionContext;
}

/** Reads an output; null if it is not a widget of factorygate. */
export function readKept(told: unknown): Kept | null {
  const { model_id: model, text } = (typeof told === "object" && told !== null ? told : {}) as Record<string, unknown>;
  return typeof model === "string" && typeof text === "string" ? { model, text: text.slice(0, LONGEST) } : null;
}

function isNotebook(widget: Widget): widget is Notebook {
  const { content, sessionContext } = widget as unknown as Partial<Notebook>;
  return sessionContext !== undefined && content !== undefined && "rendermime" in content && "activeCellIndex" in content;
}

/** Whether JupyterLab's renderer has written an error instead of the widget. */
function isMissing(live: Widget): boolean {
  return live.node.classList.contains("jupyter-widgets") && live.node.childElementCount === 0 && live.node.textContent !== "";
}

export class KeptRenderer extends Panel implements IRenderMime.IRenderer {
  private model: IRenderMime.IMimeModel | null = null;
  private live: Widget | null = null;
  private notebook: Notebook | null = null;
  private kernel: Kernel.IKernelConnection | null = null; // the kernel that had the widget
  private timer = 0;
  private readonly line = h("p", { class: "fg-Kept-line" });
  private readonly state = h("pre", {});
  private readonly text = new Widget({ node: h("div", { class: "fg-Kept" }, this.state, this.line) });

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly words: Words,
  ) {
    super();
    this.text.node.lang = words.language;
    this.node.addEventListener(STATE, (event) => {
      this.keep((event as CustomEvent<unknown>).detail);
    });
    this.addWidget(this.text);
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const before = this.model && readKept(this.model.data[KEPT])?.model;
    this.model = model;
    const kept = readKept(model.data[KEPT]);
    say(this.state, kept?.text ?? "");
    if (kept?.model !== before) {
      this.dropLive();
      void this.decide();
    }
    return Promise.resolve();
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    this.leave();
    super.dispose();
  }

  protected override onAfterAttach(): void {
    if (this.notebook === null) void this.decide();
  }

  /** Shows the widget if the kernel has it, else its text. `attempt`: 1 for the first. */
  private async decide(attempt = 1): Promise<void> {
    const kept = this.model && readKept(this.model.data[KEPT]);
    if (!this.isAttached || !kept || !this.model?.trusted || this.live) return;
    this.join();
    const found = this.notebook?.sessionContext;
    const kernel = found?.session?.kernel ?? null;
    if (kernel?.hasComm(kept.model)) {
      await this.showLive(kernel, attempt);
      return;
    }
    if (!found) return;
    await found.ready;
    const now = found.session?.kernel ?? null;
    const answer = await now?.requestCommInfo({ target_name: "jupyter.widget" });
    const has = answer?.content.status === "ok" && kept.model in answer.content.comms;
    if (this.isDisposed || this.isLive) return;
    if (now && has) await this.showLive(now, attempt);
    else this.offer();
  }

  private get isLive(): boolean {
    return this.live !== null;
  }

  private async showLive(kernel: Kernel.IKernelConnection, attempt: number): Promise<void> {
    const registry = this.notebook?.content.rendermime;
    if (!this.model || !registry?.mimeTypes.includes(VIEW)) {
      this.offer();
      return;
    }
    const live = registry.createRenderer(VIEW);
    this.live = live;
    this.kernel = kernel;
    this.text.hide();
    this.insertWidget(0, live);
    // The renderer may find the widget now, or later, when the widget manager has asked the kernel for all widgets.
    const observer = new MutationObserver(() => {
      if (!isMissing(live)) return;
      observer.disconnect();
      if (this.live === live && !this.isDisposed) void this.showAgain(kernel, attempt);
    });
    observer.observe(live.node, { attributes: true, attributeFilter: ["class"], childList: true });
    await live.renderModel(this.model);
  }

  /** Searches again for a widget that the kernel has but whose first message did not reach this page. */
  private async showAgain(kernel: Kernel.IKernelConnection, attempt: number): Promise<void> {
    this.dropLive();
    this.offer();
    if (attempt === TRIES) return;
    try {
      if (attempt === 1) await kernel.reconnect(); // then the widget manager asks the kernel for all its widgets
      await this.decide(attempt + 1);
    } catch {
      // The kernel ended in the meantime: the text and its button are shown.
    }
  }

  private dropLive(): void {
    this.live?.dispose();
    this.live = null;
    this.kernel = null;
    this.text.show();
  }

  /** Offers to run the cell again. The button is made once: a click may have begun on it, or it may have the focus. */
  private offer(): void {
    if (this.line.hasChildNodes()) return;
    this.line.append(
      h("span", {}, this.words.keptLong), " ",
      button(this.words.runAgain, () => this.run()));
  }

  private async run(): Promise<void> {
    const notebook = this.notebook;
    await notebook?.sessionContext.ready;
    // a cell that runs earlier would clear the outputs, and be lost
    await notebook?.sessionContext.session?.kernel?.info;
    const index = notebook?.content.widgets.findIndex((cell) => cell.node.contains(this.node)) ?? -1;
    if (!notebook || index < 0) return;
    this.app.shell.activateById(notebook.id);
    notebook.content.activeCellIndex = index;
    await this.app.commands.execute("notebook:run-cell");
  }

  /** Finds the notebook of this output, and follows its kernel. */
  private join(): void {
    if (this.notebook) return;
    for (const widget of this.app.shell.widgets("main")) {
      if (!widget.node.contains(this.node) || !isNotebook(widget)) continue;
      this.notebook = widget;
      widget.sessionContext.kernelChanged.connect(this.lose, this);
      widget.sessionContext.statusChanged.connect(this.heed, this);
      return;
    }
  }

  private leave(): void {
    if (!this.notebook || this.notebook.isDisposed) return;
    this.notebook.sessionContext.kernelChanged.disconnect(this.lose, this);
    this.notebook.sessionContext.statusChanged.disconnect(this.heed, this);
  }

  private heed(_: ISessionContext, status: Kernel.Status): void {
    if (["restarting", "autorestarting", "dead", "terminating"].includes(status)) this.lose();
  }

  private lose(): void {
    const now = this.notebook?.sessionContext.session?.kernel ?? null;
    if (this.live && now === this.kernel && now?.status === "idle") return;
    if (this.live) this.dropLive();
    this.offer();
  }

  /** Writes the widget's state into the notebook, so that it stays when the widget is gone. */
  private keep(told: unknown): void {
    const kept = this.model && readKept(this.model.data[KEPT]);
    if (typeof told !== "string" || !kept || told === kept.text) return;
    const text = told.slice(0, LONGEST);
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      const { model } = this;
      if (!model || this.isDisposed) return;
      const html = `<pre>${text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</pre>`;
      model.setData({ data: { ...model.data, [KEPT]: { model_id: kept.model, text }, "text/html": html } });
    }, RESTS);
  }
}
