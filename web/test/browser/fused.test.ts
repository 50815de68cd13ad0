import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, test } from "node:test";
import type { Options } from "../support/kept.js";
import { DOUBLED, LIMIT, MODEL, PREFIX, TRIPLED, asked, blobsAsked, fails, forget, gone, indexAsked, known, load, page, server, statuses } from "../support/kept.js";
import { RECORD_PIPELINE, pathOf } from "../support/fixture.js";
import type { TrustPolicy } from "../../generated/types.js";
import { DIST } from "../support/server.js";
import { policyOf, signer } from "../support/signing.js";
import { send } from "../support/site.js";
import { FULL, derived, digest } from "../support/slim.js";

/**
 * Engines with a package in them, as a page uses them: what is fetched, what is noted, and how
 * tags are followed. The model in them is a stand-in that the glue answers for; `fused()` of a
 * real one is tested where it is made.
 */

const GLUE = readFileSync(join(DIST, "glue.js"), "utf8");
const STAND_IN = `
  let inside;
  WebCache.prototype.fused = function () {
    if (!inside) return undefined;
    const { factor, ...info } = JSON.parse(new TextDecoder().decode(inside));
    const outputs = { doubled: [[factor, 2 * factor]] };
    return {
      info: () => info,
      predict: () => JSON.stringify({ outputs, digest: info.digest, mode: "strict" }),
      run: () => missing(7),
      goldenJson: async () => undefined,
      selfTest: async () => ({ digest: info.digest, passed: 1, failed: 0, cases: [] }),
    };
  };
  return { init: (options) => ((inside = WebAssembly.Module.customSections(options.module_or_path, "inside")[0]), __wbg_init(options)),`;

/** A full engine with a note of what is said to be in it. */
function fused(of: string, version: string, factor: number): Uint8Array<ArrayBuffer> {
  const tensor = (name: string) => ({ name, dtype: "FP32", shape: [1, 2] });
  const info = { name: "record", version, digest: of, factor, layers: [], source: "digest", signature: { inputs: [tensor("x")], outputs: [tensor("y")] }, config: { format_version: 1, name: "record", version, pipeline: RECORD_PIPELINE } };
  const text = Buffer.from(`\u0006inside${JSON.stringify(info)}`);
  const length = [(text.length & 0x7f) | 0x80, text.length >>> 7];
  return new Uint8Array(Buffer.concat([FULL, Buffer.from([0, ...length]), text]));
}

let one: Uint8Array<ArrayBuffer>;
const path = (wasm: Uint8Array): string => PREFIX + pathOf(digest(wasm));

beforeEach(() => {
  one = fused(known.one, "1.0.0", 2);
  known.registry.put(one);
  known.registry.engines(known.one, [derived(one, [known.one], "fused")]);
  server.intercept = answer;
});

function answer(_: unknown, response: import("node:http").ServerResponse, path: string): boolean {
  if (path !== "/twinfer/glue.js") return false;
  send(response, new TextEncoder().encode(GLUE.replace("return { init: __wbg_init,", STAND_IN)), "text/javascript");
  return true;
}

const kinds = (seen: { status: string; kind?: string }[]): string[] => seen.flatMap((step) => (step.status === "engine" ? [String(step.kind)] : []));
/** Loads, and stays until what is noted in the background is noted. */
const stay = async (options: Options = {}) => {
  const seen = await load("record:stable", options, { stay: 500 });
  return { ...seen, kinds: kinds(seen.seen) };
};
const list = () => page.evaluate(() => window.twinfer.then(({ cache }) => cache.ls()));

