/** Globals that a script finds on its page. */

/**
 * A view of the gateway's API as JSON, or a state made of them. Its fields are those of factorycommon/models; they are not
 * written down here a second time.
 */
type Json = any;

/**
 * Texts by name. `@satisfies` checks that a script uses existing names only; JavaScript itself would allow any name.
 */
type Texts = Record<string, unknown>;

/** The catalogue that Python puts before a widget's bundle. */
declare const FACTORYGATE_TEXTS: unknown;

interface Window {
  /** JupyterHub's own settings of a page. */
  jhdata: { xsrf_token: string; base_url: string };
}
