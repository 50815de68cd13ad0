import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { imports } from "../../service-worker.js";

describe("what a script refers to", () => {
  const base = "https://example.org/app/main.js";

  test("imports, exports and files beside it are found", () => {
    const text = `
      import { a } from "./a.js";
      import "../b.js";
      export * from '/c.js';
      const later = await import("./d.js");
      new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      const wasm = new URL('engine.wasm', import.meta.url);
    `;
    const names = ["app/a.js", "b.js", "c.js", "app/d.js", "app/worker.js", "app/engine.wasm"];
    assert.deepEqual(imports(text, base), names.map((name) => `https://example.org/${name}`));
  });

  test("minified text too", () => {
    assert.deepEqual(imports(`import{a}from"./a.js";export*from"./b.js";`, base), ["https://example.org/app/a.js", "https://example.org/app/b.js"]);
  });

  test("other origins, bare names and prose are not", () => {
    const text = `import x from "https://other.example/x.js"; import y from "lodash"; // from "somewhere"
      new URL("./page.html", location.href); import(name);`;
    assert.deepEqual(imports(text, base), []);
  });
});
