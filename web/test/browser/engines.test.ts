import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { LoadOptions, Progress } from "twinfer";
import { launch, openPage } from "../support/browser.js";
import { PHOTO } from "../support/engines.js";
import { sampleRegistry } from "../support/fixture.js";
import { LIMIT } from "../support/kept.js";
import type { Site } from "../support/server.js";
import { EXPORTED, FULL, FULL_DIGEST, counting, derived, digest, slim } from "../support/slim.js";
import { send, serveRegistry } from "../support/site.js";
import { host } from "../support/versions.js";

/** Which engine a page takes, what it keeps of it, and what happens when that lacks something. */

const registry = sampleRegistry();
const { record = "", picture = "" } = registry.digests;
const FULL_PATH = "/twinfer/twinfer_web_bg.wasm";
let browser: Browser;
let site: Site;
let page: Page;
let complaints: string[];
/** Predicts records, or the bytes of pictures; nothing else was ever asked of them. */
let records: Uint8Array<ArrayBuffer>;
let pictures: Uint8Array<ArrayBuffer>;
/** What comes with the package. */
let own: { wasm: Uint8Array; says: object }[] = [];
/** The full engine is not sent before this. */
let held: Promise<void> = Promise.resolve();
let gone = false;
/** Spaces after the index: how much is hashed decides what a hash takes. */
let padding = 0;

before(async () => {
  site = await serveRegistry(registry, async (request, response, path) => {
    if (gone) return response.destroy(), true;
    if (path === "/twinfer/engines.json") return json(response, own.map(({ says }, at) => ({ ...says, file: `engines/${at}.wasm` })));
    const slim = /^\/twinfer\/engines\/(\d+)\.wasm$/.exec(path);
    if (slim) return send(response, own[Number(slim[1])]?.wasm ?? new Uint8Array(), "application/wasm"), true;
    if (path === "/sw.js") return send(response, new TextEncoder().encode(`import { serveOffline } from "/twinfer/service-worker.js"; serveOffline();`), "text/javascript"), true;
    if (path === "/counting.wasm") return send(response, counting(), "application/wasm"), true;
    if (path === FULL_PATH) await held;
    const bytes = path === "/registry/index.json" ? registry.files.get("index.json") : undefined;
    if (bytes) host(request, response, Buffer.concat([bytes, Buffer.alloc(padding, " ")]));
    return bytes !== undefined;
  });
  const list = [derived(FULL, [record])];
  for (const one of [record, picture]) registry.engines(one, list);
  browser = await launch();
  records = await slimFor("record:1.0.0");
  pictures = await slimFor("picture:1.0.0");
  registry.put(records);
});

after(async () => {
  await browser?.close();
  await site.close();
});

beforeEach(async () => {
  own = [];
  [held, gone] = [Promise.resolve(), false];
  for (const one of [record, picture]) registry.engines(one, []);
  ({ page, complaints } = await openPage(browser, `${site.origin}/`));
  site.log.length = 0;
});

afterEach(() => page.context().close());

function json(response: ServerResponse, value: unknown): true {
  send(response, new TextEncoder().encode(JSON.stringify(value)), "application/json");
  return true;
}

/** An engine that can do in a page what is done here, and little else: loads, cold and warm, and one prediction. */
async function slimFor(reference: string): Promise<Uint8Array<ArrayBuffer>> {
  const { page } = await openPage(browser, `${site.origin}/`);
  const entered = new Set<number>();
  const count = async (address: string, ...how: Options[]): Promise<void> => (await profiled(page, address, how)).forEach((one) => void entered.add(one));
  const pinned = `${reference.split(":")[0]}@${reference.startsWith("record") ? record : picture}`;
  for (const cache of ["opfs", "cache-api"] as const) {
    await count(reference, { cache }, { cache }, { cache, policy: "offline" });
    await count(pinned, { cache });
  }
  await count(reference, { cache: false });
  for (padding = 8; padding < 64; padding += 8) await count(reference, { policy: "online" });
  padding = 0;
  await page.context().close();
  return slim(entered);
}

