/** The result of the connection check as text, for a mail to trainers or an IT department. It names no person. */

import { overall } from "./verdicts.js";
import { RESULT, SUMMARY, TEST, VERDICT, W } from "./words.js";

/** The texts about one result; what does not apply is "". */
export function explained({ code, values }, gateway) {
  const { what, means = "", help = "", staff } = RESULT[code];
  return { what: what(values), means, help, staff: staff?.(gateway) ?? "" };
}

/**
 * The report.
 * @param {readonly import("./verdicts.js").Result[]} results
 * @param {import("./words.js").Gateway} gateway
 * @param {string} when
 */
export function report(results, gateway, when) {
  const lines = [W.reportHead(gateway.host, when), W.result(SUMMARY[overall(results)][0])];
  for (const one of results) {
    const { what, means, staff } = explained(one, gateway);
    lines.push("", W.line(TEST[one.test], VERDICT[one.verdict]), what);
    if (means) lines.push(`${W.means} ${means}`);
    if (staff) lines.push(`${W.staff} ${staff}`);
  }
  return `${lines.join("\n")}\n`;
}

/**
 * The gateway as an IT department must know it, from the page's address.
 * @param {{protocol: string, hostname: string, port: string}} address
 * @param {string} base the hub's base path
 */
export function gatewayOf({ protocol, hostname, port }, base) {
  const scheme = protocol.replace(":", "");
  return { host: hostname, port: port || (scheme === "https" ? "443" : "80"), scheme, base };
}
