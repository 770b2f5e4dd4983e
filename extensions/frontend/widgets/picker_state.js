/** Pure parts of the picker: the catalogue as the start page's rules read it, and what is known of a choice's start. */

/** The list of FactoryView, of what stands (`catalogue`) and what passes (health, loads, [fits_now, start] by size). */
export function joined(catalogue, passing) {
  return catalogue.filter((factory) => passing[factory.id]).map((factory) => {
    const now = passing[factory.id];
    const sizes = factory.sizes.map((view) => {
      const [fits, start] = now.sizes[view.size.id] ?? [0, null];
      return { ...view, fits_now: fits, estimate: start === null ? null : { start } };
    });
    const { health, partitions, rules_open, needs_token } = now;
    return { ...factory, sizes, health, partitions, rules_open, needs_token };
  });
}

/** An Estimate for these hours of the choice, null where none is known, undefined while it is asked for. */
export function estimateOf(estimates, choice, hours) {
  if (estimates.of !== `${choice.factory}/${choice.size}`) return undefined;
  const found = estimates.starts.find(([each]) => each === hours);
  return found && (found[1] === null ? null : { start: found[1] });
}

/** What of a choice is Python's to know. */
export function told({ factory, size, environment, hours, project }) {
  return { factory, size, environment, hours, project: project ?? null };
}

/** Whether Python has this choice. */
export function same(value, choice) {
  if (!value || !choice) return false;
  return Object.entries(told(choice)).every(([field, one]) => value[field] === one);
}

/** How many of each size fit at a factory, as a text to compare: when it changes, estimates are of another moment. */
export const fitting = (factory) => JSON.stringify(factory?.sizes.map((view) => view.fits_now) ?? null);
