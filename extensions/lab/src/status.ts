/** The item in the status bar: the session's place, its remaining time, and its resource use. */

import { Widget } from "@lumino/widgets";

import { h, setText } from "../../frontend/common/dom.js";
import { endOf, own, type Overview } from "./model.js";
import { type Watch } from "./watch.js";
import { type Words } from "./words.js";

const TICK = 1000; // ms

export class Status extends Widget {
  private readonly place = h("span", { class: "fg-Status-place" });
  private readonly time = h("span", { class: "fg-Status-time" });
  private readonly use = h("span", { class: "fg-Status-use" });
  private readonly budget = h("span", { class: "fg-Status-budget" });
  private readonly help = h("span", { class: "fg-Status-help" });
  private readonly timer: number;

  /** `onOpen`: called when the person wants to see more. */
  constructor(
    private readonly watch: Watch,
    private readonly words: Words,
    onOpen: () => void,
  ) {
    super({ node: h("div", { class: "fg-Status", lang: words.language }) });
    const line = h("button", { type: "button", title: words.showPanel }, this.place, this.time, this.help, this.use, this.budget);
    line.addEventListener("click", onOpen);
    this.node.append(line);
    this.id = "factorygate-status";
    watch.changed.connect(this.draw, this);
    this.timer = window.setInterval(() => {
      if (document.visibilityState === "visible") this.draw();
    }, TICK);
    this.draw();
  }

  override dispose(): void {
    window.clearInterval(this.timer);
    this.watch.changed.disconnect(this.draw, this);
    super.dispose();
  }

  private draw(): void {
    const { overview, phase } = this.watch;
    this.setHidden(overview === null || phase === "none");
    if (overview === null) return;
    const session = own(overview);
    this.node.dataset.phase = phase;
    this.node.dataset.near = phase === "here" && overview.notice ? (overview.notice.minutes > 5 ? "soon" : "now") : "";
    setText(this.place, session ? `${session.machine} · ${session.size}` : "");
    setText(this.time, this.left(overview));
    setText(this.help, phase === "here" ? this.words.helpShort(overview.help) : "");
    setText(this.use, phase === "here" ? this.words.use(overview.use) : "");
    setText(this.budget, session && session.budget !== null ? this.words.budget(session.budget) : "");
  }

  private left(overview: Overview): string {
    if (this.watch.phase === "ended") return this.words.ended;
    if (this.watch.phase === "silent") return this.words.silent;
    const end = overview.notice?.at ?? endOf(overview.ends, null);
    return end === null ? "" : this.words.left((end - this.watch.now()) / 1000);
  }
}
