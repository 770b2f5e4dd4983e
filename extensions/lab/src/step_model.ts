/** Which step of a workshop a cell is, by what the server names and what a notebook has. Pure. */

export interface Step {
  notebook: string;
  cell: string;
  name: string;
}

/** A cell of a notebook; `tag`: the name of its step, null: it is not tagged as one. */
export interface Cell {
  id: string;
  tag: string | null;
}

const TAG = /^step(?::(.*))?$/s;

function text(told: unknown): string {
  return typeof told === "string" ? told : "";
}

function fields(told: unknown): Record<string, unknown> {
  return typeof told === "object" && told !== null ? (told as Record<string, unknown>) : {};
}

/** An answer of `api/factorygate/steps`. */
export function readSteps(told: unknown): { steps: Step[]; done: number[] } {
  const { steps, done } = fields(told);
  return {
    steps: Array.isArray(steps)
      ? steps.map(fields).map((one) => ({ notebook: text(one.notebook), cell: text(one.cell), name: text(one.name) }))
      : [],
    done: Array.isArray(done) ? done.filter((one): one is number => Number.isInteger(one)) : [],
  };
}

/** The cells of a notebook's JSON. */
export function readCells(notebook: unknown): Cell[] {
  const { cells } = fields(notebook);
  return (Array.isArray(cells) ? cells : []).map(fields).map((cell) => {
    const { tags } = fields(cell.metadata);
    const found = (Array.isArray(tags) ? tags : []).map((tag) => TAG.exec(text(tag))).find((tag) => tag !== null);
    return { id: text(cell.id), tag: found && cell.cell_type === "code" ? (found[1] ?? "").trim() : null };
  });
}

/**
 * The number of the step that a cell is; null: it is none. By the cell's id; in a notebook without ids, in which
 * JupyterLab makes new ones, by the step's name, or else by its place among the cells with a tag. `cells`: called only
 * if they are needed.
 */
export function stepOf(steps: Step[], notebook: string, cell: string, cells: () => Cell[]): number | null {
  const here = steps.map((step, index) => ({ ...step, index })).filter((step) => step.notebook === notebook);
  const same = here.find((step) => step.cell === cell);
  if (same) return same.index;
  const nameless = here.filter((step) => !step.cell);
  if (!nameless.length) return null;
  const tagged = cells().filter((one) => one.tag !== null);
  const place = tagged.findIndex((one) => one.id === cell);
  const tag = tagged[place]?.tag ?? null;
  if (tag === null) return null;
  const named = nameless.filter((step) => step.name && step.name === tag);
  if (named.length === 1) return named[0]?.index ?? null;
  return nameless.length === tagged.length ? (nameless[place]?.index ?? null) : null;
}
