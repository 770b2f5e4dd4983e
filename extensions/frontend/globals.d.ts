/** What a script finds beside it. */

/**
 * A view of the gateway's API as JSON, or a state made of them. Its fields are those of factorycommon/models; they are not
 * written down here a second time.
 */
type Json = any;

/** Texts by name. What a script reads must be one of them (`@satisfies`): else an object in JavaScript may have any name. */
type Texts = Record<string, unknown>;

/** The catalogue that Python puts before a widget's bundle. */
declare const FACTORYGATE_TEXTS: unknown;

interface Window {
  /** JupyterHub's own settings of a page. */
  jhdata: { xsrf_token: string };
}
