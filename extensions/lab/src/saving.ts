/** Saves all open documents. */

import { type JupyterFrontEnd } from "@jupyterlab/application";
import { PathExt } from "@jupyterlab/coreutils";
import { type IDocumentManager } from "@jupyterlab/docmanager";

/** The number of saved documents, and the names of those that could not be saved. */
export interface Saved {
  count: number;
  failed: string[];
}

/** Saves every open document that has changes; one that is open in several tabs once. */
export async function saveAll(shell: JupyterFrontEnd.IShell, documents: IDocumentManager): Promise<Saved> {
  const open = [...shell.widgets("main")].map((widget) => documents.contextForWidget(widget));
  const changed = [...new Set(open)].filter((context) => context?.model.dirty).filter((context) => context !== undefined);
  const results = await Promise.allSettled(changed.map((context) => context.save()));
  const failed = changed.filter((_, index) => results[index]?.status === "rejected");
  return { count: changed.length - failed.length, failed: failed.map((context) => PathExt.basename(context.localPath)) };
}
