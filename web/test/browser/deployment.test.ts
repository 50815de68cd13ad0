import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { DeploymentOptions, LoadOptions } from "twinfer";
import type { Share } from "../support/deployments.js";
import { deployment } from "../support/deployments.js";
import { DOUBLED, LIMIT, MODEL, PREFIX, TRIPLED, asked, forget, gone, indexAsked, known, page, server, site } from "../support/kept.js";
import { send } from "../support/site.js";

/** `name@alias` in a real browser: the document is a file of a static host. */

const DOCUMENT = `${PREFIX}deployments/record.json`;
/** With the salt `record`: in the buckets 124 and 7,662. */
const [LOW, HIGH] = ["user-1", "user-3"];
let revision = 0;

/** Publishes a document, as `twinfer deploy` does. */
function publish(shares: readonly Share[], alias?: string): void {
  const text = JSON.stringify(deployment("record", ++revision, shares, alias));
  known.registry.files.set("deployments/record.json", new TextEncoder().encode(text));
}

const only = (digest: string): void => publish([{ digest, weight: 10_000 }]);

beforeEach(() => {
  revision = 0;
  only(known.one);
  server.intercept = (_, response, path) => {
    const [, command, digest = "", weight = ""] = path.split("/");
    if (command === "release") only(digest);
    else if (command === "canary") publish([{ digest: known.one, weight: 10_000 - Number(weight) }, { digest, weight: Number(weight) }]);
    else return false;
    response.end("published");
    return true;
  };
});

type Options = DeploymentOptions & Pick<LoadOptions, "policy" | "thread" | "cache">;

/** Loads, predicts, closes, and says what came of it. */
const load = (options: Options = {}, on = page) =>
  on.evaluate(async (options) => {
    const { loadModel } = await window.twinfer;
    const seen: string[] = [];
    const model = await loadModel("/registry/record@stable", { pollSeconds: 0, ...options, onProgress: ({ status }) => void seen.push(status) });
    const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
    const { release, source, version } = model;
    await model.close();
    const { digest, variant, revision, where } = prediction;
    return { doubled, digest, variant, revision, where, version, said: prediction.version, release, source, seen };
  }, options);

const code = (address: string, options: LoadOptions = {}) =>
  page.evaluate(
    async ([address, options]) => {
      const { loadModel } = await window.twinfer;
      return loadModel(address, options).then((model) => model.close().then(() => "loaded"), (error: { code: string; message: string }) => `${error.code}: ${error.message}`);
    },
    [address, options] as const,
  );

describe("a page gets what the deployment gives its key", () => {
  test("the package is named, with variant and document; nothing is asked of the index", LIMIT, async () => {
    const { doubled, digest, variant, revision, where, version, said, release, source } = await load({ assignmentKey: LOW });
    assert.deepEqual([doubled, digest, variant, revision, where, version, said, source], [DOUBLED, known.one, "primary", 1, "page", "1.0.0", "1.0.0", "registry"]);
    assert.deepEqual(release, { alias: "stable", revision: 1, variant: "primary", role: "primary", weight: 10_000, key: LOW, header: "X-Twinfer-Key" });
  });

  test("callers are assigned by their keys, and a growing candidate keeps those that it had", LIMIT, async () => {
    publish([{ digest: known.one, weight: 8_000 }, { digest: known.two, weight: 2_000, name: "canary" }]);
    const [low, high] = [await load({ assignmentKey: LOW }), await load({ assignmentKey: HIGH })];
    assert.deepEqual([low.digest, low.variant, low.doubled], [known.two, "canary", TRIPLED]);
    assert.deepEqual([high.digest, high.variant, high.doubled], [known.one, "primary", DOUBLED]);
    publish([{ digest: known.one, weight: 1_000 }, { digest: known.two, weight: 9_000, name: "canary" }]);
    const later = [await load({ assignmentKey: LOW, policy: "online" }), await load({ assignmentKey: HIGH, policy: "online" })];
    assert.deepEqual(later.map(({ digest, revision }) => [digest, revision]), [[known.two, 3], [known.two, 3]]);
  });

  test("without a key it is a random one: for the page, or, where that is allowed, for the browser", LIMIT, async () => {
    const keys = async (options: Options): Promise<string | undefined> => (await load(options)).release?.key;
    const stored = () => page.evaluate(() => localStorage.getItem("twinfer-assignment-key"));
    const first = await keys({});
    assert.equal(await keys({}), first);
    assert.equal(await stored(), null);
    await page.reload();
    const kept = await keys({ keepAssignmentKey: true });
    assert.notEqual(kept, first);
    assert.equal(await stored(), kept);
    await page.reload();
    assert.equal(await keys({ keepAssignmentKey: true }), kept);
  });

  test("pins are what they were, and what is not there is said", LIMIT, async () => {
    only(known.two);
    assert.equal(await code("/registry/record:1.0.0"), "loaded");
    assert.equal(await code(`/registry/record@${known.one}`), "loaded");
    assert.ok(!asked().includes(DOCUMENT));
    assert.match(await code("/registry/other@stable"), /^unknown_deployment: /);
    assert.match(await code("/registry/record@canary"), /^unknown_version: .*`record@stable`/);
    assert.match(await code("oci://localhost:1/models/record@stable"), /^invalid_reference: .*record:stable/);
    assert.match(await code("/registry/record@stable", { pollSeconds: -1 }), /^invalid_request: /);
    publish([{ digest: `sha256:${"0".repeat(64)}`, weight: 10_000 }]);
    assert.match(await code("/registry/record@stable", { policy: "online" }), /^unknown_version: /);
  });
});

