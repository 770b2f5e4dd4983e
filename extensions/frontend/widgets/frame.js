/** Where a widget's elements live: a shadow root, so that neither JupyterLab's styles and ids nor ours reach the other. */

const DARK = "(prefers-color-scheme: dark)";

/** JupyterLab says on its body which theme it has; other places leave it to the browser. */
function isDark() {
  const told = document.body.dataset.jpThemeLight;
  return told === undefined ? window.matchMedia(DARK).matches : told === "false";
}

/** In JupyterLab, Enter in a field is no change to the browser; leaving it is, if anything was changed. */
function enter(event) {
  if (event.key !== "Enter" || !event.target.matches("input[type=number], input[type=text]")) return;
  event.target.blur();
  event.target.focus();
}

/** Puts `content` into a fresh root in `el`, dressed in `styles`; answers with what takes down what was set up. */
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

const FRAMES = 600; // some 10 s, in which an element that was just made gets into the page

/** Tells JupyterLab what the widget shows, as text, once the element is in the page. JupyterLab keeps it in the notebook. */
export function tellState(el, text) {
  el.factorygateState = text;
  let frames = 0;
  const tell = () => {
    if (el.factorygateState !== text) return; // a newer one is told
    if (!el.isConnected) {
      if (frames++ < FRAMES) requestAnimationFrame(tell);
      return;
    }
    el.dispatchEvent(new CustomEvent("factorygate-state", { bubbles: true, composed: true, detail: text }));
  };
  tell();
}

/** Listens to these traits of a model; answers with what stops it. */
export function listen(model, traits, heard) {
  const events = traits.map((trait) => `change:${trait}`);
  for (const event of events) model.on(event, heard);
  return () => {
    for (const event of events) model.off(event, heard);
  };
}
