/**
 * For configurable-http-proxy: `node --require .../restore-routes.cjs .../configurable-http-proxy`.
 *
 * A proxy that was started anew has no routes until the hub gives them, which may take minutes. This asks the hub for
 * them at once: it posts to RESTORE_ROUTES_URL with RESTORE_ROUTES_TOKEN, a token of the hub with the scope `proxy`,
 * until the hub has answered. Without these variables it does nothing.
 */

"use strict";

const { RESTORE_ROUTES_URL: url, RESTORE_ROUTES_TOKEN: token } = process.env;
const PAUSE_MS = 1000;
const PATIENCE_MS = 30_000;

let said = "";

function say(words) {
  if (words === said) return;
  said = words;
  console.error(`restore-routes: ${words}`);
}

async function ask() {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Authorization: `token ${token}` },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.ok) {
      say("the hub has given its routes");
      return;
    }
    say(`the hub answers ${answer.status}; asking again`);
  } catch (error) {
    say(`the hub does not answer (${error.cause?.code ?? error.name}); asking again`);
  }
  setTimeout(ask, PAUSE_MS);
}

if (url && token) setImmediate(ask);
