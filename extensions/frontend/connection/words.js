/** The texts of the connection check. The report that a person copies has the same ones. */

import { locale, t, tn } from "../common/translate.js";

const speed = (n) => new Intl.NumberFormat(locale(), { maximumSignificantDigits: 2 }).format(n);

/**
 * `host`, `port`, `scheme`: of the gateway; `base`: the hub's base path.
 * @typedef {{host: string, port: string, scheme: string, base: string}} Gateway
 */

/** @type {Record<string, string>} */
export const TEST = {
  browser: t("Your browser"),
  cookies: t("Cookies"),
  trip: t("Answers of the gateway"),
  download: t("Download"),
  upload: t("Upload"),
  stream: t("Live updates"),
  socket: t("WebSocket, the connection to a notebook"),
};

/** @type {Record<string, string>} */
export const VERDICT = {
  good: t("Works"),
  limited: t("Works with limits"),
  bad: t("Does not work"),
  unknown: t("Could not be tested"),
};

/** What all verdicts together mean: [heading, text]. */
/** @type {Record<string, readonly [string, string]>} */
export const SUMMARY = {
  good: [t("You can take part from here"), t("Everything that the class needs works with this browser in this network.")],
  limited: [
    t("You can take part from here, with limits"),
    t("The class will work. Below you read what will be slower or less comfortable, and what helps."),
  ],
  bad: [
    t("You cannot take part from here yet"),
    t("Below you read what does not work, and what you or your IT department can do. Another browser or another network, such as a phone’s hotspot, often works at once."),
  ],
  unknown: [
    t("Not everything could be tested"),
    t("Many people are testing at the moment, or the gateway was busy. Check again in a few minutes."),
  ],
};

const ANOTHER_NETWORK = t("Try another network, such as a phone’s hotspot, and tell your IT department what is written below.");
const ANOTHER_BROWSER = t("Update your browser, or use a current Firefox, Chrome, Edge or Safari.");
const STREAM_MEANS = t("The gateway’s pages ask for news every few seconds instead. Notebooks are not affected.");
const NOTHING_TO_DO = t("You need not do anything.");
const NO_CELL = t("JupyterLab opens, and you can read and save files, but no cell runs: there is no other way to a notebook’s kernel.");
const PIECE_BY_PIECE = ({ host, port, scheme }) => t(
  "Pass on answers of the type text/event-stream from {scheme}://{host}:{port} piece by piece: no buffering, no virus scan of the whole answer.",
  { host, port, scheme },
);
const REACH = (gateway) => t("Allow {scheme} to {host}, port {port}, without a login at the proxy.", gateway);

/**
 * By the code of a result: `what` was found, `means`: what this means for the class, `help`: what the person can do,
 * `staff`: what their IT department can do.
 * @type {Record<string, {
 *   what: (values: Json) => string, means?: string, help?: string, staff?: (gateway: Gateway) => string,
 * }>}
 */
