import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { LoadOptions, Place, Progress } from "twinfer";
import { launch, launchProfile, openPage, openPageIn } from "../support/browser.js";
import { pathOf } from "../support/fixture.js";
import type { Handler, Site } from "../support/server.js";
import { DIST, serve } from "../support/server.js";
import { HTML, send } from "../support/site.js";
import type { Versions } from "../support/versions.js";
import { LARGE, host, versions } from "../support/versions.js";

/** What a page keeps, in a real browser: both places, several tabs, and what can go wrong. */
let known: Versions;
let browser: Browser;
let site: Site;
let page: Page;
let complaints: string[];
/** Answers before the registry does. */
let intercept: Handler | undefined;
/** Of the requests for the index. */
let conditions: (string | undefined)[] = [];
let indexHeaders: Record<string, string> = {};

const PREFIX = "/registry/";
/** A promise that nobody settles would wait for ever. */
const LIMIT = { timeout: 60_000 };
const MODEL = (digest: string): string => PREFIX + known.registry.layer(digest, "model.onnx");

before(async () => {
  site = await serve({ twinfer: DIST }, async (request, response, path) => {
    if (await intercept?.(request, response, path)) return true;
    const bytes = path.startsWith(PREFIX) ? known.registry.files.get(path.slice(PREFIX.length)) : undefined;
    if (!bytes) return false;
    const index = path.endsWith("/index.json");
    if (index) conditions.push(request.headers["if-none-match"]);
    host(request, response, bytes, index ? indexHeaders : {});
    return true;
  });
  browser = await launch();
});

after(async () => {
  await browser.close();
  await site.close();
});

beforeEach(async () => {
  known = versions();
  intercept = undefined;
  indexHeaders = {};
  ({ page, complaints } = await openPage(browser, `${site.origin}/`));
  forget();
});

afterEach(() => page.context().close());

function forget(): void {
  site.log.length = 0;
  conditions = [];
}

const asked = (): string[] => site.log.filter((path) => path.startsWith(PREFIX));
const blobsAsked = (): string[] => asked().filter((path) => path.startsWith(`${PREFIX}blobs/`));
const indexAsked = (): number => asked().filter((path) => path.endsWith("/index.json")).length;

/** Nobody answers any more. */
const gone = (_: IncomingMessage, response: import("node:http").ServerResponse, path: string): boolean => {
  if (path.startsWith(PREFIX)) response.destroy();
  return path.startsWith(PREFIX);
};

type Options = Omit<LoadOptions, "onProgress" | "onUpdate" | "signal">;

/** Loads, predicts, closes, and says what was seen. With `linger` it waits for what follows in the background. */
const load = (reference: string, options: Options = {}, { on = page, linger = false } = {}) =>
  on.evaluate(
    async ([reference, options, linger]) => {
      const { loadModel } = await window.twinfer;
      const seen: import("twinfer").Progress[] = [];
      let told: (update: import("twinfer").Update) => void = () => undefined;
      const updated = new Promise<import("twinfer").Update>((resolve) => (told = resolve));
      const model = await loadModel(`/registry/${reference}`, { ...options, onProgress: (step) => void seen.push(step), onUpdate: told });
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      const { digest, source, version } = model;
      const update = linger ? await updated : undefined;
      await model.close();
      const cached = [...new Set(seen.flatMap((step) => (step.status === "download" ? [step.cached] : [])))];
      return { doubled, digest, source, version, cached, seen, update };
    },
    [reference, options, linger] as const,
  );

/** The code with which a load fails. */
const fails = (reference: string, options: Options = {}, on = page) =>
  on.evaluate(
    async ([reference, options]) => {
      const { loadModel } = await window.twinfer;
      return loadModel(`/registry/${reference}`, options).then((model) => model.close().then(() => "loaded"), (error: { code: string }) => error.code);
    },
    [reference, options] as const,
  );

