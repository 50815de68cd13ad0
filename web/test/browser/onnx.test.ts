/** Bare ONNX files in a real page: from bytes and from an address, on both threads. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { Registry } from "../support/fixture.js";
import { dictVectorizer, doubling, identity, onnx } from "../support/onnx.js";
import type { Site } from "../support/server.js";
import { HTML, send, serveRegistry } from "../support/site.js";

const x = { name: "x", type: "FP32", shape: [1] } as const;
const files: Record<string, Uint8Array> = {
  "/doubling.onnx": doubling("FP32", ["N"]),
  "/words.onnx": dictVectorizer(["a", "b"]),
  "/halves.onnx": identity({ type: "FP16", shape: ["N"] }),
  "/unknown.onnx": onnx({ nodes: [{ op: "Frobnicate", inputs: ["x"], outputs: ["y"] }], inputs: [x], outputs: [{ ...x, name: "y" }] }),
  "/page.onnx": HTML,
};

let browser: Browser;
let site: Site;
let page: Page;
let complaints: string[];

before(async () => {
  site = await serveRegistry(new Registry(), (_, response, path) => {
    const file = files[path];
    if (file) send(response, file);
    return file !== undefined;
  });
  browser = await launch();
});

after(async () => {
  await browser.close();
  await site.close();
});

beforeEach(async () => {
  ({ page, complaints } = await openPage(browser, `${site.origin}/`));
});

afterEach(() => page.context().close());

for (const thread of ["worker", "main"] as const) {
  describe(`on the ${thread} thread`, () => {
    test("a file runs from its bytes and from its address", async () => {
      const seen = await page.evaluate(async (thread) => {
        const { loadOnnx } = await window.twinfer;
        const response = await fetch("/doubling.onnx");
        const made: number[][] = [];
        for (const source of [await response.arrayBuffer(), "/doubling.onnx", new URL("/doubling.onnx", location.href)]) {
          const model = await loadOnnx(source, { thread });
          const { y } = await model.run({ x: { shape: [3], data: [1, -0.5, 0.1] } });
          made.push(Array.from(y?.data as Float32Array));
          await model.close();
        }
        const words = await loadOnnx("/words.onnx", { thread });
        const { y } = await words.run({ x: [{ a: 1 }, new Map([["b", 2]])] });
        return { made, words: Array.from(y?.data as Float32Array), input: words.signature.inputs[0] };
      }, thread);
      const numbers = [2, -1, 0.20000000298023224];
      assert.deepEqual(seen.made, [numbers, numbers, numbers]);
      assert.deepEqual(seen.words, [1, 0, 0, 2]);
      assert.deepEqual(seen.input, { name: "x", kind: "maps", dtype: "FP32", keys: "BYTES" });
      assert.deepEqual(complaints, []);
    });

    test("half precision is given as Float16Array where the browser has it, and as bits", async () => {
      const seen = await page.evaluate(async (thread) => {
        const { loadOnnx } = await window.twinfer;
        const { Float16Array: Halves } = globalThis as { Float16Array?: { of(...numbers: number[]): Uint16Array } };
        const model = await loadOnnx("/halves.onnx", { thread });
        const given = [Uint16Array.of(0x3c00, 0xb800), ...(Halves ? [Halves.of(1, -0.5)] : [])];
        const made = await Promise.all(given.map((data) => model.run({ x: { shape: [2], data } })));
        await model.close();
        return { made: made.map(({ y }) => [y?.data.constructor.name, ...Array.from(y?.data as Uint16Array)]), count: given.length };
      }, thread);
      assert.deepEqual(seen.made, new Array(seen.count).fill(["Uint16Array", 0x3c00, 0xb800]));
    });

    test("what does not run says what and where", async () => {
      const thrown = await page.evaluate(async (thread) => {
        const { loadOnnx, TwinferError } = await window.twinfer;
        const failure = async (source: string | Uint8Array) => {
          const error = await loadOnnx(source, { thread }).then(() => undefined, (error: unknown) => error);
          return error instanceof TwinferError ? [error.code, error.message] : ["none", String(error)];
        };
        return Promise.all([failure("/unknown.onnx"), failure("/none.onnx"), failure("/page.onnx"), failure(Uint8Array.of(1))]);
      }, thread);
      const [unknown, none, html, bytes] = thrown;
      assert.equal(unknown?.[0], "unsupported_operator");
      // Operator, domain, version, node.
      assert.match(unknown?.[1] ?? "", /`Frobnicate` of ai\.onnx \(version 17\).*`the Frobnicate of y`|`the Frobnicate of y`.*`Frobnicate` of ai\.onnx \(version 17\)/);
      assert.equal(none?.[0], "not_found");
      assert.deepEqual([html?.[0], bytes?.[0]], ["invalid_model", "invalid_model"]);
      assert.match(html?.[1] ?? "", /HTML or XML page/);
    });
  });
}
