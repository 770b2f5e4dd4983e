/** The download of the person's folder of the class as a zip: the dialog before it, and how far it is. */

import { Dialog, Notification, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";

import { h } from "../../frontend/common/dom.js";
import { type ExportPlan } from "./model.js";
import { type Watch } from "./watch.js";
import { type Words } from "./words.js";

const INTERVAL = 1000; // ms between two questions how far it is
const PATIENCE = 60; // questions until a download that the server does not know has failed

/** The answer of the dialog: whether to download. */
export async function askExport(words: Words, folder: string, plan: ExportPlan): Promise<boolean> {
  const limit = h("p", {}, words.exportLimit(plan.mostFiles, plan.mostBytes));
  const body = plan.whole
    ? h("div", {}, h("p", {}, words.exportHas(folder, plan.files, plan.bytes)), limit,
      ...plan.left.map(([kind, many, paths]) => h("details", {},
        h("summary", {}, words.exportLeft(kind, many)), h("ul", {}, ...paths.map((path) => h("li", {}, path))))))
    : h("div", {}, h("p", {}, words.exportTooLarge(folder)), limit);
  const buttons = plan.whole ? [Dialog.cancelButton(), Dialog.okButton({ label: words.exportGo })] : [Dialog.okButton()];
  const answer = await showDialog({ title: words.exportTitle, body: new Widget({ node: body }), buttons });
  return plan.whole && answer.button.accept;
}

/** Lets the browser download a folder, and shows how far it is until it has ended. */
export async function download(watch: Watch, words: Words, folder: string, plan: ExportPlan): Promise<void> {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const link = h("a", { href: watch.exportAddress(folder, id), download: "" });
  document.body.append(link);
  link.click();
  link.remove();
  const shown = Notification.emit(words.exportGoes(0, plan.files), "in-progress", { autoClose: false });
  let unknown = 0;
  for (;;) {
    await new Promise((done) => setTimeout(done, INTERVAL));
    const progress = await watch.exportProgress(id).catch(() => null); // the session may not answer now
    unknown = progress === null ? unknown + 1 : 0;
    if (progress?.state === "done") {
      Notification.update({ id: shown, message: words.exportDone(progress.bytes), type: "success", autoClose: 10_000 });
      return;
    }
    if (progress?.state === "cut" || unknown > PATIENCE) {
      Notification.update({ id: shown, message: words.exportCut, type: "error", autoClose: false });
      return;
    }
    if (progress) Notification.update({ id: shown, message: words.exportGoes(progress.files, plan.files) });
  }
}
