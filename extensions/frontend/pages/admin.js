/**
 * Improves JupyterHub's admin page: its arrow button gets a name, and each cell gets its column's name, which admin.css
 * shows on a narrow page, where each row is a block.
 */

import { byId } from "../common/dom.js";

const ARROWS = "button[data-testid$='-collapse-button']:not([aria-label])";
const place = byId("react-admin-hook");

function name() {
  for (const button of place.querySelectorAll(ARROWS)) {
    button.setAttribute("aria-label", `Details: ${button.dataset.testid.replace(/-collapse-button$/, "")}`);
  }
  const columns = [...place.querySelectorAll(".admin-table-head th")].map((head) => head.textContent.trim());
  for (const row of place.querySelectorAll(".user-row")) {
    [...row.cells].forEach((cell, number) => {
      if (cell.dataset.label !== columns[number]) cell.dataset.label = columns[number];
    });
  }
}

new MutationObserver(name).observe(place, { childList: true, subtree: true });
name();
