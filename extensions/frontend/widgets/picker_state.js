/** Pure functions of the picker: the catalogue in the start page's form, and the known start of a choice. */

/** The list of FactoryView, made from `catalogue` and the changing data (health, loads, [fits_now, start] by size). */
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

/** An Estimate for these hours of the choice; null if none is known, undefined while it is requested. */
export function estimateOf(estimates, choice, hours) {
  if (estimates.of !== `${choice.factory}/${choice.size}`) return undefined;
  const found = estimates.starts.find(([each]) => each === hours);
  return found && (found[1] === null ? null : { start: found[1] });
}

/** The part of a choice that Python gets. */
export function told({ factory, size, environment, hours, project }) {
  return { factory, size, environment, hours, project: project ?? null };
}

/** Whether Python has this choice. */
export function same(value, choice) {
  if (!value || !choice) return false;
  return Object.entries(told(choice)).every(([field, one]) => value[field] === one);
}

/** How many of each size fit at a factory, as a text to compare: if it changes, estimates are outdated. */
export const fitting = (factory) => JSON.stringify(factory?.sizes.map((view) => view.fits_now) ?? null);
