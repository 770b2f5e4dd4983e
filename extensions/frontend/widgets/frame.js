/** A widget's shadow root, so that styles and ids of JupyterLab and of the widget do not affect each other. */

const DARK = "(prefers-color-scheme: dark)";

/** JupyterLab's theme is an attribute of its body; elsewhere the browser decides. */
function isDark() {
  const told = document.body.dataset.jpThemeLight;
  return told === undefined ? window.matchMedia(DARK).matches : told === "false";
}

/** In JupyterLab, Enter in a field does not fire a change event; leaving the field does, if its value changed. */
function enter(event) {
  if (event.key !== "Enter" || !event.target.matches("input[type=number], input[type=text]")) return;
  event.target.blur();
  event.target.focus();
}

/** Puts `content` with `styles` into a new root in `el`; returns a function that removes everything. */
export function mount(el, content, styles) {
  // Arrow keys, letters and Enter belong to the control that has the focus, not to the notebook's shortcuts.
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  const root = el.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles);
  root.adoptedStyleSheets = [sheet];
  root.append(content);
  root.addEventListener("keydown", enter);

  const dress = () => {
    content.dataset.bsTheme = isDark() ? "dark" : "light";
  };
  const themes = new MutationObserver(dress);
  themes.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  const preference = window.matchMedia(DARK);
  preference.addEventListener("change", dress);
  dress();
  return () => {
    themes.disconnect();
    preference.removeEventListener("change", dress);
  };
}

const FRAMES = 600; // about 10 s, in which a new element gets into the page

/**
 * Sends JupyterLab the widget's state as text once the element is in the page. JupyterLab stores it in the notebook.
 */
export function tellState(el, text) {
  el.factorygateState = text;
  let frames = 0;
  const tell = () => {
    if (el.factorygateState !== text) return; // a newer state is being sent
    if (!el.isConnected) {
      if (frames++ < FRAMES) requestAnimationFrame(tell);
      return;
    }
    el.dispatchEvent(new CustomEvent("factorygate-state", { bubbles: true, composed: true, detail: text }));
  };
  tell();
}

/** Listens to these traits of a model; returns a function that stops it. */
export function listen(model, traits, heard) {
  const events = traits.map((trait) => `change:${trait}`);
  for (const event of events) model.on(event, heard);
  return () => {
    for (const event of events) model.off(event, heard);
  };
}
