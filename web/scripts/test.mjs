// Runs every built test with Node's runner. Arguments are parts of names: `npm test -- cache`
// runs the files whose path has `cache` in it.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../dist/test/", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true })
  .map(String)
  .filter((path) => path.endsWith(".test.js") && (wanted.length === 0 || wanted.some((part) => path.includes(part))))
  .map((path) => join(root, path));
if (files.length === 0) {
  console.error("no test files; build them first, with npm run build");
  process.exit(1);
}
const { status } = spawnSync(process.execPath, ["--test", "--test-reporter=spec", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