for (const thread of ["worker", "main"] as const) {
  describe(`on the ${thread} thread`, () => {
    test("the index and the engine are all that is fetched; then it is all there", LIMIT, async () => {
      const first = await stay({ thread });
      assert.deepEqual([first.doubled, first.digest, first.version, first.source, first.kinds], [DOUBLED, known.one, "1.0.0", "registry", ["fused"]]);
      assert.deepEqual(asked(), [`${PREFIX}index.json`, path(one)]);
      assert.deepEqual(statuses(first.seen), ["resolve", "engine", "load", "ready"]);
      const { packages, references } = await list();
      assert.deepEqual(packages.map(({ digest, name, pinned }) => [digest, name, pinned]), [[known.one, "record", true]]);
      assert(packages[0] && packages[0].bytes === one.length && packages[0].of === one.length);
      assert.deepEqual(references.map(({ reference, active, previous }) => [reference, active, previous]), [["record:stable", known.one, null]]);
      await page.reload();
      forget();
      const second = await stay({ thread });
      assert.deepEqual([second.doubled, second.source, second.kinds], [DOUBLED, "stale", ["fused"]]);
      // It is asked afterwards whether the tag moved.
      assert.deepEqual([blobsAsked(), indexAsked()], [[], 1]);
      await page.reload();
      await page.evaluate(() => window.twinfer);
      forget();
      const offline = await stay({ thread, policy: "offline" });
      assert.deepEqual([offline.doubled, offline.source, offline.kinds, asked()], [DOUBLED, "offline", ["fused"], []]);
    });

    test("a moved tag is told, and followed", LIMIT, async () => {
      await stay({ thread });
      known.registry.point("record:stable", known.two);
      const two = fused(known.two, "2.0.0", 3);
      known.registry.put(two);
      known.registry.engines(known.two, [derived(two, [known.two], "fused")]);
      const stale = await load("record:stable", { thread }, { linger: true });
      assert.deepEqual([stale.doubled, stale.source, stale.update], [DOUBLED, "stale", { digest: known.two, previous: known.one }]);
      await page.reload();
      await page.evaluate(() => window.twinfer);
      server.intercept = (request, response, path) => answer(request, response, path) || gone(request, response, path);
      const next = await stay({ thread });
      assert.deepEqual([next.doubled, next.digest, next.kinds], [TRIPLED, known.two, ["fused"]]);
      const { references } = await list();
      assert.deepEqual(references.map(({ active, previous }) => [active, previous]), [[known.two, known.one]]);
    });

    test("an update goes from one to the other, and what was refused is not taken again", LIMIT, async () => {
      const bad = fused(known.bad, "3.0.0", 3);
      known.registry.put(bad);
      const seen = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable", { thread });
        Object.assign(window, { model });
        return [model.engine.kind, (await model.update()).status];
      }, thread);
      assert.deepEqual(seen, ["fused", "current"]);
      // Its golden examples do not come out: without an engine of its own at first.
      known.registry.point("record:stable", known.bad);
      const refused = await page.evaluate(async () => {
        const { model } = window as unknown as { model: import("twinfer").Model };
        const { status } = await model.update();
        const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
        await model.close();
        return [status, doubled] as const;
      });
      assert.deepEqual(refused, ["refused", DOUBLED]);
      known.registry.engines(known.bad, [derived(bad, [known.bad], "fused")]);
      const online = await stay({ thread, policy: "online" });
      assert.deepEqual([online.doubled, online.digest, kinds(online.seen)], [DOUBLED, known.one, ["full"]]);
      assert(statuses(online.seen).includes("held-back"));
    });

    test("what it lacks the full engine does, with the package", LIMIT, async () => {
      const seen = await page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable", { thread });
        const { y } = await model.run({ x: { shape: [1, 2], data: [1, 2] } });
        const { engine, digest } = model;
        const { passed } = await model.selfTest();
        await model.close();
        return { y: [...((y?.data ?? []) as Float32Array)], engine, digest, passed };
      }, thread);
      assert.deepEqual([seen.y, seen.engine.kind, seen.engine.missing, seen.engine.replaced, seen.digest, seen.passed], [[2, 4], "full", 7, digest(one), known.one, 1]);
      assert(asked().includes(MODEL(known.one)));
    });
  });
}

const release = signer();

/** Lists the engine with these signatures of it. */
function signed(...envelopes: Uint8Array<ArrayBuffer>[]): void {
  const signatures = envelopes.map((envelope) => known.registry.put(envelope).digest);
  known.registry.engines(known.one, [{ ...derived(one, [known.one], "fused"), signatures }]);
}

/** How a load under a policy ends, and which engines were tried. */
async function refusal(trust: TrustPolicy) {
  const seen = await page.evaluate(async (trust) => {
    const { loadModel } = await window.twinfer;
    const seen: import("twinfer").Progress[] = [];
    const ended = await loadModel("/registry/record:stable", { trust, cache: false, onProgress: (step) => void seen.push(step) }).then(
      (model) => model.close().then(() => "loaded"),
      (error: { code: string }) => error.code,
    );
    return { ended, seen };
  }, trust);
  return { ended: seen.ended, kinds: kinds(seen.seen), engine: seen.seen.flatMap((step) => (step.status === "engine-refused" ? [step.code] : [])) };
}

