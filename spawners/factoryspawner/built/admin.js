// common/dom.js
var byId = (id) => document.getElementById(id);

// pages/admin.js
var ARROWS = "button[data-testid$='-collapse-button']:not([aria-label])";
var place = byId("react-admin-hook");
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
