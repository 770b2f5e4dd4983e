/** Toasts: the session will end soon, it has ended, and messages to its person. Each is shown once. */

import { Notification } from "@jupyterlab/apputils";

import { type Actions } from "./actions.js";
import { step, type Help, type Message } from "./model.js";
import { type Shown } from "./shown.js";
import { type Watch } from "./watch.js";

const READ = 30_000; // ms for which a message that is no warning is shown

export class Toasts {
  private near = ""; // the step whose toast is shown now
  private nearId = "";
  private overId = "";
  private helper = ""; // who was said to come
  private asker = ""; // who was said to ask for a look
  private askId = "";

  constructor(
    private readonly watch: Watch,
    private readonly actions: Actions,
    private readonly shown: Shown,
  ) {
    watch.changed.connect(this.look, this);
  }

  private look(): void {
    const { overview, phase } = this.watch;
    if (overview === null) return;
    this.warn();
    this.over(phase === "ended");
    this.help(phase === "here" ? overview.help : null);
    for (const message of this.shown.fresh(overview.session, overview.messages)) this.tell(message);
  }

  private warn(): void {
    const { overview, phase } = this.watch;
    const notice = phase === "here" ? (overview?.notice ?? null) : null;
    const now = overview && notice ? step(overview.session, notice) : "";
    if (now === this.near || phase === "silent") return;
    this.near = now;
    if (this.nearId) Notification.dismiss(this.nearId);
    this.nearId = "";
    if (notice === null) return;
    const { actions } = this;
    const { words } = actions;
    const offers = [offer(words.saveAll, () => actions.save(), true)];
    const lasts = notice.kind !== "access"; // an extension is not possible, and nothing more may start for that project
    if (lasts && actions.room > 0) offers.push(offer(words.moreTime, () => actions.more()));
    if (lasts && actions.canStartAgain) offers.push(offer(words.startAgain, () => actions.again()));
    const text = words.notice(notice.kind, notice.at, this.watch.now());
    this.nearId = Notification.warning(text, { autoClose: false, actions: offers });
  }

  private over(ended: boolean): void {
    if (ended === Boolean(this.overId)) return;
    const { actions } = this;
    if (!ended) {
      Notification.dismiss(this.overId);
      this.overId = "";
      return;
    }
    const again = actions.canStartAgain && this.watch.over !== "access";
    const offers = again ? [offer(actions.words.startAgain, () => actions.again())] : [];
    this.overId = Notification.error(actions.words.over(this.watch.over), { autoClose: false, actions: offers });
  }

  /** Says once that a helper comes, and that a helper asks to see the notebook. */
  private help(help: Help | null): void {
    const { words, help: actions } = this.actions;
    const helper = help?.hand?.by ?? "";
    if (helper && helper !== this.helper) Notification.info(words.handIs(0, helper), { autoClose: READ });
    this.helper = helper;
    const asker = help?.look ? "" : (help?.hand?.askedBy ?? "");
    if (asker === this.asker) return;
    this.asker = asker;
    if (this.askId) Notification.dismiss(this.askId);
    this.askId = asker
      ? Notification.info(words.asksToLook(asker), { autoClose: false, actions: [offer(words.allowLook, () => actions.allowLook())] })
      : "";
  }

  private tell(message: Message): void {
    const calm = message.kind === "info" || message.kind === "success";
    Notification.emit(message.text, message.kind, { autoClose: calm ? READ : false });
  }
}

/** A button of a toast; `stays`: the toast stays open afterwards. */
function offer(label: string, act: () => Promise<unknown>, stays = false): Notification.IAction {
  return {
    label,
    callback: (event) => {
      if (stays) event.preventDefault();
      void act();
    },
  };
}