const DOUBLED = [[2, 4]];
const TRIPLED = [[3, 6]];
const statuses = (seen: Progress[]): string[] => [...new Set(seen.map(({ status }) => status))];

/** Changes a byte of what is kept. */
const flip = (place: Place, hex: string) =>
  page.evaluate(
    async ([place, hex]) => {
      if (place === "opfs") {
        const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("twinfer");
        const blobs = await (await root.getDirectoryHandle("blobs")).getDirectoryHandle("sha256");
        const handle = await blobs.getFileHandle(hex);
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        bytes[9] = (bytes[9] ?? 0) ^ 1;
        const stream = await handle.createWritable();
        await stream.write(bytes);
        await stream.close();
        return;
      }
      const cache = await caches.open("twinfer-blobs-v2");
      const url = `/.twinfer/blobs/sha256/${hex}`;
      const found = await cache.match(url);
      if (!found) throw new Error("it is not there");
      const bytes = new Uint8Array(await found.arrayBuffer());
      bytes[9] = (bytes[9] ?? 0) ^ 1;
      await cache.put(url, new Response(bytes, { headers: found.headers }));
    },
    [place, hex] as const,
  );

for (const [cache, thread] of [["opfs", "worker"], ["opfs", "main"], ["cache-api", "worker"], ["cache-api", "main"]] as const) {
  describe(`in ${cache}, on the ${thread} thread`, () => {
    const options = { cache, thread };

    test("a second load fetches no layer, and a pinned one nothing at all", LIMIT, async () => {
      const first = await load("record:stable", options);
      assert.deepEqual([first.doubled, first.cached, first.source], [DOUBLED, [false], "registry"]);
      assert.equal(blobsAsked().length, 4);
      const last = first.seen.filter((step) => step.status === "download").at(-1);
      assert(last && last.loaded === last.total && last.total > LARGE, JSON.stringify(last));
      await page.reload();
      forget();
      const second = await load("record:stable", options);
      assert.deepEqual([second.doubled, second.cached, second.source], [DOUBLED, [true], "stale"]);
      assert.deepEqual(blobsAsked(), []);
      intercept = gone;
      const pinned = await load(`record@${known.one}`, options);
      assert.deepEqual([pinned.doubled, pinned.cached, pinned.source], [DOUBLED, [true], "digest"]);
      assert.deepEqual(complaints.filter((text) => !text.includes("net::ERR")), []);
    });

    test("a flipped byte is seen, said, and fetched anew before it can change an answer", LIMIT, async () => {
      await load("record:stable", options);
      const path = MODEL(known.one);
      await flip(cache, path.split("/").at(-1) ?? "");
      forget();
      const again = await load("record:stable", options);
      assert.deepEqual(again.doubled, DOUBLED);
      const damaged = again.seen.find((step) => step.status === "damaged");
      assert(damaged?.status === "damaged" && damaged.layer === "model.onnx", JSON.stringify(again.seen));
      assert.deepEqual(blobsAsked(), [path]);
      assert(complaints.some((text) => text.includes("damaged in the cache")));
      forget();
      assert.deepEqual((await load("record:stable", options)).cached, [true]);
      assert.deepEqual(blobsAsked(), []);
    });
  });
}

