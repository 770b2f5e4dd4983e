/**
 * Uses a Jupyter server as VS Code's extension "Jupyter" does with "Existing Jupyter Server": by JupyterLab's own client,
 * with the settings of its `createJupyterConnectionInfo` (src/kernels/jupyter/jupyterUtils.ts, July 2026) and the
 * WebSocket of its `jupyterRequestCreator.node.ts`. Runs the code of its one argument in a new kernel and prints what it
 * printed. SESSION_URL and SESSION_TOKEN say where; `ASKED` lines on stderr say what was asked, without the token.
 */

import { createRequire } from "node:module";

const lab = createRequire(new URL("../../extensions/lab/package.json", import.meta.url));
const { KernelAPI, KernelManager, KernelSpecManager, ServerConnection, SessionManager } = lab("@jupyterlab/services");
const WebSocket = lab("ws");

const { SESSION_URL: baseUrl, SESSION_TOKEN: token } = process.env;
const hidden = (text) => text.replaceAll(token, "TOKEN");
const authHeader = { Authorization: `token ${token}` };

class AuthorizingRequest extends Request {
  constructor(input, init) {
    super(input, init);
    for (const [name, value] of Object.entries(authHeader)) this.headers.set(name, value);
    this.headers.set("Content-Type", "application/json");
    const append = this.headers.append.bind(this.headers); // JupyterLab's client would add the token once more
    this.headers.append = (name, value) => name.toLowerCase() === "authorization" || append(name, value);
  }
}

class JupyterWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers: authHeader });
    console.error(`ASKED WS ${hidden(url)}`);
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: `${baseUrl}/`,
  appUrl: "",
  wsUrl: `${baseUrl}/`.replace("http", "ws"),
  token,
  appendToken: true,
  init: { cache: "no-store", credentials: "same-origin" },
  fetch: (request, init) => {
    console.error(`ASKED ${request.method} ${hidden(request.url)}`);
    return fetch(request, init);
  },
  Request: AuthorizingRequest,
  Headers,
  WebSocket: JupyterWebSocket,
});

// "Verify Connection": is the server there, which kernels does it have?
await KernelAPI.listRunning(serverSettings);
const specs = new KernelSpecManager({ serverSettings });
await specs.refreshSpecs();
const kernelManager = new KernelManager({ serverSettings });
const sessionManager = new SessionManager({ serverSettings, kernelManager });
await sessionManager.ready;

const name = `test-jvsc-${crypto.randomUUID()}.ipynb`;
const options = { path: name, name, type: "notebook", kernel: { name: specs.specs.default } };
const session = await sessionManager.startNew(options, { kernelConnectionOptions: { handleComms: true } });
const future = session.kernel.requestExecute({ code: process.argv[2] });
future.onIOPub = (message) => {
  if (message.header.msg_type === "stream") process.stdout.write(message.content.text);
};
const reply = await future.done;
await session.shutdown();
for (const one of [sessionManager, kernelManager, specs]) one.dispose();
process.exit(reply.content.status === "ok" ? 0 : 1);
