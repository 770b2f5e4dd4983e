/** Notifications for a person who looks elsewhere: browser notification, window title, icon. */

const COLOURS = { pending: "#b26a00", starting: "#1d5bb8", running: "#1a7f37", ended: "#c0392b", unreachable: "#6b7280" };

export const canAsk = () => "Notification" in window && Notification.permission === "default";
export const mayTell = () => "Notification" in window && Notification.permission === "granted";
export const isDenied = () => !("Notification" in window) || Notification.permission === "denied";

/** Asks for the permission; must be called in a click handler. Resolves to whether the permission was given. */
export async function askPermission() {
  return (await Notification.requestPermission()) === "granted";
}

/** A notification that brings this tab to the front when clicked. Some phone browsers do not support it. */
export function tell(title, body) {
  if (!mayTell()) return;
  try {
    const note = new Notification(title, { body, tag: "factorygate" });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    document.title = `● ${title}`;
  }
}

/** Colours the tab's icon by the session's state. */
export function icon(state) {
  const colour = COLOURS[state] ?? COLOURS.pending;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#1d5bb8" d="M4 28V12a12 12 0 0 1 ` +
    `24 0v16h-6V13a6 6 0 0 0-12 0v15z"/><circle cx="22" cy="22" r="9" fill="${colour}" stroke="#fff" stroke-width="2"/></svg>`;
  /** @type {HTMLLinkElement | null} */
  const link = document.querySelector("link[rel=icon]");
  if (link) link.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
