/** The dialog that asks how many hours to add. */

import { Dialog, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";

import { h } from "../../frontend/common/dom.js";
import { type Words } from "./words.js";

const STEP = 0.1;

class Field extends Widget implements Dialog.IBodyWidget<number> {
  private readonly field: HTMLInputElement;

  constructor(words: Words, most: number) {
    const field = h("input", {
      type: "number", class: "jp-mod-styled", required: "", min: String(STEP), step: String(STEP), max: String(most),
      value: String(Math.min(1, most)),
    });
    super({ node: h("label", {}, words.moreLabel(most), field) });
    this.field = field;
  }

  getValue(): number {
    return this.field.valueAsNumber;
  }
}

/** The wanted hours; null if the person cancelled. `most`: the maximum. */
export async function askHours(words: Words, most: number): Promise<number | null> {
  const answer = await showDialog({
    title: words.moreTitle,
    body: new Field(words, most),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: words.moreAsk })],
    focusNodeSelector: "input",
  });
  return answer.button.accept && answer.value !== null && answer.value > 0 ? answer.value : null;
}
