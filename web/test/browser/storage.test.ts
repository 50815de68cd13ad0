import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { launchProfile, openPageIn } from "../support/browser.js";
import { pathOf } from "../support/fixture.js";
import { DOUBLED, LIMIT, MODEL, PREFIX, TRIPLED, asked, blobsAsked, fails, flip, forget, known, load, page, server, site } from "../support/kept.js";
import { HTML, send } from "../support/site.js";
import { LARGE } from "../support/versions.js";

/** The room that a page has, and what people do with its storage, in a real browser. */

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
    server.intercept = (_, response, path) => {
      if (path !== MODEL(known.one)) return false;
      send(response, HTML);
      return true;
    };
    assert.equal(await fails("record:stable"), "size_mismatch");
    server.intercept = undefined;
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
