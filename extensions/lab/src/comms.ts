/**
 * Lets a notebook's kernel connection receive the kernel's comm messages, by which widgets come, if JupyterLab has replaced
 * the connection that received them.
 *
 * JupyterLab shows a notebook, looks after its checkpoint, and only then looks for its session. A cell that runs before
 * starts the session; then JupyterLab finds this session and connects to its kernel again. The new connection leaves comm
 * messages to the first one, which is disposed of at once: no widget would be shown until the page is loaded again.
 */

import { type ISessionContext } from "@jupyterlab/apputils";
import { type Kernel } from "@jupyterlab/services";

/** Follows the kernel connections of one notebook until it is closed. */
export function keepComms(context: Pick<ISessionContext, "session" | "sessionChanged">): { isDisposed: boolean; dispose: () => void } {
  let before: Kernel.IKernelConnection | null = null;
  const change = (): void => {
    const now = context.session?.kernel ?? null;
    if (now === null) {
      // a session that ended has no successor; another connection of this page may receive the messages from now on
      queueMicrotask(() => { if (!context.session) before = null; });
      return;
    }
    // widget managers register on the signal that comes after this one, only with a connection that receives comm messages
    if (before?.id === now.id && before.handleComms) now.handleComms = true;
    before = now;
  };
  context.sessionChanged.connect(change);
  change();
  const made = {
    isDisposed: false,
    dispose: (): void => {
      made.isDisposed = true;
      context.sessionChanged.disconnect(change);
    },
  };
  return made;
}
