/** The messages that this browser has already shown. */

import { type Message } from "./model.js";

const KEY = "factorygate-lab:shown";
const KEPT = 50; // ids; a session keeps fewer messages

export class Shown {
  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem">) {}

  /** Returns the messages that were not shown yet, and marks them as shown. */
  fresh(session: string, messages: Message[]): Message[] {
    if (!messages.length) return [];
    const known = this.read();
    const name = (message: Message): string => `${session} ${message.id}`;
    const fresh = messages.filter((message) => !known.includes(name(message)));
    if (fresh.length) this.storage.setItem(KEY, JSON.stringify([...known, ...fresh.map(name)].slice(-KEPT)));
    return fresh;
  }

  private read(): string[] {
    try {
      const told: unknown = JSON.parse(this.storage.getItem(KEY) ?? "[]");
      return Array.isArray(told) ? told.filter((one) => typeof one === "string") : [];
    } catch {
      return []; // not written by this extension
    }
  }
}
