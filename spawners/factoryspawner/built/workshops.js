// pages/workshops/workshops.js
var CLOCK = /^\d{4}-\d\d-\d\dT\d\d:\d\d$/;
function later(time, minutes) {
  const at = /* @__PURE__ */ new Date(`${time}:00Z`);
  at.setUTCMinutes(at.getUTCMinutes() + minutes);
  return at.toISOString().slice(0, 16);
}
var field = (id) => (
  /** @type {HTMLInputElement | null} */
  document.getElementById(id)
);
var zone = field("zone");
if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
var [opens, starts, ends, closes] = ["opens", "starts", "ends", "closes"].map(field);
opens?.addEventListener("change", () => {
  if (!CLOCK.test(opens.value)) return;
  for (
    const [one, minutes] of
    /** @type {const} */
    [[starts, 30], [ends, 210], [closes, 240]]
  ) {
    if (one && !one.value) one.value = later(opens.value, minutes);
  }
});
export {
  later
};