describe("under a trust policy", () => {
  const envelope = () => release.envelope(derived(one, [known.one], "fused"));

  test("one that an accepted key signed is taken, and kept with its signature", LIMIT, async () => {
    signed(signer().envelope(derived(one, [known.one], "fused")), envelope());
    const trust = policyOf(release);
    const first = await stay({ trust });
    assert.deepEqual([first.doubled, first.kinds, first.trust], [DOUBLED, ["fused"], { verdict: "allowed", keys: ["release"] }]);
    const signatures = asked().slice(1).filter((asked) => asked !== path(one));
    assert.deepEqual([asked()[0], signatures.length, asked().length], [`${PREFIX}index.json`, 2, 4]);
    await page.reload();
    forget();
    const offline = await stay({ trust, policy: "offline" });
    assert.deepEqual([offline.doubled, offline.kinds, offline.trust?.keys, asked()], [DOUBLED, ["fused"], ["release"], []]);
  });

  test("one that is not signed, or wrongly, never runs", LIMIT, async () => {
    assert.deepEqual(await refusal(policyOf(release)), { ended: "unsigned_package", kinds: ["fused", "full"], engine: ["unsigned_package"] });
    assert(!asked().includes(path(one)));
    const text = new TextDecoder().decode(envelope());
    const changed = new TextEncoder().encode(text.replace(/"sig":"(.{20})./, (_, head: string) => `"sig":"${head}${text[text.indexOf(head) + 20] === "A" ? "B" : "A"}`));
    const elsewhere = release.envelope(derived(one, [known.two], "fused"));
    for (const [content, code] of [
      [signer().envelope(derived(one, [known.one], "fused")), "untrusted_key"],
      [changed, "invalid_signature"],
      [elsewhere, "invalid_signature"],
      [new TextEncoder().encode("{}"), "invalid_signature"],
    ] as const) {
      signed(content);
      const { engine, kinds } = await refusal(policyOf(release));
      assert.deepEqual([engine, kinds], [[code], ["fused", "full"]]);
    }
  });

  test("one that was compiled before is asked about again", LIMIT, async () => {
    const free = await stay({ thread: "main" });
    assert.deepEqual([free.kinds, free.trust], [["fused"], undefined]);
    assert.deepEqual((await refusal(policyOf(release))).kinds, ["fused", "full"]);
  });

  test("a policy that names no keys for engines lets none of a registry run", LIMIT, async () => {
    signed(envelope());
    for (const trust of [{ format_version: 1, default: "allow" }, policyOf(release, { unsigned: "allow", engine_keys: [] })] as const) {
      const { kinds, engine } = await refusal(trust);
      assert.deepEqual([kinds, engine], [["full"], []]);
    }
    assert(!asked().includes(path(one)));
  });
});

describe("where it could not be right, the package is loaded", () => {
  test("the package must be kept", LIMIT, async () => {
    assert.deepEqual((await stay({ mustKeep: true })).kinds, ["full"]);
    assert(asked().includes(MODEL(known.one)));
  });

  test("a trust policy asks more than who signed it", LIMIT, async () => {
    for (const rule of [{ minimum_version: "1.0.0" }, { minimum_counter: 1 }]) {
      const { kinds } = await refusal(policyOf(release, { unsigned: "allow", ...rule }));
      assert.deepEqual(kinds, ["full"], JSON.stringify(rule));
    }
    const revoked = [`sha256:${"1".repeat(64)}`];
    assert.deepEqual((await refusal({ ...policyOf(release, { unsigned: "allow" }), revoked })).kinds, ["full"]);
    // A signed list of the tags cannot be looked at, either.
    known.registry.point("record:twinfer-tags", known.two);
    assert.deepEqual((await refusal(policyOf(release, { unsigned: "allow" }))).kinds, ["full"]);
  });

  test("it does not have the package of this name or version in it", LIMIT, async () => {
    known.registry.point("other:1.0.0", known.one);
    known.registry.point("record:4.0.0", known.one);
    known.registry.engines(known.one, [derived(one, [known.one], "fused")]);
    assert.equal(await fails("other:1.0.0"), "invalid_package");
    assert.equal(await fails("record:4.0.0"), "invalid_package");
  });

  test("asked online first, nobody answers", LIMIT, async () => {
    await load("record:stable", { engine: "full" });
    server.intercept = (request, response, path) => answer(request, response, path) || (path.endsWith("/index.json") && gone(request, response, path));
    const seen = await stay({ policy: "online" });
    assert.deepEqual([seen.doubled, seen.source, seen.kinds], [DOUBLED, "last-good", ["full"]]);
  });
});

test("asked online first, the answer decides", LIMIT, async () => {
  await stay({ policy: "online" });
  forget();
  const same = await stay({ policy: "online" });
  assert.deepEqual([same.source, same.kinds, blobsAsked(), indexAsked()], ["registry", ["fused"], [], 1]);
  known.registry.point("record:stable", known.two);
  assert.deepEqual((await stay({ policy: "online" })).doubled, TRIPLED);
});

test("without a storage nothing is noted, and it predicts", LIMIT, async () => {
  const { doubled, kinds } = await stay({ cache: false });
  assert.deepEqual([doubled, kinds, asked()], [DOUBLED, ["fused"], [`${PREFIX}index.json`, path(one)]]);
  assert.deepEqual((await list()).packages, []);
});
