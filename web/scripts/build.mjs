// Builds the npm package, the demo page and the tests into dist/, from src/, demo/, test/ and
// the wasm that wasm-pack put into wasm/. With the argument `page` only the demo page.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SCRIPTS, bundle } from "./bundle.mjs";
import { toFactory } from "./glue.mjs";
import { printSizes } from "./sizes.mjs";

const web = new URL("../", import.meta.url);
const wasm = new URL("wasm/", web);
const dist = new URL("dist/", web);
const page = new URL("dist/demo/", web);
const ENGINE = "twinfer_web_bg.wasm";
const ENGINES = "engines.json";

if (!existsSync(new URL(ENGINE, wasm))) {
  console.error(`web/wasm/${ENGINE} is missing: build the engine first, with cargo xtask build`);
  process.exit(1);
}

if (process.argv[2] === "page") {
  // After something was added to the package, such as slim engines.
  buildPage();
  process.exit();
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
compile("tsconfig.json");
writeFileSync(new URL("glue.js", dist), toFactory(readFileSync(new URL("twinfer_web.js", wasm), "utf8")));
copyFileSync(new URL("src/glue.d.ts", web), new URL("glue.d.ts", dist));
copyFileSync(new URL(ENGINE, wasm), new URL(ENGINE, dist));
// What slim and fused engines must have been made from, to fit this glue.
const digest = createHash("sha256").update(readFileSync(new URL(ENGINE, dist))).digest("hex");
writeFileSync(new URL("own.js", dist), `/** Digest of twinfer_web_bg.wasm. */\nexport const OWN_ENGINE = "sha256:${digest}";\n`);
copyFileSync(new URL("src/own.d.ts", web), new URL("own.d.ts", dist));
// The slim engines that come with the package: none before `twinfer slim` has made some.
writeFileSync(new URL(ENGINES, dist), "[]\n");
await bundle(dist);
for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) {
  // The one licence of the repository, not a copy that goes its own way.
  const root = new URL(`../${licence}`, web);
  if (existsSync(root)) copyFileSync(root, new URL(licence, web));
}
buildPage();
compile("test/tsconfig.json");
printSizes(dist, { quick: true });

/** The page is a folder that is whole by itself, so that any web server can serve it. */
function buildPage() {
  const own = new URL("twinfer/", page);
  mkdirSync(own, { recursive: true });
  const types = readdirSync(dist).filter((name) => name.endsWith(".d.ts"));
  for (const name of [...SCRIPTS, ENGINE, ENGINES, ...types]) linkOrCopy(new URL(name, dist), new URL(name, own));
  for (const name of ["generated/", "engines/"]) {
    if (existsSync(new URL(name, dist))) cpSync(new URL(name, dist), new URL(name, own), { recursive: true });
  }
  compile("demo/tsconfig.json");
  cpSync(new URL("demo/", web), page, { recursive: true, filter: (from) => !/\.ts$|tsconfig/.test(from) });
}

/** The engine has some 20 MB: a link where the file system has them. */
function linkOrCopy(from, to) {
  rmSync(to, { force: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

function compile(project) {
  const tsc = new URL("node_modules/typescript/lib/tsc.js", web);
  const { status } = spawnSync(process.execPath, [fileURLToPath(tsc), "-p", fileURLToPath(new URL(project, web))], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
