/** How long a form that was sent is not sent again, in milliseconds: longer than the hub takes to answer a form. */
export const AGAIN_MS = 10_000;

/**
 * Sends a form once only, however often its button is pressed, until the browser has stopped waiting for the answer. A
 * browser without the Navigation API does not tell that; there the form can be sent again after `AGAIN_MS`.
 * @param {EventTarget} form
 * @param {EventTarget & { navigation?: EventTarget }} page The window.
 * @param {() => number} now Milliseconds of a clock that never jumps.
 */
export function sendOnce(form, page, now = () => performance.now()) {
  let sent = -Infinity;
  const again = () => {
    sent = -Infinity;
  };
  form.addEventListener("submit", (event) => {
    if (now() - sent < AGAIN_MS) event.preventDefault();
    else sent = now();
  });
  // Stop, or another page that is opened instead, aborts the navigation to the answer.
  page.navigation?.addEventListener("navigate", (event) => {
    if ("signal" in event && event.signal instanceof AbortSignal) event.signal.addEventListener("abort", again);
  });
  page.addEventListener("pageshow", (event) => {
    if ("persisted" in event && event.persisted) again();
  });
}
