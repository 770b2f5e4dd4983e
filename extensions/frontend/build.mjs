// Builds one script and one style sheet for each page and widget: `node build.mjs`. `--check` writes nothing, and fails
// if what is committed was not built from these sources. The built files are committed, since who installs a checkout
// or its wheel then needs no Node.js.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { build } from "esbuild";

const HERE = import.meta.dirname;
const HUB = join(HERE, "../../spawners/factoryspawner/built");
const WIDGETS = join(HERE, "../factorygate/widgets/built");
const SCRIPTS = [
  "admin", "every_page", "fresh", "home", "join", "project", "start", "token", "waiting", "workshops/room",
  "workshops/workshops",
];
const STYLES = [
  "admin", "checklist", "gateway", "join", "network", "operator", "project", "sessions", "start", "token", "workshops",
];
const KINDS = ["picker", "panel"];

const BUNDLES = [
  { into: HUB, from: [...SCRIPTS.map((name) => `pages/${name}.js`), ...STYLES.map((name) => `styles/${name}.css`)] },
  { into: WIDGETS, from: KINDS.flatMap((name) => [`widgets/${name}.js`, `widgets/${name}.css`]) },
];

/** What the sources give for a folder: the text of each file by its path. */
async function built({ into, from }) {
  const { outputFiles } = await build({
    absWorkingDir: HERE, entryPoints: from, bundle: true, format: "esm", charset: "utf8", entryNames: "[name]",
    outdir: into, write: false, logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, text }) => [path, text]));
}

const read = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    return null;
  }
};

const stale = [];
for (const bundle of BUNDLES) {
  const files = await built(bundle);
  for (const name of readdirSync(bundle.into)) {
    const path = join(bundle.into, name);
    if (!files.has(path)) files.set(path, null); // of a source that is gone
  }
  for (const [path, text] of files) {
    if (read(path) === text) continue;
    stale.push(basename(path));
    if (process.argv.includes("--check")) continue;
    if (text === null) rmSync(path);
    else writeFileSync(path, text);
  }
}
if (process.argv.includes("--check") && stale.length) {
  console.error(`Not built from these sources: ${stale.join(", ")}. Run node extensions/frontend/build.mjs, and commit.`);
  process.exitCode = 1;
}