describe("how a reference is looked up", () => {
  test("the last answer at once, and a newer one for the next load", LIMIT, async () => {
    await load("record:stable");
    known.registry.point("record:stable", known.two);
    const stale = await load("record:stable", {}, { linger: true });
    assert.deepEqual([stale.doubled, stale.source], [DOUBLED, "stale"]);
    assert.deepEqual(stale.update, { digest: known.two, previous: known.one });
    forget();
    const next = await load("record:stable");
    assert.deepEqual([next.doubled, next.digest, next.cached], [TRIPLED, known.two, [true]]);
    assert.deepEqual(blobsAsked(), []);
  });

  test("online asks first, and only whether it changed", LIMIT, async () => {
    await load("record:stable", { policy: "online" });
    assert.deepEqual(conditions, [undefined]);
    const same = await load("record:stable", { policy: "online" });
    assert.equal(same.source, "registry");
    assert.match(conditions[1] ?? "", /^"[0-9a-f]{16}"$/);
    known.registry.point("record:stable", known.two);
    assert.deepEqual((await load("record:stable", { policy: "online" })).doubled, TRIPLED);
  });

  test("offline asks nobody", LIMIT, async () => {
    assert.equal(await fails("record:stable", { policy: "offline" }), "network");
    assert.deepEqual(asked(), []);
    await load("record:stable");
    known.registry.point("record:stable", known.two);
    forget();
    const offline = await load("record:stable", { policy: "offline" });
    assert.deepEqual([offline.doubled, offline.source], [DOUBLED, "offline"]);
    assert.deepEqual(asked(), []);
  });

  test("what the server says of its age is respected", LIMIT, async () => {
    indexHeaders = { "cache-control": "max-age=600" };
    await load("record:stable");
    forget();
    assert.equal((await load("record:stable")).source, "fresh");
    assert.equal(indexAsked(), 0);
    indexHeaders = { "cache-control": "no-store" };
    await load("record:2.0.0", { policy: "online" });
    indexHeaders = { "cache-control": "max-age=0, must-revalidate" };
    await load("record:stable", { policy: "online" });
    forget();
    assert.equal((await load("record:stable")).source, "registry");
    assert.equal(indexAsked(), 1);
  });

  test("with the server gone it loads all the same", LIMIT, async () => {
    await load("record:stable");
    intercept = gone;
    for (const [policy, source] of [["stale-while-revalidate", "stale"], ["online", "last-good"], ["offline", "offline"]] as const) {
      const model = await load("record:stable", { policy });
      assert.deepEqual([model.doubled, model.source], [DOUBLED, source]);
      assert.equal(statuses(model.seen).includes("unreachable"), policy === "online");
    }
    // A page in the place of the index (a login, say) is no answer either.
    intercept = (_, response, path) => {
      if (path.startsWith(PREFIX)) send(response, HTML, "text/html");
      return path.startsWith(PREFIX);
    };
    assert.equal((await load("record:stable", { policy: "online" })).source, "last-good");
    assert.equal(await fails("record:2.0.0"), "size_mismatch");
  });
});

