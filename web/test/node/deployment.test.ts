import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loadModel } from "twinfer";
import type { UpdateResult } from "twinfer";
import type { Share } from "../support/deployments.js";
import { deployment } from "../support/deployments.js";
import { fails } from "../support/expect.js";
import { RECORD_PIPELINE, Registry } from "../support/fixture.js";
import { doubling, tripling } from "../support/onnx.js";

/** Deployments in Node: a registry is a folder there, and nothing is kept. */

const registry = new Registry();
const one = registry.add({ name: "record", version: "1.0.0", model: doubling("FP32", [1, 2]), pipeline: RECORD_PIPELINE });
const two = registry.add({ name: "record", version: "2.0.0", model: tripling("FP32", [1, 2]), pipeline: RECORD_PIPELINE });
let folder: string;
let revision = 0;

function publish(...shares: Share[]): void {
  writeFileSync(join(folder, "deployments/record.json"), JSON.stringify(deployment("record", ++revision, shares)));
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-deployment-"));
  registry.write(folder);
  mkdirSync(join(folder, "deployments"));
  publish({ digest: one, weight: 10_000 });
});

after(() => rmSync(folder, { recursive: true }));

test("a program follows the deployment in a folder, and is told", async () => {
  const results: UpdateResult[] = [];
  const model = await loadModel(`${folder}/record@stable`, { assignmentKey: "user-1", pollSeconds: 0.02, onRelease: (result) => results.push(result) });
  const input = { record: { a: 1, b: 2 } };
  assert.deepEqual((await model.predict(input))["doubled"], [[2, 4]]);
  publish({ digest: one, weight: 5_000 }, { digest: two, weight: 5_000, name: "canary" });
  while (results.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const { doubled, prediction } = await model.predict(input);
  assert.deepEqual([doubled, prediction.variant, prediction.revision, prediction.version], [[[3, 6]], "canary", 2, "2.0.0"]);
  assert.deepEqual(results.map(({ status, previous, release }) => [status, previous, release?.variant]), [["updated", one, "canary"]]);
  rmSync(join(folder, "deployments/record.json"));
  assert.deepEqual((await model.update()).status, "unreachable");
  await model.close();
});

test("where there is none, that is said", async () => {
  await fails(loadModel(`${folder}/nothing@stable`), "unknown_deployment");
});