describe("the document is looked up as references are", () => {
  const ways: [policy: "online" | "stale-while-revalidate" | "offline", digest: () => string, source: string, questions: number][] = [
    ["online", () => known.two, "registry", 1],
    ["stale-while-revalidate", () => known.one, "stale", 1],
    ["offline", () => known.one, "offline", 0],
  ];
  for (const cache of ["opfs", "cache-api"] as const) {
    for (const [policy, digest, source, questions] of ways) {
      test(`${policy}, in ${cache}`, LIMIT, async () => {
        await load({ cache });
        only(known.two);
        forget();
        const seen = await load({ policy, cache });
        assert.deepEqual([seen.digest, seen.source], [digest(), source]);
        for (let tries = 0; asked().filter((path) => path === DOCUMENT).length < questions && tries < 100; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
        assert.deepEqual([asked().filter((path) => path === DOCUMENT).length, indexAsked()], [questions, 0]);
      });
    }
  }

  test("what the server says counts: no-cache is asked for first, max-age not at all", LIMIT, async () => {
    server.indexHeaders = { "cache-control": "no-cache" };
    await load();
    only(known.two);
    assert.deepEqual((await load()).digest, known.two);
    server.indexHeaders = { "cache-control": "max-age=600" };
    await load();
    only(known.one);
    const seen = await load();
    assert.deepEqual([seen.digest, seen.source], [known.two, "fresh"]);
  });

  test("the last good document survives a dead network, a missing file, and what is no document", LIMIT, async () => {
    await load();
    const good = known.registry.files.get("deployments/record.json") ?? assert.fail();
    const faults: (() => void)[] = [
      () => (server.intercept = (request, response, path) => path === DOCUMENT && gone(request, response, path)),
      () => known.registry.files.delete("deployments/record.json"),
      () => known.registry.files.set("deployments/record.json", new TextEncoder().encode("<html>please log in</html>")),
      () => known.registry.files.set("deployments/record.json", new TextEncoder().encode('{"format_version":9}')),
    ];
    for (const fault of faults) {
      fault();
      const seen = await load({ policy: "online" });
      assert.deepEqual([seen.digest, seen.source, seen.revision, seen.seen.includes("unreachable")], [known.one, "last-good", 1, true]);
      server.intercept = undefined;
      known.registry.files.set("deployments/record.json", good);
    }
    // A visitor who was never here gets the reason.
    known.registry.files.set("deployments/record.json", new TextEncoder().encode("<html>please log in</html>"));
    assert.match(await code("/registry/record@stable", { cache: "cache-api" }), /^invalid_deployment: .*HTML page/);
  });

  test("what `cache` empties is gone", LIMIT, async () => {
    const seen = await page.evaluate(async () => {
      const { cache, loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record@stable");
      let { references } = await cache.ls();
      // Noted when nobody waits for it.
      while (references.length === 0) ({ references } = await cache.ls());
      await model.close();
      await cache.clear();
      return { references: references.map(({ reference, active }) => [reference, active]), after: (await cache.ls()).references.length };
    });
    assert.deepEqual(seen, { references: [["record:deployment-stable", known.one]], after: 0 });
    assert.match(await code("/registry/record@stable", { policy: "offline" }), /^network: /);
  });
});

describe("a release moves the page", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`by itself, with a word to the application, and back again: ${thread}`, LIMIT, async () => {
      const seen = await page.evaluate(
        async ([thread, two, one]) => {
          const { loadModel } = await window.twinfer;
          type Result = import("twinfer").UpdateResult;
          let tell: (result: Result) => void = () => undefined;
          const model = await loadModel("/registry/record@stable", { thread, assignmentKey: "user-1", pollSeconds: 0.1, onRelease: (result) => tell(result) });
          const next = (): Promise<Result> => new Promise((resolve) => (tell = resolve));
          const results: [Result, unknown][] = [];
          for (const digest of [two, one]) {
            const moved = next();
            await fetch(`/release/${digest}`);
            const result = await moved;
            results.push([result, (await model.predict({ record: { a: 1, b: 2 } }))["doubled"]]);
          }
          const { release } = model;
          await model.close();
          return { results, release };
        },
        [thread, known.two, known.one] as const,
      );
      const [[first, tripled], [second, doubled]] = seen.results as [[typeof seen.results[0][0], unknown], [typeof seen.results[0][0], unknown]];
      assert.deepEqual([first.status, first.digest, first.previous, first.version, first.release?.revision, tripled], ["updated", known.two, known.one, "2.0.0", 2, TRIPLED]);
      assert.deepEqual([second.status, second.digest, second.previous, second.version, second.release?.revision, doubled], ["updated", known.one, known.two, "1.0.0", 3, DOUBLED]);
      assert.equal(seen.release?.revision, 3);
      // Both are kept: a rollback needs no network.
      const kept = await page.evaluate(async () => {
        const { cache } = await window.twinfer;
        await cache.prune(0);
        return (await cache.ls()).packages.map(({ digest }) => digest).sort();
      });
      assert.deepEqual(kept, [known.one, known.two].sort());
      // Nobody asks any more.
      forget();
      await new Promise((resolve) => setTimeout(resolve, 400));
      assert.deepEqual(asked(), []);
    });
  }

  test("another share for the same package is another document, and no release", LIMIT, async () => {
    const seen = await page.evaluate(async (two) => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record@stable", { assignmentKey: "user-3", pollSeconds: 0 });
      await fetch(`/canary/${two}/2000`);
      const { status } = await model.update();
      const { prediction } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      return { status, weight: model.release?.weight, revision: prediction.revision, digest: prediction.digest };
    }, known.two);
    assert.deepEqual(seen, { status: "current", weight: 8_000, revision: 2, digest: known.one });
  });

  test("what does not prove itself is refused, once; and the next visit does not take it either", LIMIT, async () => {
    const seen = await page.evaluate(async (bad) => {
      const { loadModel } = await window.twinfer;
      const told: [string, string | undefined][] = [];
      const model = await loadModel("/registry/record@stable", { pollSeconds: 0.05, onRelease: ({ status, error }) => void told.push([status, error?.code]) });
      await fetch(`/release/${bad}`);
      while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { status, error } = await model.update();
      const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      return { told, status, error: error?.code, doubled, digest: prediction.digest };
    }, known.bad);
    assert.deepEqual(seen, { told: [["refused", "self_test_failed"]], status: "refused", error: "self_test_failed", doubled: DOUBLED, digest: known.one });
    const later = await load({ policy: "online" });
    assert.deepEqual([later.digest, later.doubled, later.seen.includes("held-back")], [known.one, DOUBLED, true]);
    only(known.two);
    assert.equal((await load({ policy: "online" })).digest, known.two);
  });

  test("nobody to ask, or a package that is not whole: the model is what it was", LIMIT, async () => {
    let mode = "";
    server.intercept = (request, response, path) => {
      if (path === "/gone" || path === "/damaged") {
        mode = path;
        only(known.two);
        response.end("now");
        return true;
      }
      if (mode === "/gone") return gone(request, response, path);
      if (mode !== "/damaged" || path !== MODEL(known.two)) return false;
      send(response, new Uint8Array(known.registry.files.get(path.slice(PREFIX.length))?.length ?? 0));
      return true;
    };
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record@stable", { pollSeconds: 0 });
      await fetch("/gone");
      const unreachable = await model.update();
      await fetch("/damaged");
      const refused = await model.update();
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      return [unreachable.status, unreachable.error?.code, refused.status, refused.error?.code, doubled];
    });
    assert.deepEqual(seen, ["unreachable", "network", "refused", "digest_mismatch", DOUBLED]);
  });

  test("the last document is used at once, and a newer one follows", LIMIT, async () => {
    await load();
    only(known.two);
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      let tell: (status: string) => void = () => undefined;
      const told = new Promise<string>((resolve) => (tell = resolve));
      const model = await loadModel("/registry/record@stable", { onRelease: ({ status }) => tell(status) });
      const { digest: first } = model;
      const status = await told;
      const { digest } = model;
      await model.close();
      return { first, status, digest };
    });
    assert.deepEqual(seen, { first: known.one, status: "updated", digest: known.two });
    assert.equal(site.log.filter((path) => path === DOCUMENT).length, 2);
  });
});