describe("several at once", () => {
  test("two tabs fetch everything once", LIMIT, async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    intercept = async (_, __, path) => {
      if (path === MODEL(known.one)) await held;
      return false;
    };
    const other = await page.context().newPage();
    await other.addInitScript(() => Object.assign(window, { twinfer: import(`${location.origin}/twinfer/index.js`) }));
    await other.goto(`${site.origin}/`);
    const both = [load("record:stable"), load("record:stable", {}, { on: other })];
    while (!blobsAsked().includes(MODEL(known.one))) await new Promise((resolve) => setTimeout(resolve, 10));
    // Until the other one has come to it, too.
    await new Promise((resolve) => setTimeout(resolve, 300));
    release();
    const seen = await Promise.all(both);
    for (const { doubled } of seen) assert.deepEqual(doubled, DOUBLED);
    assert.deepEqual(blobsAsked().sort(), [...new Set(blobsAsked())].sort());
    assert.equal(blobsAsked().length, 4);
    assert(seen.some((one) => statuses(one.seen).includes("waiting")));
  });

  test("of two loads, cancelling the one that fetches leaves the other alone", LIMIT, async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    intercept = async (request, response, path) => {
      if (path !== MODEL(known.one) || request.headers.range !== undefined || blobsAsked().filter((one) => one === path).length > 1) return false;
      const bytes = known.registry.files.get(path.slice(PREFIX.length)) ?? new Uint8Array();
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, 1 << 20));
      await held;
      response.destroy();
      return true;
    };
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const controller = new AbortController();
      let begun = (): void => undefined;
      const fetching = new Promise<void>((resolve) => (begun = resolve));
      const first = loadModel("/registry/record:stable", {
        signal: controller.signal,
        onProgress: (step) => step.status === "download" && step.loaded > 500_000 && begun(),
      });
      const failed = first.then(() => "loaded", (error: { code: string }) => error.code);
      await fetching;
      let waits = (): void => undefined;
      const waiting = new Promise<void>((resolve) => (waits = resolve));
      const second = loadModel("/registry/record:stable", { onProgress: ({ status }) => status === "waiting" && waits() });
      await waiting;
      controller.abort();
      const model = await second;
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      return { failed: await failed, doubled };
    });
    release();
    assert.deepEqual(seen, { failed: "aborted", doubled: DOUBLED });
  });

  test("what a closed tab leaves behind is gone on with", LIMIT, async () => {
    const ranges: (string | undefined)[] = [];
    let cut = true;
    let stop = (): void => undefined;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    intercept = async (request, response, path) => {
      if (path !== MODEL(known.one)) return false;
      ranges.push(request.headers.range);
      if (!cut) return false;
      const bytes = known.registry.files.get(path.slice(PREFIX.length)) ?? new Uint8Array();
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, 2 << 20));
      await stopped;
      response.destroy();
      return true;
    };
    const tab = await page.context().newPage();
    await tab.addInitScript(() => Object.assign(window, { twinfer: import(`${location.origin}/twinfer/index.js`) }));
    await tab.goto(`${site.origin}/`);
    await tab.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      await new Promise<void>((resolve) => {
        void loadModel("/registry/record:stable", { onProgress: (step) => step.status === "download" && step.loaded >= 1 << 20 && resolve() }).catch(() => undefined);
      });
    });
    await tab.close();
    cut = false;
    stop();
    const again = await load("record:stable");
    assert.deepEqual(again.doubled, DOUBLED);
    assert.equal(ranges.length, 2);
    const from = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? "")?.[1]);
    assert(from >= 1 << 20 && from <= 2 << 20, ranges[1]);
  });
});

