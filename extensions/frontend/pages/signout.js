/** Signing out in one tab signs out in all tabs, so that none of them shows a person's data to the next person. */

const KEY = "fg-signed-out";

/** Notifies the other tabs by a change of the browser's storage. */
function tell() {
  try {
    localStorage.setItem(KEY, String(Date.now()));
  } catch {
    // a browser without storage; its other tabs notice at their next request to the hub
  }
}

function begin() {
  if (document.getElementById("fg-sign-in")) tell();
  if (!document.getElementById("logout")) return;
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) location.reload();
  });
}

begin();
