/** Texts of the widgets that the start page does not have. */

import { stateWords } from "../common/state_words.js";
import { t, tn } from "../common/translate.js";

/** @satisfies {Texts} */
export const V = {
  // Picker
  picker: t("Factory picker"),
  factory: t("Factory"),
  size: t("Node size"),
  environment: t("Environment"),
  howLong: t("How long"),
  project: t("Project"),
  asking: t("Asking the factories what is free…"),
  slow: t("This takes longer than usual. Please wait."),
  empty: t("No factory is open to you right now. This updates as soon as there is one."),

  // Panel
  panel: (name) => t("Cluster {name}", { name }),
  where: (factory, size) => t("{factory} · {size}", { factory, size }),
  status: {
    starting: t("Starting"), running: t("Running"), closing: t("Ending"), closed: t("Ended"), failed: t("Failed"),
  },
  figures: {
    running: t("Running"), waiting: t("Waiting"), lost: t("Lost"), failed: t("Failed"), workers: t("Dask workers"),
    spent: t("GPU-hours so far"), committed: t("GPU-hours reserved"), rate: t("GPU-hours per hour"),
  },
  workersOf: (workers, threads, memory) =>
    tn(threads, "{workers} ({n} thread, {memory})", "{workers} ({n} threads, {memory})", { workers, memory }),
  ofCap: (spent, cap) => t("{spent} of at most {cap}", { spent, cap }),
  dashboard: t("Open the Dask dashboard"),
  control: t("How many"),
  wanted: t("Jobs wanted"),
  wantedInSteps: t("Jobs wanted, in steps"),
  jobs: (n) => tn(n, "{n} job", "{n} jobs"),
  perJob: (n) => tn(n, "{n} Dask worker a job", "{n} Dask workers a job"),
  adaptive: t("Adapt to the workload"),
  minimum: t("At least"),
  maximum: t("At most"),
  jobList: t("Jobs"),
  filters: t("Show jobs"),
  filter: {
    all: (n) => t("All {n}", { n }), running: (n) => t("Running {n}", { n }), waiting: (n) => t("Waiting {n}", { n }),
    trouble: (n) => t("Trouble {n}", { n }), ended: (n) => t("Ended {n}", { n }),
  },
  state: { ...stateWords(), asked: t("Asked for"), lost: t("Lost"), failed: t("Failed") },
  job: (id) => t("job {id}", { id }),
  jobWorkers: (n) => tn(n, "{n} Dask worker", "{n} Dask workers"),
  place: (n) => (n === 1 ? t("next in the queue") : tn(n - 1, "{n} ahead", "{n} ahead")),
  expected: (when) => t("expected to start {when}", { when }),
  ends: (when) => t("ends {when}", { when }),
  log: t("Log"),
  logOf: (name) => t("Last lines of the log of {name}", { name }),
  fetching: t("Fetching…"),
  noJobs: t("No jobs here."),
  shown: (from, to, total) => t("{from} to {to} of {total}", { from, to, total }),
  earlier: t("Previous"),
  later: t("Next"),
  end: t("End all jobs…"),
  endSure: (n) => tn(n, "End {n} job? Everything in the memory of its workers is lost.",
    "End all {n} jobs? Everything in the memory of their workers is lost."),
  endThem: t("End them"),
  keep: t("Keep them"),
};