function profiled(page: Page, reference: string, how: readonly Options[]): Promise<number[]> {
  return page.evaluate(
    async ([reference, how, photo, exported]) => {
      const instances: WebAssembly.Instance[] = [];
      const { instantiate } = WebAssembly;
      const watched = async (module: WebAssembly.Module, given: WebAssembly.Imports) => {
        const instance = await instantiate(module, given);
        instances.push(instance);
        return instance;
      };
      Object.assign(WebAssembly, { instantiate: watched });
      const { loadModel } = await window.twinfer;
      const numbers = new Set<number>();
      for (const options of how) {
        const model = await loadModel(`/registry/${reference}`, { ...options, engineUrl: "/counting.wasm", thread: "main" });
        if (reference.startsWith("record")) for (const b of [2, 0.1]) await model.predict({ record: { a: 1, b } });
        else await model.predict({ picture: Uint8Array.from(photo) });
        // The registry is asked once more in the background.
        await new Promise((resolve) => setTimeout(resolve, 300));
        await model.close();
        for (const { exports } of instances.splice(0)) {
          for (const [name, value] of Object.entries(exports)) if (name.startsWith(exported) && (value as WebAssembly.Global).value === 1) numbers.add(Number(name.slice(exported.length)));
        }
      }
      Object.assign(WebAssembly, { instantiate });
      return [...numbers];
    },
    [reference, how, [...PHOTO], EXPORTED] as const,
  );
}

type Options = Omit<LoadOptions, "onProgress" | "signal" | "onUpdate">;
const blob = (wasm: Uint8Array): string => `/registry/blobs/${digest(wasm).replace(":", "/")}`;

/** Loads, predicts, closes, and says what was seen. */
const load = (options: Options = {}, reference = "record:1.0.0", on = page) =>
  on.evaluate(
    async ([reference, options]) => {
      const { loadModel } = await window.twinfer;
      const seen: Progress[] = [];
      const model = await loadModel(`/registry/${reference}`, { ...options, onProgress: (step) => void seen.push(step) });
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      const { engine, source } = model;
      // What is kept of an engine is written meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await model.close();
      return { doubled, engine, source, engines: seen.flatMap((step) => (step.status === "engine" ? [step.kind] : step.status === "engine-refused" ? [`${step.kind}: ${step.code}`] : [])), seen };
    },
    [reference, options] as const,
  );

