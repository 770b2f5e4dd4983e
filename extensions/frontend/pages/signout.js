/** Who signs out in one tab is signed out in all: none goes on showing what was theirs to whoever comes next. */

const KEY = "fg-signed-out";

/** Tells the other tabs: they hear of a change, and only they. */
function tell() {
  try {
    localStorage.setItem(KEY, String(Date.now()));
  } catch {
    // a browser that keeps nothing; its other tabs say so at their next question to the hub
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