describe("following a tag", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`a moved tag is taken over, and no call is lost: ${thread}`, LIMIT, async () => {
      intercept = (_, response, path) => {
        if (path !== "/move") return false;
        known.registry.point("record:stable", known.two);
        response.end("moved");
        return true;
      };
      const evaluated = page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable", { thread });
        const before = await model.update();
        await fetch("/move");
        const answers: [digest: string, first: unknown][] = [];
        let going = true;
        let failed = 0;
        const one = async (): Promise<string | undefined> => {
          try {
            const answer = await model.predict({ record: { a: 1, b: 2 } });
            answers.push([answer.prediction.digest, answer["doubled"]]);
            return answer.prediction.digest;
          } catch {
            failed++;
            return undefined;
          }
        };
        const caller = async (): Promise<void> => {
          while (going) {
            await Promise.all([one(), one(), one()]);
            // On the page's own thread nothing else would have its turn.
            await new Promise((resolve) => setTimeout(resolve));
          }
        };
        const callers = [caller(), caller()];
        const after = await model.update();
        const { digest, version, layers, config } = model;
        const last = await one();
        going = false;
        await Promise.all(callers);
        const { passed } = await model.selfTest();
        await model.close();
        return { before, after, digest, version, config: config.version, layers: layers.length, failed, answers, last, passed };
      }, thread);
      const seen = await evaluated;
      assert.deepEqual(seen.before, { status: "current", digest: known.one, version: "1.0.0" });
      assert.deepEqual(seen.after, { status: "updated", digest: known.two, version: "2.0.0", previous: known.one });
      assert.deepEqual([seen.digest, seen.version, seen.config, seen.failed, seen.passed], [known.two, "2.0.0", "2.0.0", 0, 1]);
      // Each answer is of the package that it names.
      for (const [digest, doubled] of seen.answers) assert.deepEqual(doubled, digest === known.one ? DOUBLED : TRIPLED);
      assert.deepEqual(new Set(seen.answers.map(([digest]) => digest)), new Set([known.one, known.two]));
      assert.equal(seen.last, known.two);
      for (let tries = 0; page.workers().length > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(page.workers().length, 0);
      // What rollback needs is not removed to make room.
      const kept = await page.evaluate(async () => {
        const { cache } = await window.twinfer;
        await cache.prune(0);
        return (await cache.ls()).packages.map(({ digest, pinned }) => [digest, pinned]);
      });
      assert.deepEqual(new Map(kept as [string, boolean][]), new Map([[known.one, true], [known.two, true]]));
    });
  }

  test("a package whose golden examples fail is refused, and the old one stays", LIMIT, async () => {
    intercept = (_, response, path) => {
      if (path !== "/move") return false;
      known.registry.point("record:stable", known.bad);
      response.end("moved");
      return true;
    };
    const seen = page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record:stable");
      await fetch("/move");
      const update = await model.update();
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      const { digest } = model;
      await model.close();
      return { update, doubled, digest };
    });
    const { update, doubled, digest } = await seen;
    assert.deepEqual([update.status, update.error?.code, update.digest], ["refused", "self_test_failed", known.one]);
    assert.match(update.error?.message ?? "", /1 of 1 golden examples.*`small`/);
    assert.deepEqual([doubled, digest], [DOUBLED, known.one]);
  });

  test("nobody to ask, and a newer package that is not whole", LIMIT, async () => {
    let mode = "";
    intercept = (request, response, path) => {
      if (path === "/gone" || path === "/damaged") {
        mode = path;
        known.registry.point("record:stable", known.two);
        response.end("now");
        return true;
      }
      if (mode === "/gone") return gone(request, response, path);
      if (mode !== "/damaged" || path !== MODEL(known.two)) return false;
      send(response, new Uint8Array(known.registry.files.get(path.slice(PREFIX.length))?.length ?? 0));
      return true;
    };
    const made = page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record:stable");
      await fetch("/gone");
      const unreachable = await model.update();
      await fetch("/damaged");
      const refused = await model.update();
      const aborted = await model.update({ signal: AbortSignal.abort() }).catch((error: { code: string }) => error.code);
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      const closed = await model.update().catch((error: { code: string }) => error.code);
      return { unreachable, refused, aborted, doubled, closed };
    });
    const { unreachable, refused, aborted, doubled, closed } = await made;
    assert.deepEqual([unreachable.status, unreachable.error?.code, unreachable.digest], ["unreachable", "network", known.one]);
    assert.deepEqual([refused.status, refused.error?.code, refused.digest], ["refused", "digest_mismatch", known.one]);
    assert.deepEqual([aborted, doubled, closed], ["aborted", DOUBLED, "closed"]);
  });
});

