// Runs the cases of tests/onnx (cases.jsonl and models in a folder) in the full engine of this
// package, in Node, and writes what came out, a line for each:
//
//   node test/run-onnx.mjs --folder DIR --out FILE
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { loadOnnx } from "../dist/index.js";
import { runOnnxCase } from "../dist/test/support/onnx-cases.js";

const { values } = parseArgs({ options: { folder: { type: "string" }, out: { type: "string" }, only: { type: "string" } } });
const { folder, out, only } = values;
if (!folder || !out) {
  console.error("usage: run-onnx.mjs --folder DIR --out FILE [--only TEXT]");
  process.exit(2);
}
// What stops an engine is a part of the answer; its stack is noise, hundreds of times.
console.error = () => undefined;
const answers = createWriteStream(out);
let count = 0;
for await (const line of createInterface({ input: createReadStream(join(folder, "cases.jsonl")) })) {
  const one = JSON.parse(line);
  if (only && !one.name.includes(only)) continue;
  const answer = await runOnnxCase(loadOnnx, readFileSync(join(folder, one.model)), one);
  if (!answers.write(`${JSON.stringify(answer)}\n`)) await new Promise((go) => answers.once("drain", go));
  count++;
}
await new Promise((go) => answers.end(go));
console.log(`${count} cases ran as wasm in Node`);
