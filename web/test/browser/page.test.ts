import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { PHOTO } from "../support/engines.js";
import { sampleRegistry, wav } from "../support/fixture.js";
import type { Handler, Site } from "../support/server.js";
import { HTML, send, serveRegistry } from "../support/site.js";

const registry = sampleRegistry();
const digest = registry.digests["record"] ?? "";
let browser: Browser;
let site: Site;
let page: Page;
let complaints: string[];
/** Answers before the registry and the package do. */
let intercept: Handler | undefined;

before(async () => {
  site = await serveRegistry(registry, async (...request) => (await intercept?.(...request)) ?? false);
  browser = await launch();
});

after(async () => {
  await browser.close();
  await site.close();
});

beforeEach(async () => {
  intercept = undefined;
  ({ page, complaints } = await openPage(browser, `${site.origin}/`));
  site.log.length = 0;
});

afterEach(() => page.context().close());

describe("under the strict content security policy", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`it loads, predicts, tests itself and closes: ${thread}`, async () => {
      const seen = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const steps: string[] = [];
        const model = await loadModel("/registry/record:1.0.0", { thread, onProgress: ({ status }) => steps.push(status) });
        const { doubled } = await model.predict({ record: { a: 1, b: 0.1 } });
        const report = await model.selfTest();
        await model.close();
        const closed = await model.predict({ record: { a: 1 } }).catch((error: { code: string }) => error.code);
        return { doubled, passed: report.passed, digest: model.digest, closed, last: steps.at(-1) };
      }, thread);
      assert.deepEqual(seen, { doubled: [[2, 0.20000000298023224]], passed: 2, digest, closed: "closed", last: "ready" });
      assert.deepEqual(complaints, []);
    });
  }

  test("a page fetches few scripts: its own, the worker's, and the glue once for all", async () => {
    await page.reload();
    await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record:1.0.0");
      await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
    });
    const scripts = new Set(site.log.filter((path) => path.startsWith("/twinfer/") && path.endsWith(".js")));
    assert.deepEqual([...scripts].sort(), ["/twinfer/glue.js", "/twinfer/index.js", "/twinfer/worker.js"]);
  });

  test("every model has a worker of its own, which ends with it", async () => {
    const workers = (): number => page.workers().length;
    await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      Object.assign(window, { models: [await loadModel("/registry/record"), await loadModel("/registry/vectors")] });
    });
    assert.equal(workers(), 2);
    await page.evaluate(async () => {
      const { models } = window as unknown as { models: import("twinfer").Model[] };
      for (const model of models) await model.close();
    });
    for (let tries = 0; workers() > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(workers(), 0);
  });

  test("a relative address is one of the page", async () => {
    const version = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("registry/record");
      await model.close();
      return model.version;
    });
    assert.equal(version, "1.0.0");
  });
});

describe("sounds and texts", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`in every form that a page has them: ${thread}`, async () => {
      const samples = [0.5, -0.25, 0.125, 0];
      const seen = await page.evaluate(
        async ([thread, file]) => {
          const { loadModel } = await window.twinfer;
          const model = await loadModel("/registry/audio", { thread });
          const bytes = Uint8Array.from(file);
          const context = new OfflineAudioContext(1, 1, 8000);
          const decoded = await context.decodeAudioData(bytes.slice().buffer);
          const sources = { bytes, blob: new Blob([bytes], { type: "audio/wav" }), file: new File([bytes], "a.wav"), decoded };
          const heard: Record<string, unknown> = {};
          for (const [name, audio] of Object.entries(sources)) heard[name] = (await model.predict({ audio }))["samples"];
          await model.close();
          const text = await loadModel("/registry/text", { thread });
          const { texts } = await text.predict({ text: "größer 😀" });
          await text.close();
          return { heard, texts };
        },
        [thread, [...wav(samples, 2)]] as const,
      );
      const { decoded, ...same } = seen.heard;
      const expected = [samples.map((sample) => 2 * sample)];
      for (const [name, heard] of Object.entries(same)) assert.deepEqual(heard, expected, name);
      // What the browser makes of 16 bits is its own.
      const [row = []] = decoded as number[][];
      assert.equal(row.length, samples.length);
      row.forEach((sample, at) => assert(Math.abs(sample - (expected[0]?.[at] ?? NaN)) < 1e-4, `${at}: ${sample}`));
      assert.deepEqual(seen.texts, ["größer 😀"]);
      assert.deepEqual(complaints, []);
    });
  }
});