describe("room", () => {
  for (const cache of ["opfs", "cache-api"] as const) {
    test(`what the browser has no room for is said, and predicts all the same: ${cache}`, LIMIT, async () => {
      const folder = mkdtempSync(join(tmpdir(), "twinfer-room-"));
      const profile = await launchProfile(folder);
      try {
        const { page: on, complaints: said } = await openPageIn(profile, `${site.origin}/`);
        await load("record:stable", { cache }, { on });
        // Chromium does not tell the page of it: the estimate stays at what is used and 10 GiB.
        const session = await profile.newCDPSession(on);
        await session.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: LARGE * 1.5 });
        const full = await load("record:2.0.0", { cache }, { on });
        assert.deepEqual(full.doubled, TRIPLED);
        const step = full.seen.find((one) => one.status === "not-kept");
        assert(step?.status === "not-kept" && step.code === "out_of_space", JSON.stringify(full.seen));
        assert(said.some((text) => text.includes("not kept in the cache")));
        // Nothing of it takes up what room there is.
        const left = await on.evaluate(async (place) => (await window.twinfer).cache.ls({ place }), cache);
        assert.equal(left.partial_bytes, 0);
        assert.equal(await fails("record:2.0.0", { cache, mustKeep: true }, on), "out_of_space");
        assert.deepEqual((await load("record:stable", { cache, policy: "offline" }, { on })).doubled, DOUBLED);
      } finally {
        await profile.close();
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    });
  }

  test("what is known not to fit is said before it is fetched", LIMIT, async () => {
    const quota = Math.ceil(LARGE * 1.5);
    await load("record:stable", { quota });
    forget();
    const full = await load("record:2.0.0", { quota });
    assert.deepEqual(full.doubled, TRIPLED);
    const at = full.seen.findIndex((step) => step.status === "not-kept");
    assert(at >= 0 && at < full.seen.findIndex((one) => one.status === "download"), JSON.stringify(full.seen));
    forget();
    assert.equal(await fails("record:2.0.0", { quota, mustKeep: true }), "out_of_space");
    assert(!blobsAsked().includes(MODEL(known.two)));
  });

  test("a quota of one's own: what was not used lately goes", LIMIT, async () => {
    const quota = Math.ceil(LARGE * 1.5);
    const kept = async (): Promise<string[]> => {
      const { packages } = await page.evaluate(async () => (await window.twinfer).cache.ls());
      return packages.filter(({ bytes }) => bytes > LARGE).map(({ digest }) => digest);
    };
    for (const digest of [known.one, known.two]) {
      await load(`record@${digest}`, { quota });
      assert.deepEqual(await kept(), [digest]);
    }
    // What a tag is used with stays.
    await load("record:2.0.0", { quota });
    await load(`record@${known.one}`, { quota });
    assert.deepEqual(await kept(), [known.two]);
  });

  test("the browser is asked once to keep it, and never where that is not wanted", LIMIT, async () => {
    await page.evaluate(() => {
      Object.assign(window, { asked: 0 });
      const { storage } = navigator;
      Object.assign(storage, { persisted: async () => false, persist: async () => (((window as unknown as { asked: number }).asked += 1), true) });
    });
    const times = (): Promise<number> => page.evaluate(() => (window as unknown as { asked: number }).asked);
    await load("record:stable", { persist: false });
    assert.equal(await times(), 0);
    await load("record:stable", { cache: false });
    assert.equal(await times(), 0);
    await load("record:stable");
    await load("record:2.0.0");
    assert.equal(await times(), 1);
  });
});

