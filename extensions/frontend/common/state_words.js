/**
 * Texts that pages, widgets and JupyterLab share. They are translated when shown, since JupyterLab loads its language
 * late.
 */

import { t } from "./translate.js";

/**
 * The name of a session, by the name of its server.
 * @param {string} name
 */
export const sessionName = (name) => name || t("Main session");

/** States of sessions and of a cluster's jobs. */
export const stateWords = () => (/** @satisfies {Record<string, string>} */ ({
  pending: t("In the queue"), starting: t("Starting"), running: t("Running"), ending: t("Ending"), ended: t("Ended"),
  unreachable: t("Not answering"),
}));
