import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sampleRegistry } from "../support/fixture.js";

const WEB = fileURLToPath(new URL("../../../", import.meta.url));
let folder: string;
let packed: { filename: string; files: { path: string }[] };

/** Runs a program in the clean folder. */
function run(program: string, args: string[], cwd = folder): { stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: "utf8", shell: process.platform === "win32" });
  assert.equal(status, 0, `${program} ${args.join(" ")}\n${stdout}${stderr}`);
  return { stdout, stderr };
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-user-"));
  const { stdout } = run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], WEB);
  [packed] = JSON.parse(stdout) as [typeof packed];
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  // From the tarball alone: the package has no dependencies, so nothing is asked for.
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", `./${packed.filename}`]);
});

after(() => rmSync(folder, { recursive: true }));

test("the package has what it needs, and nothing else", () => {
  const paths = packed.files.map(({ path }) => path);
  for (const needed of ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json", "dist/index.js", "dist/index.d.ts", "dist/worker.js", "dist/twinfer_web_bg.wasm"]) {
    assert(paths.includes(needed), `${needed} is missing`);
  }
  const stray = paths.filter((path) => /demo|test|tsconfig|\.map$|^src|^scripts|^wasm/.test(path));
  assert.deepEqual(stray, []);
  // Each is one file with all that it imports, but for the glue.
  const scripts = ["glue", "hybrid", "index", "offline", "origin", "service-worker", "worker"].map((name) => `dist/${name}.js`);
  assert.deepEqual(paths.filter((path) => path.endsWith(".js")).sort(), scripts);
});

test("it predicts in Node: exact output, nothing on stderr", () => {
  const registry = join(folder, "registry");
  sampleRegistry().write(registry);
  writeFileSync(
    join(folder, "user.js"),
    `import { loadModel, TwinferError } from "twinfer";
const model = await loadModel("registry/record:1.0.0");
const { doubled } = await model.predict({ record: { a: 1.5, b: 2 } });
console.log(model.name, model.version, JSON.stringify(doubled));
try {
  await model.predict({ record: {} });
} catch (error) {
  console.log(error instanceof TwinferError, error.code);
}
// Not closed: an idle model does not keep the program alive.
`,
  );
  const { stdout, stderr } = run(process.execPath, ["user.js"]);
  assert.equal(stdout, "record 1.0.0 [[3,4]]\ntrue invalid_record\n");
  assert.equal(stderr, "");
});

test("it predicts without a worker; its other scripts have the same classes", () => {
  writeFileSync(
    join(folder, "main.js"),
    `import * as all from "twinfer";
import { keepOffline } from "twinfer/offline.js";
const model = await all.loadModel("registry/record:1.0.0", { thread: "main", engine: "full" });
const { doubled } = await model.predict({ record: { a: 1.5, b: 2 } });
const failed = await keepOffline({ serviceWorker: "sw.js" }).catch((error) => error);
console.log(JSON.stringify(doubled), failed instanceof all.TwinferError, failed.code);
`,
  );
  assert.equal(run(process.execPath, ["main.js"]).stdout, "[[3,4]] true storage\n");
});

test("what is not exported cannot be imported", () => {
  writeFileSync(join(folder, "inner.js"), `await import("twinfer/dist/host.js").catch((error) => console.log(error.code));\n`);
  assert.equal(run(process.execPath, ["inner.js"]).stdout, "ERR_PACKAGE_PATH_NOT_EXPORTED\n");
  writeFileSync(join(folder, "assets.js"), `console.log(["twinfer/worker.js", "twinfer/twinfer_web_bg.wasm"].map((name) => import.meta.resolve(name).split("/").at(-1)).join());\n`);
  assert.equal(run(process.execPath, ["assets.js"]).stdout, "worker.js,twinfer_web_bg.wasm\n");
});

test("the types compile for users, strictly, with and without the DOM, and refuse what is wrong", () => {
  mkdirSync(join(folder, "types"), { recursive: true });
  copyFileSync(join(WEB, "test/package/user.ts"), join(folder, "types/user.ts"));
  const compiler = join(WEB, "node_modules/typescript/lib/tsc.js");
  const node = `declare const console: { log(...values: unknown[]): void };
interface AbortSignal { readonly aborted: boolean }
declare class URL { constructor(url: string) }
interface ErrorOptions { cause?: unknown }
`;
  for (const [name, lib, extra] of [
    ["dom", ["ES2022", "DOM"], ""],
    ["bare", ["ES2022"], node],
  ] as const) {
    writeFileSync(join(folder, "types/extra.d.ts"), extra);
    const compilerOptions = { target: "ES2022", module: "NodeNext", lib, types: [], strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false };
    writeFileSync(join(folder, "types/tsconfig.json"), JSON.stringify({ compilerOptions, include: ["."] }));
    run(process.execPath, [compiler, "-p", "types"]);
    assert.ok(readFileSync(join(folder, "types/user.ts"), "utf8").includes("@ts-expect-error"), name);
  }
});
