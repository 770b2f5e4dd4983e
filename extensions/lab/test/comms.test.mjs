// Which kernel connection of a notebook receives comm messages, with JupyterLab's own sessions. Run: node --test
import assert from "node:assert/strict";
import { registerHooks } from "node:module";
import { afterEach, beforeEach, describe, test } from "node:test";

import { KernelManager, KernelSpecManager, ServerConnection, SessionManager } from "@jupyterlab/services";

import { keepComms } from "../lib/lab/src/comms.js";

// JupyterLab's session context without what it needs of a browser: dialogs and their texts.
const WITHOUT = {
  "./dialog": "export class Dialog {} export const showDialog = null;",
  "@lumino/widgets": "export class Widget {}",
  "@jupyterlab/translation": "export const nullTranslator = { load: () => ({ __: (text) => text }) };",
};
const hooks = registerHooks({
  resolve: (name, context, next) => (name in WITHOUT
    ? { url: `data:text/javascript,${encodeURIComponent(WITHOUT[name])}`, shortCircuit: true }
    : next(name, context)),
});
const { SessionContext } = await import("../node_modules/@jupyterlab/apputils/lib/sessioncontext.js");
hooks.deregister();

// A poll of JupyterLab keeps its timer when it is disposed of; it must not keep this process.
const { setTimeout: start } = globalThis;
globalThis.setTimeout = (...told) => {
  const timer = start(...told);
  return told[1] >= 1000 ? timer.unref() : timer;
};

const PATH = "lesson.ipynb";
const TARGET = "jupyter.widget"; // of widgets' comms

/** A socket that never opens. */
class Silent {
  close() {}
}

/** A notebook server that starts sessions. */
class Server {
  kernels = [];
  sessions = [];

  answer = async (request) => {
    const { pathname } = new URL(request.url);
    const json = (told, status = 200) => new globalThis.Response(JSON.stringify(told), { status });
    if (pathname === "/api/kernelspecs") {
      const spec = { name: "python3", spec: { language: "python", argv: [], display_name: "Python 3", env: {} }, resources: {} };
      return json({ default: "python3", kernelspecs: { python3: spec } });
    }
    if (request.method === "GET") return json(pathname === "/api/kernels" ? this.kernels : this.sessions);
    const body = await request.json();
    if (request.method === "POST") {
      const kernel = this.kernels.find((one) => one.id === body.kernel.id) ?? { id: `kernel-${this.kernels.length}`, name: "python3" };
      if (!this.kernels.includes(kernel)) this.kernels.push(kernel);
      const made = { ...body, id: `session-${this.sessions.length}`, kernel };
      this.sessions.push(made);
      return json(made, 201);
    }
    return json(Object.assign(this.sessions.find(({ id }) => pathname.endsWith(id)), body));
  };
}

describe("comm messages of a kernel", () => {
  let server, kernels, sessions, specs, made;

  beforeEach(async () => {
    server = new Server();
    const serverSettings = ServerConnection.makeSettings({
      baseUrl: "http://127.0.0.1:1/", wsUrl: "ws://127.0.0.1:1/", WebSocket: Silent, fetch: server.answer,
    });
    const options = { serverSettings, standby: "never" };
    kernels = new KernelManager(options);
    sessions = new SessionManager({ ...options, kernelManager: kernels });
    specs = new KernelSpecManager(options);
    await Promise.all([sessions.ready, specs.ready]);
    made = [];
  });

  afterEach(() => {
    for (const one of [...made, sessions, kernels, specs]) one.dispose();
  });

  /** Returns a notebook, and the connections with which a widget manager could register. */
  const notebook = (kernelPreference = { name: "python3" }) => {
    const context = new SessionContext({
      kernelManager: kernels, sessionManager: sessions, specsManager: specs, path: PATH, name: PATH, type: "notebook", kernelPreference,
    });
    const registered = [];
    context.kernelChanged.connect((_, { newValue: kernel }) => {
      kernel?.registerCommTarget(TARGET, () => {});
      if (kernel?.handleComms) registered.push(kernel);
    });
    const followed = keepComms(context);
    made.push(followed, context);
    return { context, registered, followed };
  };

  /** Runs a cell before JupyterLab looks for a session of the notebook; returns both connections to the kernel. */
  const runEarly = async ({ context }) => {
    await context.startKernel(); // as a cell does that has no kernel
    const first = context.session.kernel;
    await context.initialize();
    const second = context.session.kernel;
    assert.notEqual(second, first); // else JupyterLab no longer connects twice
    assert.equal(second.id, first.id);
    assert.ok(first.isDisposed);
    return [first, second];
  };

  test("come to a notebook of which a cell ran while it was opened", async () => {
    const one = notebook();
    const [, second] = await runEarly(one);
    assert.ok(second.handleComms);
    assert.equal(one.registered.at(-1), second);
  });

  test("do not come there once the extension's part is disposed of", async () => {
    const one = notebook();
    one.followed.dispose();
    const [first, second] = await runEarly(one);
    assert.deepEqual([first.handleComms, second.handleComms], [true, false]); // else JupyterLab needs no help
  });

  test("stay with another notebook of the kernel", async () => {
    const other = await sessions.startNew({ path: "other.ipynb", name: "", type: "notebook", kernel: { name: "python3" } });
    const [first, second] = await runEarly(notebook({ id: other.kernel.id }));
    assert.equal(first.id, other.kernel.id);
    assert.deepEqual([other.kernel.handleComms, first.handleComms, second.handleComms], [true, false, false]);
  });

  test("stay with a connection that was made after the notebook's session had ended", async () => {
    const { context } = notebook();
    await context.initialize();
    const { id, name } = context.session.kernel;
    server.sessions = []; // the kernel goes on
    await sessions.refreshRunning();
    assert.equal(context.session, null);
    const other = kernels.connectTo({ model: { id, name } });
    await context.changeKernel({ id });
    assert.equal(context.session.kernel.id, id);
    assert.deepEqual([other.handleComms, context.session.kernel.handleComms], [true, false]);
  });
});
