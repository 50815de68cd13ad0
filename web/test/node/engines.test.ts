import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { ErrorCode, LoadOptions, Progress } from "twinfer";
import { PHOTO, freshPackage, slimFor } from "../support/engines.js";
import { sampleRegistry } from "../support/fixture.js";
import { FULL, FULL_DIGEST, derived, digest } from "../support/slim.js";
import type { Site } from "../support/server.js";
import { policyOf, signer } from "../support/signing.js";
import { serveRegistry } from "../support/site.js";

/** Which engine a load takes, and what happens when it lacks something. */

const registry = sampleRegistry();
const { record = "", picture = "", bytes = "" } = registry.digests;
let site: Site;
/** Predicts records; nothing else was ever asked of it. */
let small: Uint8Array<ArrayBuffer>;
const blob = (wasm: Uint8Array): string => `/registry/blobs/${digest(wasm).replace(":", "/")}`;

before(async () => {
  site = await serveRegistry(registry);
  // A registry that lists engines has a longer index, which takes more to read.
  list(derived(FULL, [record]));
  small = await slimFor(`${site.origin}/registry/record:1.0.0`, async (model) => {
    // Numbers of many digits take other functions than short ones.
    for (const b of [2, 0.1]) await model.predict({ record: { a: 1, b } });
  });
  registry.put(small);
});

after(() => site.close());

/** What was compiled once is taken before anything is fetched: each test begins without. */
let copy: Awaited<ReturnType<typeof freshPackage>>;
beforeEach(async () => void (copy = await freshPackage()));
afterEach(() => copy.close());

async function fails(work: Promise<unknown>, code: ErrorCode, message = /./): Promise<void> {
  await assert.rejects(work, (error: { code?: string; message: string }) => (assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message), true));
}

/** Everything is loaded, signed or not. */
const POLICY: NonNullable<LoadOptions["trust"]> = { format_version: 1, default: "allow" };

const list = (...engines: object[]): void => {
  for (const one of [record, picture, bytes]) registry.engines(one, engines);
  site.log.length = 0;
};

const load = async (name: string, options: LoadOptions = {}) => {
  const seen: Progress[] = [];
  const model = await copy.loadModel(`${site.origin}/registry/${name}:1.0.0`, { ...options, onProgress: (step) => void seen.push(step) });
  const engines = (): string[] => seen.flatMap((step) => (step.status === "engine" ? [step.kind] : step.status === "engine-refused" ? [`${step.kind}: ${step.code}`] : []));
  return { model, seen, engines };
};

