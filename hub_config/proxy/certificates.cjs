/**
 * For configurable-http-proxy: `node --require .../certificates.cjs .../configurable-http-proxy --client-ssl-key …`.
 *
 * The proxy reads its certificates once, as it starts, and a restart of the proxy cuts every connection. Here the files
 * of `--client-ssl-*` and `--api-ssl-*` are read again when they change: each new connection has what they hold then.
 *
 * A certificate of a server is checked for the host that is dialled: Node (24) would take the host from the browser's
 * Host header, which is passed on. And no TLS session is resumed, so that each connection is checked anew.
 *
 * With FACTORYGATE_METRICS_TLS=1 the port of `--metrics-port`, which is plain http else, has the certificate of
 * `--api-ssl-*` and wants one of the same authority.
 */

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const tls = require("node:tls");

/** Return the value of an option `NAME VALUE` or `NAME=VALUE` of this process; undefined where there is none. */
function option(name) {
  const at = process.argv.findIndex((word) => word === name || word.startsWith(`${name}=`));
  if (at < 0) return undefined;
  return process.argv[at] === name ? process.argv[at + 1] : process.argv[at].slice(name.length + 1);
}

/** Return the values of the options `--PREFIX-key`, `-cert` and `-ca` of this process; null where there is none. */
function named(prefix) {
  const paths = {};
  for (const part of ["key", "cert", "ca"]) {
    const path = option(`--${prefix}-${part}`);
    if (path !== undefined) paths[part] = path;
  }
  return Object.keys(paths).length ? paths : null;
}

/** The files of one prefix. `now()` returns their content, or the last content that could be used. */
class Files {
  constructor(paths) {
    this.paths = paths;
    this.stamp = null;
    this.content = null;
  }

  now() {
    const stamp = this.seen();
    if (stamp !== this.stamp) {
      this.stamp = stamp;
      try {
        const content = {};
        for (const [part, path] of Object.entries(this.paths)) content[part] = fs.readFileSync(path);
        tls.createSecureContext(content); // throws if key and certificate do not belong together
        this.content = content;
      } catch (error) {
        console.error(`The last good certificate stays in use: ${this.paths.cert}: ${error.message}`);
      }
    }
    return this.content;
  }

  seen() {
    return Object.values(this.paths)
      .map((path) => {
        const found = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
        return found ? `${found.ino}-${found.mtimeNs}-${found.size}` : "";
      })
      .join(" ");
  }
}

const dialing = named("client-ssl");
if (dialing) {
  const files = new Files(dialing);
  const connect = tls.connect;
  tls.connect = function (...args) {
    const [options, ...rest] = args;
    const content = options && typeof options === "object" && options.cert ? files.now() : null;
    if (!content) return connect.apply(this, args);
    const host = options.hostname || options.host || "localhost";
    const servername = net.isIP(host) ? "" : host;
    return connect.call(this, { ...options, ...content, servername, session: undefined }, ...rest);
  };
}

/** Let each new connection of a server have what the files hold then. `used`: what they held before. */
function renew(server, files, used, options) {
  server.prependListener("connection", () => {
    const content = files.now();
    if (content !== used) {
      used = content;
      server.setSecureContext({ ...options, ...content, minVersion: "TLSv1.3" });
    }
  });
}

const listening = named("api-ssl");
if (listening) {
  const files = new Files(listening);
  const first = files.now();
  const createServer = https.createServer;
  https.createServer = function (options, ...rest) {
    const server = createServer.call(this, options, ...rest);
    if (first && options && options.key && first.key.equals(options.key)) renew(server, files, first, options);
    return server;
  };
}

if (process.env.FACTORYGATE_METRICS_TLS === "1") {
  const files = new Files(listening ?? {});
  const first = files.now();
  if (!first || !first.ca || !first.cert || !first.key) {
    console.error("FACTORYGATE_METRICS_TLS needs --api-ssl-key, --api-ssl-cert and --api-ssl-ca.");
    process.exit(1);
  }
  const port = option("--metrics-port");
  const listen = net.Server.prototype.listen;
  http.Server.prototype.listen = function (...args) {
    if (port === undefined || String(args[0]) !== port) return listen.apply(this, args);
    const options = { requestCert: true, rejectUnauthorized: true, handshakeTimeout: 10_000 };
    const server = tls.createServer({ ...options, ...first, minVersion: "TLSv1.3" }, (socket) => {
      this.emit("connection", socket);
    });
    server.on("tlsClientError", () => {}); // a stranger is no news
    server.on("error", (error) => this.emit("error", error));
    renew(server, files, first, options);
    return listen.apply(server, args);
  };
}
