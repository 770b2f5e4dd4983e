/** JupyterHub's admin page shows a user's details by a button with an arrow only; here it gets a name. */

const ARROWS = "button[data-testid$='-collapse-button']:not([aria-label])";

function name() {
  for (const button of document.querySelectorAll(ARROWS)) {
    button.setAttribute("aria-label", `Details: ${button.dataset.testid.replace(/-collapse-button$/, "")}`);
  }
}

new MutationObserver(name).observe(document.getElementById("react-admin-hook"), { childList: true, subtree: true });
name();