for (const thread of ["worker", "main"] as const) {
  describe(`on the ${thread} thread`, () => {
    test("a slim engine that was made for the package is taken, and is far smaller", async () => {
      list(derived(small, [record]));
      const { model, engines } = await load("record", { thread });
      assert.deepEqual(model.engine, { kind: "slim", digest: digest(small), url: site.origin + blob(small) });
      assert.deepEqual((await model.predict({ record: { a: 1, b: 0.1 } }))["doubled"], [[2, 0.20000000298023224]]);
      assert.deepEqual(engines(), ["slim"]);
      assert(small.length < FULL.length / 2, `${small.length} of ${FULL.length}`);
      await model.close();
    });

    test("what it lacks the full engine does: a run, and an error", async () => {
      list(derived(small, [record]));
      for (const work of ["run", "error", "selfTest", "examples"] as const) {
      copy.close();
      copy = await freshPackage();
        const { model, engines } = await load("record", { thread });
        assert.equal(model.engine.kind, "slim");
        if (work === "run") assert.deepEqual((await model.run({ x: { shape: [1, 2], data: [1, 2] } }))["y"]?.data, Float32Array.of(2, 4));
        if (work === "error") await fails(model.predict({ record: { c: 1 } }), "invalid_record", /`c`|c/);
        if (work === "selfTest") assert.equal((await model.selfTest()).passed, 2);
        if (work === "examples") assert.equal((await model.examples()).length, 2);
        const { kind, digest: now, replaced, missing } = model.engine;
        assert.deepEqual([kind, now, replaced], ["full", FULL_DIGEST, digest(small)], work);
        assert(Number.isSafeInteger(missing));
        assert.deepEqual(engines(), ["slim", "full"]);
        // And from then on it stays.
        assert.deepEqual((await model.predict({ record: { a: 3, b: 4 } }))["doubled"], [[6, 8]]);
        assert.equal(model.digest, record);
        await model.close();
      }
    });

    test("what it lacks while it loads", async () => {
      list(derived(small, [picture, bytes]));
      const { model, engines } = await load("picture", { thread });
      assert.deepEqual(engines(), ["slim", "full"]);
      assert.equal(model.engine.kind, "full");
      assert.deepEqual((await model.predict({ picture: PHOTO }))["pixels"], [[[[510, 0, 0], [0, 510, 0]], [[0, 0, 510], [20, 40, 60]]]]);
      await model.close();
      const other = await load("bytes", { thread });
      assert.deepEqual((await other.model.predict({ content: new TextEncoder().encode("abcdefgh") }))["tokens"], [[194, 196, 198, 208]]);
      await other.model.close();
    });

    test("calls at the same time are all answered, and the engine is replaced once", async () => {
      list(derived(small, [record]));
      const { model, engines } = await load("record", { thread });
      const run = model.run({ x: { shape: [1, 2], data: [1, 2] } });
      const good = model.predict({ record: { a: 5, b: 6 } });
      const tested = model.selfTest();
      const bad = fails(model.predict({ record: { c: 1 } }), "invalid_record");
      assert.deepEqual((await run)["y"]?.data, Float32Array.of(2, 4));
      assert.deepEqual((await good)["doubled"], [[10, 12]]);
      assert.equal((await tested).passed, 2);
      await bad;
      assert.deepEqual(engines(), ["slim", "full"]);
      await model.close();
    });

    test("buffers that were handed over are not lost on the way", async () => {
      list(derived(small, [record]));
      const { model } = await load("record", { thread });
      const data = Float32Array.of(1, 2);
      assert.deepEqual((await model.run({ x: { shape: [1, 2], data } }, { transfer: true }))["y"]?.data, Float32Array.of(2, 4));
      assert.equal(model.engine.kind, "full");
      await model.close();
    });
  });
}

