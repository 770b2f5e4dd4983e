/**
 * For configurable-http-proxy: `node --require .../cut.cjs .../configurable-http-proxy`.
 *
 * When a server goes away in the middle of an answer, the proxy's library (http-proxy-3 1.23) leaves the browser's side
 * open and silent: a download that was cut neither goes on nor fails. Here it is cut as well, so that the browser knows.
 */

"use strict";

const { IncomingMessage, ServerResponse } = require("node:http");

const pipe = IncomingMessage.prototype.pipe;

IncomingMessage.prototype.pipe = function (target, options) {
  if (target instanceof ServerResponse) {
    this.once("close", () => {
      if (!this.complete) target.destroy();
    });
  }
  return pipe.call(this, target, options);
};
