/** The token page: creates a token, lets the person copy it, and revokes tokens. */

import "./catalogue.js";

import { Trouble, addresses, ask } from "./api.js";
import { announce, byId as at, h, render, settings } from "../common/dom.js";
import { W } from "../common/words.js";

const page = settings("fg-token");
const to = addresses(page.base, page.user, page.userUrl);
const SHOWN = 4000; // ms for which "Copied" is shown

async function attempt(work) {
  try {
    await work();
    render(at("fg-trouble"));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    render(at("fg-trouble"), h("p", { class: "fg-notice fg-notice-bad", role: "alert" }, error.message));
  }
}

/** The request body for JupyterHub's API from the form. */
function wanted() {
  const scopes = at("token-scopes").value.split(/[\s,]+/).filter(Boolean);
  return {
    note: at("token-note").value.trim() || W.token.note,
    expires_in: Number(at("token-expiration-seconds").value) || null,
    ...(scopes.length ? { scopes } : {}),
  };
}

/** Replaces the list of tokens by the hub's present one. */
async function renewList() {
  const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("fg-tokens");
  if (fresh) at("fg-tokens").replaceChildren(...fresh.children);
}

async function create() {
  const made = await ask(to.tokens, { method: "POST", body: wanted() });
  at("token-result").textContent = made.token;
  at("token-copied").textContent = "";
  at("token-area").hidden = false;
  at("fg-new-token-head").focus();
  await renewList();
}

/** Without https a page cannot write to the clipboard: then the token is selected, to be copied by hand. */
async function copy() {
  const token = at("token-result");
  try {
    await navigator.clipboard.writeText(token.textContent);
    at("token-copied").textContent = W.token.copied;
    setTimeout(() => {
      at("token-copied").textContent = "";
    }, SHOWN);
  } catch {
    getSelection()?.selectAllChildren(token);
    at("token-copied").textContent = W.token.selected;
  }
}

async function revoke(button) {
  const row = button.closest(".token-row");
  button.disabled = true;
  try {
    await ask(to.token(row.dataset.tokenId), { method: "DELETE" });
    row.remove();
    announce(W.token.revoked);
  } finally {
    button.disabled = false;
  }
}

at("request-token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(create);
});
at("token-copy").addEventListener("click", copy);
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest(".revoke-token-btn");
  if (button) attempt(() => revoke(button));
});
