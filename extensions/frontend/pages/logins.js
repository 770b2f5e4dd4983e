/** On Home: the person's own logins that some factories need, with their ends, and a form to renew each. */

import { Trouble, ask } from "./api.js";
import { h, render } from "../common/dom.js";
import { clock } from "../common/format.js";
import { W } from "../common/words.js";

const SOON = 30 * 60_000; // ms before its end from which a login is shown as expiring

/** "good", "soon" or "over". `credential` is a factory's. */
export function loginState(credential, now) {
  const left = credential.until === null ? -1 : Date.parse(credential.until) - now;
  if (left <= 0) return "over";
  return left < SOON ? "soon" : "good";
}

function row(factory, now, busy, trouble, send) {
  const { until, renew_url: url } = factory.credential;
  const state = loginState(factory.credential, now);
  const id = `token-${factory.id}`;
  const words = { good: W.loginGood, soon: W.loginSoon, over: W.loginOver }[state];
  return h("li", { class: "fg-login", key: `login-${factory.id}` },
    h("p", {}, h("strong", {}, factory.site.machine), ` · ${words(until === null ? "" : clock(until, now))}`),
    h("form", { class: "fg-login-form", onsubmit: (event) => send(event, factory) },
      h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, W.loginToken),
      h("label", { for: id }, W.loginPaste),
      h("input", {
        id, key: id, name: "token", type: "password", class: "form-control", required: true, autocomplete: "off",
        spellcheck: "false",
      }),
      h("button", { class: "btn btn-sm fg-primary", "aria-disabled": String(busy) }, busy ? W.loginAsking : W.loginRenew)),
    trouble ? h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, trouble) : null);
}

/** `part`: the section with the list; `to`: URLs; `changed`: called with (factory id, credential). */
export function logins(part, to, changed) {
  const busy = new Set();
  const troubles = new Map();
  let factories = [];

  async function send(event, factory) {
    event.preventDefault();
    if (busy.has(factory.id)) return;
    const field = event.target.elements.namedItem("token");
    const token = field.value.trim();
    field.value = ""; // the page does not keep it
    busy.add(factory.id);
    troubles.delete(factory.id);
    draw();
    try {
      changed(factory.id, await ask(to.credential(factory.id), { method: "PUT", body: { token } }));
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      troubles.set(factory.id, error.message);
    } finally {
      busy.delete(factory.id);
      draw();
    }
  }

  function draw(now = Date.now()) {
    part.hidden = factories.length === 0;
    render(part.querySelector("ul"), factories.map((one) =>
      row(one, now, busy.has(one.id), troubles.get(one.id), send)));
  }

  return {
    /** Shows those factories of `all` that need the person's own login. */
    show(all) {
      factories = all.filter((one) => one.credential);
      draw();
    },
  };
}
