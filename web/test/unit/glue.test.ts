import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const scripts = new URL("../../../scripts/glue.mjs", import.meta.url);
const { toFactory } = (await import(scripts.href)) as { toFactory(source: string): string };
const glue = readFileSync(new URL("../../../wasm/twinfer_web.js", import.meta.url), "utf8");

test("the glue becomes a factory of independent instances", async () => {
  const { createGlue } = (await import("../../glue.js")) as unknown as { createGlue(): Record<string, unknown> };
  const [one, two] = [createGlue(), createGlue()];
  assert.deepEqual(Object.keys(one).sort(), ["TensorList", "WebCache", "WebInput", "WebModel", "WebPackage", "WebSession", "engineVersion", "failedAllocation", "init", "panicMessage", "start"]);
  assert.notEqual(one["WebModel"], two["WebModel"]);
});

test("glue of another form is refused, not shipped", () => {
  assert.match(toFactory(glue), /^export function createGlue/m);
  for (const changed of [
    glue.replace("import.meta.url", "document.baseURI"),
    glue.replace("export { initSync", "export { initAsync"),
    glue.replace("queueMicrotask(arg0);", "setTimeout(arg0);"),
    `import { x } from "./snippets/x.js";\n${glue}`,
    "",
  ]) {
    assert.throws(() => toFactory(changed), /another form|does not run/);
  }
});
