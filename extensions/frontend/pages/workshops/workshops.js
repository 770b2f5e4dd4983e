// The form of a workshop: fills in the browser's time zone, and moves the later times along with the first one.

const CLOCK = /^\d{4}-\d\d-\d\dT\d\d:\d\d$/;

/**
 * Returns a local time some minutes later, as an input of type datetime-local has it. Clocks are not moved for summer
 * time here: the server checks all times in the zone of the class.
 * @param {string} time
 * @param {number} minutes
 */
export function later(time, minutes) {
  const at = new Date(`${time}:00Z`);
  at.setUTCMinutes(at.getUTCMinutes() + minutes);
  return at.toISOString().slice(0, 16);
}

/** @param {string} id */
const field = (id) => /** @type {HTMLInputElement | null} */ (document.getElementById(id));

const zone = field("zone");
if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

const [opens, starts, ends, closes] = ["opens", "starts", "ends", "closes"].map(field);
opens?.addEventListener("change", () => {
  if (!CLOCK.test(opens.value)) return;
  for (const [one, minutes] of /** @type {const} */ ([[starts, 30], [ends, 210], [closes, 240]])) {
    if (one && !one.value) one.value = later(opens.value, minutes);
  }
});