for (const thread of ["worker", "main"] as const) {
  describe(`on the ${thread} thread`, () => {
    test("the slim engine of the package is taken after one question, and the full one is not asked for", LIMIT, async () => {
      own = [{ wasm: records, says: derived(records, [record]) }];
      const { doubled, engine, engines } = await load({ thread });
      assert.deepEqual([doubled, engines], [[[2, 4]], ["slim"]]);
      assert.deepEqual(engine, { kind: "slim", digest: digest(records), url: `${site.origin}/twinfer/engines/0.wasm` });
      assert(!site.log.includes(FULL_PATH));
      assert.equal(site.log.filter((path) => path === "/registry/index.json").length, 1);
      const before = site.log.slice(0, site.log.indexOf("/twinfer/engines/0.wasm"));
      // The two questions go out together; nothing of the package is fetched before the engine.
      assert(before.includes("/registry/index.json") && before.includes("/twinfer/engines.json"), before.join(" "));
      assert(!before.some((path) => path.startsWith("/registry/blobs/")), before.join(" "));
      assert.deepEqual(complaints, []);
    });

    test("a bitmap is read once, for both engines", LIMIT, async () => {
      own = [{ wasm: pictures, says: derived(pictures, [picture]) }];
      const seen = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/picture:1.0.0", { thread });
        const first = model.engine.kind;
        const image = new ImageData(new Uint8ClampedArray([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 20, 30, 255]), 2, 2);
        const bitmap = await createImageBitmap(image);
        const [one, two] = await Promise.all([model.predict({ picture: bitmap }), model.predict({ picture: bitmap })]);
        const last = model.engine.kind;
        await model.close();
        return { first, last, pixels: [one["pixels"], two["pixels"]] };
      }, thread);
      const pixels = [[[[510, 0, 0], [0, 510, 0]], [[0, 0, 510], [20, 40, 60]]]];
      assert.deepEqual(seen, { first: "slim", last: "full", pixels: [pixels, pixels] });
      assert.deepEqual(complaints, []);
    });

    test("without the full engine the call says what to do, and others go on", LIMIT, async () => {
      own = [{ wasm: records, says: derived(records, [record]) }];
      await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        Object.assign(window, { model: await loadModel("/registry/record:1.0.0", { thread }) });
      }, thread);
      gone = true;
      const ask = () =>
        page.evaluate(async () => {
          const { model } = window as unknown as { model: import("twinfer").Model };
          const said = (error: { code: string; message: string }) => `${error.code}: ${error.message}`;
          const bad = await model.run({ x: { shape: [1, 2], data: [1, 2] } }).then((y) => JSON.stringify(y["y"]?.shape), said);
          const good = await model.predict({ record: { a: 1, b: 2 } }).then((p) => p["doubled"] as unknown, said);
          return { bad, good, kind: model.engine.kind };
        });
      const offline = await ask();
      assert.match(offline.bad, /^engine_function_missing: .*fullEngine/);
      assert.deepEqual([offline.good, offline.kind], [[[2, 4]], "slim"]);
      gone = false;
      assert.deepEqual(await ask(), { bad: "[1,2]", good: [[2, 4]], kind: "full" });
    });

    test("what is cancelled or closed while the full engine comes ends at once", LIMIT, async () => {
      own = [{ wasm: records, says: derived(records, [record]) }];
      let release = (): void => undefined;
      held = new Promise((resolve) => (release = resolve));
      const seen = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const replacing = (signal: { seen: boolean }) => (step: Progress) => void (signal.seen ||= step.status === "engine" && step.kind === "full");
        const wait = async (signal: { seen: boolean }) => {
          while (!signal.seen) await new Promise((resolve) => setTimeout(resolve, 10));
        };
        const told = { seen: false };
        const model = await loadModel("/registry/record:1.0.0", { thread, onProgress: replacing(told) });
        const controller = new AbortController();
        const code = (error: { code: string }) => error.code;
        const cancelled = model.run({ x: { shape: [1, 2], data: [1, 2] } }, { signal: controller.signal }).then(() => "answered", code);
        await wait(told);
        controller.abort();
        const first = await cancelled;
        const waiting = model.predict({ record: { a: 1, b: 2 } }).then(() => "answered", code);
        await model.close();
        const second = await waiting;
        // A load that is cancelled while it goes over to the full engine.
        const load = { seen: false };
        const ended = new AbortController();
        const loading = loadModel("/registry/picture:1.0.0", { thread, signal: ended.signal, onProgress: replacing(load) }).then(() => "loaded", code);
        await wait(load);
        ended.abort();
        return [first, second, await loading];
      }, thread);
      assert.deepEqual(seen, ["aborted", "closed", "aborted"]);
      release();
      for (let tries = 0; page.workers().length > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(page.workers().length, 0);
      // And the next one is served.
      assert.deepEqual((await load({ thread })).doubled, [[2, 4]]);
      assert.deepEqual(complaints, []);
    });
  });
}

