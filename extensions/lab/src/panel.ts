/** The side panel: this session with its resource use, the person's other sessions, and their clusters. */

import { LabIcon } from "@jupyterlab/ui-components";
import { Widget } from "@lumino/widgets";

import { h } from "../../frontend/common/dom.js";
import { percent } from "../../frontend/common/format.js";
import { type Actions } from "./actions.js";
import { button } from "./button.js";
import { endOf, own, type Cluster, type Help, type Overview, type Session, type Use } from "./model.js";
import { type Watch } from "./watch.js";

const icon = new LabIcon({
  name: "factorygate-lab:door",
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="16"><path class="jp-icon3" fill="#616161" ' +
    'd="M4 28V12a12 12 0 0 1 24 0v16h-6V13a6 6 0 0 0-12 0v15z"/></svg>',
});

export class Panel extends Widget {
  private readonly parts = new Map<string, { told: string; node: HTMLElement }>();

  constructor(
    private readonly watch: Watch,
    private readonly actions: Actions,
  ) {
    super({ node: h("div", { class: "fg-Panel", role: "region", "aria-label": actions.words.title, lang: actions.words.language }) });
    this.id = "factorygate-panel";
    this.title.icon = icon;
    this.title.caption = actions.words.title;
    watch.changed.connect(this.draw, this);
  }

  override dispose(): void {
    this.watch.changed.disconnect(this.draw, this);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this.draw();
  }

  private draw(): void {
    const { overview, phase } = this.watch;
    if (!this.isVisible || overview === null) return;
    const { words, room, canStartAgain, folder } = this.actions;
    const { home, clusters, use } = overview;
    const over = phase === "ended";
    const others = overview.sessions.filter((one) => one.id !== overview.session);
    this.part("about", [phase, this.seconds(overview), overview.notice, own(overview), overview.trouble], () => this.about(overview));
    this.part("help", [over, overview.help], () => this.help(over ? null : overview.help));
    this.part("use", [over, use], () => (use && !over ? this.use(use) : h("div")));
    this.part("act", [over, room > 0, canStartAgain, folder], () => this.act(over));
    this.part("sessions", [others, home], () => this.list(words.yourSessions, others.map((one) => this.session(one)), home));
    this.part("clusters", clusters, () =>
      clusters.length ? this.list(words.yourClusters, clusters.map((one) => this.cluster(one))) : h("div"));
  }

  /**
   * Redraws a part only if its content changed. Elements that can have the focus are separate from those that change
   * often.
   */
  private part(name: string, told: unknown, make: () => HTMLElement): void {
    const text = JSON.stringify(told);
    const known = this.parts.get(name);
    if (known?.told === text) return;
    const node = make();
    if (known) known.node.replaceWith(node);
    else this.node.append(node);
    this.parts.set(name, { told: text, node });
  }

  private seconds(overview: Overview): number {
    return Math.floor(((endOf(overview.ends, overview.notice) ?? 0) - this.watch.now()) / 1000);
  }

  private about(overview: Overview): HTMLElement {
    const { words } = this.actions;
    const { notice } = overview;
    const session = own(overview);
    const end = endOf(overview.ends, notice);
    const now = this.watch.now();
    const over = this.watch.phase === "ended";
    // the notice is about its first end
    const idle = notice !== null && (notice.kind === "idle" || notice.kind === "unopened");
    const line = over ? words.over(this.watch.over) : this.watch.phase === "silent" ? words.silentLong : "";
    return h("section", { "aria-label": words.thisSession },
      h("h2", {}, words.thisSession),
      session && h("p", {}, h("strong", {}, session.machine), ` · ${session.size}`),
      end !== null && !over && !idle ? h("p", {}, words.endsAt((end - now) / 1000, end, now)) : null,
      notice && !over ? h("p", { class: "fg-Note" }, words.notice(notice.kind, notice.at, now)) : null,
      line ? h("p", { class: "fg-Note" }, line) : null,
      session && session.budget !== null ? h("p", {}, words.budget(session.budget)) : null,
      overview.trouble ? h("p", { class: "fg-Note" }, overview.trouble) : null);
  }