describe("an engine that does not fit", () => {
  test("was made from another full engine: nobody asks for it", async () => {
    const other = digest(Uint8Array.of(1));
    for (const kind of ["slim", "fused"] as const) {
      list(derived(small, [record], kind, other));
      const { model, engines } = await load("record");
      assert.deepEqual([engines(), model.engine.digest], [["full"], FULL_DIGEST]);
      assert(!site.log.includes(blob(small)));
      await model.close();
    }
  });

  test("was made for other packages, or for hosts", async () => {
    list(derived(small, [picture]), { ...derived(small, [record]), target: "component" }, { kind: "newer" });
    const { model, engines } = await load("record");
    assert.deepEqual(engines(), ["full"]);
    assert(!site.log.includes(blob(small)));
    await model.close();
  });

  test("has another digest, or another length, or is not there: it is never started", async (t) => {
    list(derived(small, [record]));
    const path = blob(small).slice("/registry/".length);
    t.after(() => registry.files.set(path, small));
    const flipped = small.slice();
    // In a function that is missing: only the digest tells.
    flipped[flipped.length - 9] = (flipped[flipped.length - 9] ?? 0) ^ 1;
    for (const [content, code] of [[flipped, "digest_mismatch"], [small.slice(0, -1), "digest_mismatch"], [new Uint8Array([...small, 0]), "digest_mismatch"], [undefined, "not_found"]] as const) {
      if (content) registry.files.set(path, content);
      else registry.files.delete(path);
      copy.close();
      copy = await freshPackage();
      const { model, engines } = await load("record");
      assert.deepEqual(engines(), ["slim", `slim: ${code}`, "full"]);
      assert.deepEqual((await model.predict({ record: { a: 1, b: 2 } }))["doubled"], [[2, 4]]);
      await model.close();
    }
  });

  test("is said to have the package in it, and has not", async () => {
    list(derived(small, [record], "fused"));
    const { model, engines } = await load("record");
    assert.deepEqual(engines(), ["fused", "full"]);
    assert.deepEqual([model.engine.kind, model.digest, model.source], ["full", record, "registry"]);
    assert.deepEqual((await model.predict({ record: { a: 1, b: 2 } }))["doubled"], [[2, 4]]);
    await model.close();
  });

  test("comes from a registry, where a trust policy names no keys for engines", async () => {
    list(derived(small, [record]));
    const { model, engines } = await load("record", { trust: POLICY });
    assert.deepEqual([engines(), model.trust?.verdict], [["full"], "allowed"]);
    assert(!site.log.includes(blob(small)));
    await model.close();
  });

  test("is signed by nobody whom the trust policy knows, or wrongly", async () => {
    const release = signer();
    const engine = derived(small, [record]);
    const signed = (...envelopes: Uint8Array<ArrayBuffer>[]) => list({ ...engine, signatures: envelopes.map((one) => registry.put(one).digest) });
    // The package itself is not signed: what is refused here is the engine alone.
    const trust = policyOf(release, { unsigned: "allow" });
    for (const [envelopes, seen] of [
      [[], ["slim", "slim: unsigned_package", "full"]],
      [[signer().envelope(engine)], ["slim", "slim: untrusted_key", "full"]],
      // It was made without a policy, and lacks what reads one.
      [[release.envelope(engine)], ["slim", "full"]],
      [[release.envelope({ ...engine, size: 1 })], ["slim", "slim: invalid_signature", "full"]],
    ] as const) {
      signed(...envelopes);
      copy.close();
      copy = await freshPackage();
      const { model, engines } = await load("record", { trust });
      assert.deepEqual([engines(), model.trust?.verdict], [seen, "allowed"]);
      await model.close();
    }
    signed(release.envelope(engine));
    copy.close();
    copy = await freshPackage();
    const revoked = await load("record", { trust: { ...trust, revoked: [digest(small)] } });
    assert.deepEqual(revoked.engines(), ["slim", "slim: revoked_package", "full"]);
    await revoked.model.close();
    await fails(load("record", { trust: "data:application/json,{}" }), "invalid_reference");
    await fails(load("record", { trust: { format_version: 2 } as unknown as NonNullable<typeof trust> }), "invalid_policy");
  });

  test("is not wanted", async () => {
    list(derived(small, [record]));
    const { model, engines } = await load("record", { engine: "full" });
    assert.deepEqual(engines(), ["full"]);
    await model.close();
    await fails(load("record", { engine: "small" as unknown as "full" }), "invalid_request", /engine.*small/);
  });
});

test("the slim engines that come with the package are taken where their list says so, also under a trust policy", async () => {
  list();
  copy.close();
  copy = await freshPackage([
    { wasm: FULL.subarray(0, 100), says: derived(small, [record], "slim", digest(Uint8Array.of(1))) },
    { wasm: small, says: derived(small, [record, picture]) },
  ]);
  for (const trust of [undefined, POLICY]) {
    const { model, engines } = await load("record", { engine: "auto", ...(trust && { trust }) });
    assert.equal(engines()[0], "slim");
    const started = model.engine.replaced ?? model.engine.digest;
    assert.equal(started, digest(small));
    await model.close();
  }
});

test("the registry is asked for its index once, and then for the engine", async () => {
  list(derived(small, [record]));
  const { model } = await load("record", { thread: "worker" });
  await model.close();
  const asked = site.log.filter((path) => path.startsWith("/registry/"));
  assert.equal(asked.filter((path) => path.endsWith("index.json")).length, 1);
  assert.deepEqual(asked.slice(0, 2), ["/registry/index.json", blob(small)]);
});