describe("the storage itself", () => {
  for (const place of ["opfs", "cache-api"] as const) {
    test(`it can be looked into, checked, made smaller and emptied: ${place}`, LIMIT, async () => {
      await load("record:stable", { cache: place });
      await load(`record@${known.two}`, { cache: place });
      await flip(place, MODEL(known.two).split("/").at(-1) ?? "");
      const seen = await page.evaluate(async (place) => {
        const { cache } = await window.twinfer;
        const options = { place };
        const listing = await cache.ls(options);
        const verified = await cache.verify(options);
        const statistics = await cache.statistics(options);
        const pruned = await cache.prune(0, options);
        const left = await cache.ls(options);
        const cleared = await cache.clear(options);
        const after = await cache.ls(options);
        const estimate = await cache.estimate();
        return { listing, verified, statistics, pruned, left, cleared, after, estimate };
      }, place);
      assert.deepEqual(seen.listing.packages.map(({ digest, name, pinned }) => [digest, name, pinned]), [[known.two, "record", false], [known.one, "record", true]]);
      assert.deepEqual(seen.listing.references.map(({ registry, reference, active }) => [registry, reference, active]), [[`${site.origin}/registry/`, "record:stable", known.one]]);
      assert(seen.listing.bytes > 2 * LARGE && (seen.listing.available ?? 0) > 0 && seen.listing.quota === null);
      // They have a file in common with each other: manifest, configuration and model of both.
      assert.equal(seen.listing.blobs, new Set([...site.log].filter((path) => path.includes("/blobs/"))).size);
      assert.deepEqual(seen.verified.damaged, [`sha256:${MODEL(known.two).split("/").at(-1)}`]);
      assert.deepEqual([seen.statistics.misses, seen.statistics.damaged], [seen.listing.blobs, 1]);
      assert.deepEqual(seen.pruned.packages, [known.two]);
      assert.deepEqual(seen.left.packages.map(({ digest }) => digest), [known.one]);
      assert.deepEqual(seen.cleared.packages, [known.one]);
      assert.deepEqual([seen.after.packages, seen.after.references, seen.after.blobs, seen.after.statistics.misses], [[], [], 0, 0]);
      assert((seen.estimate.quota ?? 0) > 0);
    });

    test(`what a model uses is not removed under it: ${place}`, LIMIT, async () => {
      const packages = await page.evaluate(async (place) => {
        const { cache, loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable", { cache: place });
        await cache.clear({ place });
        const during = (await cache.ls({ place })).packages.length;
        await model.selfTest();
        await model.close();
        // The lock goes with the worker.
        let after = 1;
        for (let tries = 0; after > 0 && tries < 50; tries++) {
          await cache.clear({ place });
          after = (await cache.ls({ place })).packages.length;
        }
        return { during, after };
      }, place);
      assert.deepEqual(packages, { during: 1, after: 0 });
    });

    test(`a thousand entries are listed: ${place}`, LIMIT, async () => {
      const blobs = await page.evaluate(async (place) => {
        const { cache } = await window.twinfer;
        const { openStorage } = (await import(`${location.origin}/twinfer/storage/storage.js`)) as { openStorage(place: string): Promise<import("../../storage/storage.js").Storage> };
        const storage = await openStorage(place);
        const one = async (number: number): Promise<void> => {
          const writer = await storage.write(number.toString(16).padStart(64, "0"));
          await writer.append(new Uint8Array(10));
          await writer.commit();
          writer.close();
        };
        for (let at = 0; at < 1100; at += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => one(at + i)));
        storage.close();
        const { blobs, bytes } = await cache.ls({ place });
        return { blobs, bytes };
      }, place);
      assert.deepEqual(blobs, { blobs: 1100, bytes: 11_000 });
    });
  }

  test("it can be left out", LIMIT, async () => {
    await load("record:stable", { cache: false });
    const { databases, names } = await page.evaluate(async () => ({ databases: (await indexedDB.databases()).length, names: await caches.keys() }));
    assert.deepEqual([databases, names], [0, []]);
    forget();
    assert.deepEqual((await load("record:stable", { cache: false })).cached, [false]);
    assert.equal(blobsAsked().length, 4);
  });

  test("what could not be verified is not kept", LIMIT, async () => {
    intercept = (_, response, path) => {
      if (path !== MODEL(known.one)) return false;
      send(response, HTML);
      return true;
    };
    assert.equal(await fails("record:stable"), "size_mismatch");
    intercept = undefined;
    assert.deepEqual((await load("record:stable")).doubled, DOUBLED);
  });

  test("golden examples come through it, too", LIMIT, async () => {
    const golden = PREFIX + known.registry.layer(known.one, "golden.json");
    const test = (): Promise<number> =>
      page.evaluate(async () => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable");
        const { passed } = await model.selfTest();
        await model.examples();
        await model.close();
        return passed;
      });
    assert.equal(await test(), 1);
    assert.equal(asked().filter((path) => path === golden).length, 1);
    forget();
    assert.equal(await test(), 1);
    assert.deepEqual(blobsAsked(), []);
    assert(known.registry.files.has(pathOf(known.one)));
  });
});
