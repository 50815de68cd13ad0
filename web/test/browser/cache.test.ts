import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DOUBLED, LIMIT, MODEL, PREFIX, TRIPLED, asked, blobsAsked, complaints, conditions, fails, flip, forget, gone, indexAsked, known, load, page, server, site, statuses } from "../support/kept.js";
import { HTML, send } from "../support/site.js";
import { LARGE } from "../support/versions.js";

/** What a page keeps, in a real browser: both places and threads, how references are looked up, several tabs. */

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
      server.intercept = gone;
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
    server.indexHeaders = { "cache-control": "max-age=600" };
    await load("record:stable");
    forget();
    assert.equal((await load("record:stable")).source, "fresh");
    assert.equal(indexAsked(), 0);
    server.indexHeaders = { "cache-control": "no-store" };
    await load("record:2.0.0", { policy: "online" });
    server.indexHeaders = { "cache-control": "max-age=0, must-revalidate" };
    await load("record:stable", { policy: "online" });
    forget();
    assert.equal((await load("record:stable")).source, "registry");
    assert.equal(indexAsked(), 1);
  });

  test("with the server gone it loads all the same", LIMIT, async () => {
    await load("record:stable");
    server.intercept = gone;
    for (const [policy, source] of [["stale-while-revalidate", "stale"], ["online", "last-good"], ["offline", "offline"]] as const) {
      const model = await load("record:stable", { policy });
      assert.deepEqual([model.doubled, model.source], [DOUBLED, source]);
      assert.equal(statuses(model.seen).includes("unreachable"), policy === "online");
    }
    // A page in the place of the index (a login, say) is no answer either.
    server.intercept = (_, response, path) => {
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
    server.intercept = async (_, __, path) => {
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
    server.intercept = async (request, response, path) => {
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
    server.intercept = async (request, response, path) => {
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
