/**
 * Tells the notebook server when a cell of a workshop's material that is a step has run without error. It listens to the
 * kernel's messages, since a request to run a cell names the cell.
 */

import { type DocumentRegistry } from "@jupyterlab/docregistry";
import { type Kernel } from "@jupyterlab/services";

import { own } from "./model.js";
import { type Cell, readCells, type Step, stepOf } from "./step_model.js";
import { type Watch } from "./watch.js";

const FRESH = 30_000; // ms for which the steps that the server named are used
const MOST_WAITING = 200; // requests whose answers are awaited

type Context = DocumentRegistry.IContext<DocumentRegistry.IModel>;

export class Steps {
  private steps: Step[] = [];
  private done = new Set<number>();
  private asked = -Infinity;
  private folder = "";

  constructor(private readonly watch: Watch) {}

  /** Follows one notebook until it is closed. */
  follow(context: Context): { isDisposed: boolean; dispose: () => void } {
    const waiting = new Map<string, string>(); // cells by the id of the request
    const { sessionContext } = context;
    const listen = (_: unknown, { msg, direction }: Kernel.IAnyMessageArgs): void => {
      const { msg_type: kind, msg_id: id } = msg.header;
      if (direction === "send" && kind === "execute_request") {
        const cell = (msg.metadata as { cellId?: unknown }).cellId;
        if (typeof cell === "string" && waiting.size < MOST_WAITING) waiting.set(id, cell);
        return;
      }
      if (direction !== "recv" || kind !== "execute_reply") return;
      const request = (msg.parent_header as { msg_id?: string }).msg_id ?? "";
      const cell = waiting.get(request);
      waiting.delete(request);
      if (cell !== undefined && (msg.content as { status?: unknown }).status === "ok") void this.ran(context, cell);
    };
    let kernel: Kernel.IKernelConnection | null = null;
    const change = (): void => {
      kernel?.anyMessage.disconnect(listen);
      waiting.clear();
      kernel = sessionContext.session?.kernel ?? null;
      kernel?.anyMessage.connect(listen);
    };
    sessionContext.kernelChanged.connect(change);
    change();
    void this.look();
    const made = {
      isDisposed: false,
      dispose: (): void => {
        made.isDisposed = true;
        sessionContext.kernelChanged.disconnect(change);
        kernel?.anyMessage.disconnect(listen);
      },
    };
    return made;
  }

  /** A cell has run without error. */
  private async ran(context: Context, cell: string): Promise<void> {
    await this.look();
    const path = context.localPath;
    if (!this.steps.length || !path.startsWith(`${this.folder}/`)) return;
    const cells = (): Cell[] => readCells(context.model.toJSON());
    const index = stepOf(this.steps, path.slice(this.folder.length + 1), cell, cells);
    if (index === null || this.done.has(index)) return;
    try {
      this.take(await this.watch.stepDone(this.folder, index));
    } catch {
      // it is told when the cell runs again
    }
  }

  /** Asks for the steps of the class, if that was not done lately. */
  private async look(): Promise<void> {
    const folder = (this.watch.overview && own(this.watch.overview)?.folder) ?? "";
    if (!folder || (folder === this.folder && Date.now() - this.asked < FRESH)) return;
    this.asked = Date.now();
    this.folder = folder;
    try {
      this.take(await this.watch.steps(folder));
    } catch {
      this.asked = -Infinity;
    }
  }

  private take({ steps, done }: { steps: Step[]; done: number[] }): void {
    this.steps = steps;
    this.done = new Set(done);
  }
}