  private act(over: boolean): HTMLElement {
    const { words, room, canStartAgain, folder } = this.actions;
    return h("div", { class: "fg-Buttons" },
      over ? null : button(words.saveAll, () => this.actions.save()),
      room > 0 && !over ? button(words.moreTime, () => this.actions.more()) : null,
      folder && !over ? button(words.exportWork, () => this.actions.exportWork()) : null,
      canStartAgain ? button(words.startAgain, () => this.actions.again()) : null);
  }

  /** The person's raised hand, and who may see a notebook. Nothing outside of a workshop. */
  private help(help: Help | null): HTMLElement {
    const { words, help: actions } = this.actions;
    if (help === null || !(help.open || help.hand || help.look)) return h("div");
    const { hand, look } = help;
    const now = this.watch.now();
    return h("section", { "aria-label": words.help, class: "fg-Help" },
      h("h2", {}, words.help),
      hand ? h("p", { class: "fg-Note" }, words.handIs(hand.place, hand.by)) : null,
      hand?.askedBy && !look ? h("p", { class: "fg-Note" }, words.asksToLook(hand.askedBy)) : null,
      look ? h("p", { class: "fg-Note" }, words.lookLasts(look.file, look.until, now)) : null,
      look?.seenBy.length ? h("p", {}, words.seenBy(look.seenBy)) : null,
      help.trouble ? h("p", { class: "fg-Note" }, help.trouble) : null,
      h("div", { class: "fg-Buttons" },
        help.open ? button(hand ? words.changeHand : words.raiseHand, () => actions.raise()) : null,
        hand ? button(words.lowerHand, () => actions.lower()) : null,
        look ? button(words.endLook, () => actions.endLook()) : null,
        help.open && !look ? button(words.allowLook, () => actions.allowLook()) : null));
  }

  private use(use: Use): HTMLElement {
    const { words } = this.actions;
    const rows = [this.meter(words.memory, words.amount(use.memory, use.memoryLimit), use.memory, use.memoryLimit)];
    use.gpus.forEach((gpu, index) => {
      const busy = gpu.percent === null ? words.notTold : percent(gpu.percent);
      rows.push(this.meter(words.gpu(index, gpu.name), busy, gpu.percent, 100));
      if (gpu.memory === null) return;
      rows.push(this.meter(words.gpuMemory(index), words.amount(gpu.memory, gpu.memoryLimit), gpu.memory, gpu.memoryLimit));
    });
    return h("dl", { class: "fg-Use" }, ...rows.flat());
  }

  private meter(label: string, text: string, value: number | null, most: number | null): HTMLElement[] {
    const bar = value === null || !most ? null
      : h("meter", { min: "0", max: String(most), value: String(value), "aria-label": label, "aria-valuetext": text });
    return [h("dt", {}, label), h("dd", {}, text, bar)];
  }

  private list(title: string, items: HTMLElement[], home = ""): HTMLElement {
    const { words } = this.actions;
    return h("section", { "aria-label": title },
      h("h2", {}, title),
      items.length ? h("ul", {}, ...items) : h("p", {}, words.noOther),
      home ? h("p", {}, h("a", { href: home, target: "_blank", rel: "noopener" }, words.allSessions)) : null);
  }

  private session(session: Session): HTMLElement {
    const { words } = this.actions;
    const end = session.state === "running" ? endOf(session.ends, session.notice) : null;
    const name = session.url && session.state === "running"
      ? h("a", { href: session.url, target: "_blank", rel: "noopener", "aria-label": words.open(session.server) }, words.server(session.server))
      : h("strong", {}, words.server(session.server));
    return h("li", { "data-session": session.server },
      name, ` · ${session.machine} · ${session.size}`,
      h("span", { class: "fg-Line" }, words.state(session), end === null ? null : ` · ${words.ends(end, this.watch.now())}`));
  }

  private cluster(cluster: Cluster): HTMLElement {
    return h("li", { "data-cluster": cluster.id },
      h("strong", {}, cluster.name), h("span", { class: "fg-Line" }, this.actions.words.cluster(cluster)));
  }
}