export const RESULT = {
  "not-tested": { what: () => t("This test could not be done: the gateway was too busy, or no answer arrived."), help: t("Check again in a few minutes.") },

  "browser-fits": { what: () => t("It has what JupyterLab needs.") },
  "browser-old": {
    what: ({ missing }) => t("It lacks what JupyterLab needs: {missing}.", { missing: missing.join(", ") }),
    means: t("JupyterLab will not open, or parts of it will not work."),
    help: ANOTHER_BROWSER,
    staff: () => t("JupyterLab 4 needs a browser that is not older than about two years."),
  },
  "no-storage": {
    what: () => t("It does not let pages store data."),
    means: t("JupyterLab may forget how you arranged it, and some of its parts may not work."),
    help: t("Do not use a private window, and allow this site to store data in the browser’s settings."),
  },

  "cookies-kept": { what: () => t("They come back to the gateway.") },
  "cookies-lost": {
    what: () => t("The browser did not send back the cookie of this page."),
    means: t("You cannot sign in."),
    help: t("Allow cookies for this site in the browser’s settings, and switch off add-ons that remove them."),
    staff: ({ host }) => t("Do not remove the headers Cookie and Set-Cookie from requests to {host} and their answers.", { host }),
  },

  "answers": { what: ({ ms }) => tn(ms, "An answer takes {n} ms.", "An answer takes {n} ms.") },
  "answers-slow": {
    what: ({ ms }) => tn(ms, "An answer takes {n} ms, which is slow.", "An answer takes {n} ms, which is slow."),
    means: t("What you type and click in JupyterLab has its effect late."),
    help: t("Come nearer to your wireless network’s station, use a cable, or switch off a VPN that you do not need."),
  },
  "answers-lost": {
    what: ({ failed, all }) => tn(failed, "{n} of {all} requests got no answer.", "{n} of {all} requests got no answer.", { all }),
    means: t("JupyterLab will lose its connection now and then. It connects again by itself."),
    help: t("Come nearer to your wireless network’s station, use a cable, or try another network."),
  },
  "no-answer": {
    what: () => t("The gateway’s answers do not arrive."),
    means: t("You cannot take part from this network."),
    help: ANOTHER_NETWORK,
    staff: REACH,
  },

  "download": { what: (values) => t("{speed} Mbit/s", { speed: speed(values.speed) }) },
  "download-slow": {
    what: (values) => t("{speed} Mbit/s, which is slow.", { speed: speed(values.speed) }),
    means: t("JupyterLab takes up to a minute until it opens for the first time. Then your browser keeps its files."),
    help: t("Open JupyterLab some minutes before the class, and end other downloads and video calls."),
  },
  "download-useless": {
    what: (values) => t("{speed} Mbit/s, which is too slow.", { speed: speed(values.speed) }),
    means: t("JupyterLab takes several minutes until it opens, or does not open."),
    help: ANOTHER_NETWORK,
    staff: REACH,
  },
  "download-blocked": {
    what: () => t("Nothing arrived."),
    means: t("JupyterLab will not open."),
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) =>
      t("Let answers from {scheme}://{host}:{port} through that have several megabytes and the type application/octet-stream.", { host, port, scheme }),
  },

  "upload": { what: (values) => t("{speed} Mbit/s", { speed: speed(values.speed) }) },
  "upload-slow": {
    what: (values) => t("{speed} Mbit/s, which is slow.", { speed: speed(values.speed) }),
    means: t("Saving a large notebook and uploading files take long."),
    help: t("End other uploads and video calls, or use another network."),
  },
  "upload-blocked": {
    what: () => t("The gateway did not get what the browser sent."),
    means: t("You cannot save notebooks and upload files."),
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) =>
      t("Let requests of the methods POST, PUT and PATCH with a body through to {scheme}://{host}:{port}.", { host, port, scheme }),
  },

  "stream": { what: () => t("They arrive at once.") },
  "stream-held": {
    what: () => t("Something between you and the gateway, such as a proxy or a virus scanner, holds them back until they are complete."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: PIECE_BY_PIECE,
  },
  "stream-cut": {
    what: () => t("They break off."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: ({ host, port, scheme }) =>
      t("Do not end answers of the type text/event-stream from {scheme}://{host}:{port} while they are open; they may last for hours.", { host, port, scheme }),
  },
  "stream-blocked": {
    what: () => t("They do not arrive."),
    means: STREAM_MEANS,
    help: NOTHING_TO_DO,
    staff: PIECE_BY_PIECE,
  },

  "socket": { what: ({ ms }) => tn(ms, "A message and its answer take {n} ms.", "A message and its answer take {n} ms.") },
  "socket-blocked": {
    what: () => t("The connection does not open, most likely because of a proxy or firewall in this network."),
    means: NO_CELL,
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme, base }) =>
      t("Allow WebSockets to {scheme}://{host}:{port}: pass on requests with “Connection: Upgrade” and “Upgrade: websocket” (RFC 6455) to paths below {base}, and keep the connections open for hours. If the proxy cannot do this, exempt {host} from it.", {
        host, port, base, scheme: scheme === "https" ? "wss" : "ws",
      }),
  },
  "socket-silent": {
    what: () => t("The connection opens, but messages do not get through."),
    means: NO_CELL,
    help: ANOTHER_NETWORK,
    staff: ({ host, port, scheme }) =>
      t("Let WebSocket messages pass in both directions on {scheme}://{host}:{port}; do not inspect or delay them.", {
        host, port, scheme: scheme === "https" ? "wss" : "ws",
      }),
  },
};

export const W = {
  testing: (test) => t("Testing: {test}", { test }),
  testingHead: t("Testing…"),
  waits: t("Not tested yet"),
  means: t("What this means:"),
  help: t("What you can do:"),
  staff: t("For your IT department:"),
  line: (name, verdict) => t("{what}: {name}", { what: name, name: verdict }),
  sending: t("Sending…"),
  sent: t("Sent."),
  copied: t("Copied."),
  selected: t("Selected: press Ctrl+C to copy it."),
  reportHead: (host, when) => t("Connection check of {host}, {when}", { host, when }),
  result: (head) => t("Result: {head}", { head }),
};