describe("pictures", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`in every form that a page has them: ${thread}`, async () => {
      const answers = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/picture", { thread });
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [2, 2];
        const context = canvas.getContext("2d");
        if (!context) throw new Error("no canvas");
        const image = new ImageData(new Uint8ClampedArray([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 20, 30, 255]), 2, 2);
        context.putImageData(image, 0, 0);
        const png = await new Promise<Blob>((resolve) => canvas.toBlob((blob) => blob && resolve(blob), "image/png"));
        const webp = await new Promise<Blob>((resolve) => canvas.toBlob((blob) => blob && resolve(blob), "image/webp", 1));
        const offscreen = new OffscreenCanvas(2, 2);
        offscreen.getContext("2d")?.putImageData(image, 0, 0);
        const element = new Image();
        // The policy allows no data: address, so the element gets its picture from the server.
        element.src = "/photo.png";
        await element.decode();
        const bitmap = await createImageBitmap(canvas);
        const frame = new VideoFrame(canvas, { timestamp: 0 });
        const sources = { png, file: new File([png], "a.png"), bytes: await png.arrayBuffer(), image, canvas, offscreen, element, bitmap, frame };
        const seen: Record<string, unknown> = {};
        for (const [name, picture] of Object.entries(sources)) seen[name] = (await model.predict({ picture }))["pixels"];
        seen["webp"] = (await model.predict({ picture: webp }))["pixels"] !== undefined;
        // The caller's own stay usable.
        seen["bitmap again"] = (await model.predict({ picture: bitmap }))["pixels"];
        frame.close();
        const unloaded = await model.predict({ picture: new Image() }).catch((error: { code: string }) => error.code);
        await model.close();
        return { seen, unloaded };
      }, thread);
      const expected = [[[[510, 0, 0], [0, 510, 0]], [[0, 0, 510], [20, 40, 60]]]];
      const { webp, ...same } = answers.seen;
      assert.equal(webp, true);
      for (const [name, pixels] of Object.entries(same)) assert.deepEqual(pixels, expected, name);
      assert.equal(answers.unloaded, "invalid_picture");
    });
  }

  beforeEach(() => {
    intercept = (_, response, path) => {
      if (path === "/photo.png") send(response, PHOTO, "image/png");
      return path === "/photo.png";
    };
  });
});

describe("what a page can get wrong", () => {
  const codes = (options: object) =>
    page.evaluate(async (options) => {
      const { TwinferError, loadModel } = await window.twinfer;
      return loadModel("/registry/record", options).then(
        () => ({ code: "loaded", message: "" }),
        (error: unknown) => (error instanceof TwinferError ? { code: error.code as string, message: error.message } : { code: "other", message: String(error) }),
      );
    }, options);
  const answer = (where: string, how: Parameters<typeof send> extends [unknown, ...infer Rest] ? Rest : never): void => {
    intercept = (_, response, path) => {
      if (path === where) send(response, ...how);
      return path === where;
    };
  };

  test("a page in the place of the engine", async () => {
    answer("/twinfer/twinfer_web_bg.wasm", [HTML, "text/html"]);
    const { code, message } = await codes({});
    assert.equal(code, "network");
    assert.match(message, /an HTML page, not WebAssembly/);
  });

  test("no engine, and then one", async () => {
    assert.equal((await codes({ engineUrl: "/nowhere.wasm" })).code, "not_found");
    assert.equal((await codes({ engineUrl: "/twinfer/twinfer_web_bg.wasm" })).code, "loaded");
  });

  test("a page in the place of the worker", async () => {
    answer("/twinfer/worker.js", [HTML, "text/html"]);
    const { code, message } = await codes({});
    assert.equal(code, "network");
    assert.match(message, /worker/);
  });

  test("a page in the place of the index", async () => {
    answer("/registry/index.json", [HTML, "text/html"]);
    const { code, message } = await codes({});
    assert.equal(code, "invalid_manifest");
    assert.match(message, /HTML page/);
  });

  test("an address on another origin, which the policy forbids", async () => {
    const { code } = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      return loadModel("http://localhost:1/registry/record").then(() => ({ code: "loaded" }), (error: { code: string }) => ({ code: error.code }));
    });
    assert.equal(code, "network");
  });

  test("cancelling a load", async () => {
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const controller = new AbortController();
      const loading = loadModel("/registry/record", {
        signal: controller.signal,
        onProgress: ({ status }) => status === "download" && controller.abort(),
      });
      const code = await loading.then(() => "loaded", (error: { code: string }) => error.code);
      const model = await loadModel("/registry/record");
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      return { code, doubled };
    });
    assert.deepEqual(seen, { code: "aborted", doubled: [[2, 4]] });
    for (let tries = 0; page.workers().length > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(page.workers().length, 0);
  });
});