describe("engines of a registry", () => {
  for (const cache of ["opfs", "cache-api"] as const) {
    test(`are kept with their package, and used without a network: ${cache}`, LIMIT, async () => {
      registry.engines(record, [derived(records, [record])]);
      const first = await load({ cache });
      assert.deepEqual([first.engines, first.engine.url], [["slim"], site.origin + blob(records)], String(first.engine.missing));
      const listed = await page.evaluate((place) => window.twinfer.then(({ cache }) => cache.ls({ place })), cache);
      assert.deepEqual(listed.packages.map(({ digest }) => digest), [record]);
      const [one] = listed.packages;
      assert(one && one.bytes === one.of && one.bytes > records.length && listed.bytes >= one.bytes, JSON.stringify(listed));
      await page.reload();
      site.log.length = 0;
      const second = await load({ cache });
      assert.deepEqual([second.doubled, second.engines, second.engine], [[[2, 4]], ["slim"], { kind: "slim", digest: digest(records) }]);
      assert(!site.log.includes(blob(records)) && !site.log.includes(FULL_PATH), site.log.join(" "));
      await page.reload();
      await page.evaluate(() => window.twinfer);
      // The page has what it fetches in the background.
      await page.waitForLoadState("networkidle");
      gone = true;
      const offline = await load({ cache, thread: "main", policy: "offline" });
      assert.deepEqual([offline.doubled, offline.engines, offline.source], [[[2, 4]], ["slim"], "offline"]);
      gone = false;
      const removed = await page.evaluate((place) => window.twinfer.then(({ cache }) => cache.clear({ place })), cache);
      assert(removed.bytes > records.length, JSON.stringify(removed));
      const empty = await page.evaluate((place) => window.twinfer.then(({ cache }) => cache.ls({ place })), cache);
      assert.deepEqual([empty.packages, empty.blobs], [[], 0]);
    });
  }

  test("are fetched again when what is kept was changed", LIMIT, async () => {
    registry.engines(record, [derived(records, [record])]);
    await load();
    await page.evaluate(async (hex) => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("twinfer");
      const blobs = await (await root.getDirectoryHandle("blobs")).getDirectoryHandle("sha256");
      const stream = await (await blobs.getFileHandle(hex)).createWritable({ keepExistingData: true });
      await stream.write({ type: "write", position: 5000, data: new Uint8Array([1, 2, 3, 4]) });
      await stream.close();
    }, digest(records).slice(7));
    await page.reload();
    site.log.length = 0;
    assert.deepEqual((await load()).engines, ["slim"]);
    assert(site.log.includes(blob(records)));
    await page.reload();
    site.log.length = 0;
    assert.deepEqual((await load()).engines, ["slim"]);
    assert(!site.log.includes(blob(records)));
  });

  test("do not go over the quota", LIMIT, async () => {
    registry.engines(record, [derived(records, [record])]);
    const { engines, seen } = await load({ quota: 100_000 });
    assert.equal(engines[0], "slim");
    assert(seen.some((step) => step.status === "not-kept" && step.code === "out_of_space"));
    const listed = await page.evaluate(() => window.twinfer.then(({ cache }) => cache.ls()));
    assert(listed.bytes < 100_000, JSON.stringify(listed));
  });
});

describe("engines that do not fit", () => {
  test("a changed file, a list of another version, no list", LIMIT, async () => {
    const flipped = records.slice();
    flipped[flipped.length - 9] = (flipped[flipped.length - 9] ?? 0) ^ 1;
    own = [{ wasm: flipped, says: derived(records, [record]) }];
    const changed = await load();
    assert.deepEqual([changed.engines, changed.engine.digest], [["slim", "slim: digest_mismatch", "full"], FULL_DIGEST]);
    await page.context().close();
    ({ page, complaints } = await openPage(browser, `${site.origin}/`));
    own = [{ wasm: records, says: derived(records, [record], "slim", digest(Uint8Array.of(1))) }];
    assert.deepEqual((await load()).engines, ["full"]);
    // Once from what the browser keeps, once past it: the list may be old.
    assert(site.log.filter((path) => path === "/twinfer/engines.json").length >= 2);
  });
});

test("for work on the cache a slim engine will do", LIMIT, async () => {
  own = [{ wasm: records, says: derived(records, [record]) }];
  const { packages, blobs } = await page.evaluate(() => window.twinfer.then(({ cache }) => cache.ls()));
  // It was never asked for a list: the full one answered.
  assert.deepEqual([packages, blobs], [[], 0]);
  assert(site.log.includes("/twinfer/engines/0.wasm") && site.log.includes(FULL_PATH));
});

test("what runs is kept for use without a network, and the full engine where it is wanted", LIMIT, async () => {
  own = [{ wasm: records, says: derived(records, [record]) }];
  await load();
  const kept = (fullEngine: boolean) =>
    page.evaluate(async (fullEngine) => {
      const { keepOffline } = (await import(`${location.origin}/twinfer/offline.js`)) as typeof import("../../offline.js");
      await keepOffline({ serviceWorker: "/sw.js", fullEngine });
      const name = (await caches.keys()).filter((name) => name.startsWith("twinfer-page-")).sort().at(-1) ?? "";
      return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
    }, fullEngine);
  const some = await kept(false);
  for (const path of ["/twinfer/engines.json", "/twinfer/engines/0.wasm", "/twinfer/worker.js"]) assert(some.includes(path), `${path}: ${some.join(" ")}`);
  assert(!some.includes(FULL_PATH));
  assert((await kept(true)).includes(FULL_PATH));
});
