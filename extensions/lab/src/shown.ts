/** Which messages this browser has shown already. */

import { type Message } from "./model.js";

const KEY = "factorygate-lab:shown";
const KEPT = 50; // ids; a session keeps fewer messages

export class Shown {
  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem">) {}

  /** Those that were not shown yet; from now on they were. */
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
      return []; // not ours
    }
  }
}
