import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadModel } from "twinfer";
import type { Model } from "twinfer";
import { createGlue } from "../../glue.js";
import { Origin } from "../../origin.js";
import type { Storage } from "../../storage/storage.js";
import { policyOf } from "../support/signing.js";
import { fuse, pack, twinfer } from "../support/twinfer.js";

/** Engines with a sample model in them, as `twinfer fuse --target page` makes them. */

// The 141 golden examples of file-type take minutes in an engine that is not optimised.
const MODELS = ["face-detector", "tumour-risk"];
/** Bytes of the weights as the engine has them, and what the rest of a fused engine may take. */
const MODEL_BYTES: Record<string, number> = { "face-detector": 1_270_727, "tumour-risk": 44_341 };
/** Code, constants and state, in a build of the profile `wasm-dev`. */
const ENGINE_BYTES = 6_000_000;

/** The storage of a page in memory, with which fused engines are made. */
const STORAGE = new URL("../../../../crates/twinfer-cli/src/commands/slim/storage.mjs", import.meta.url);

let registry: string;
const made: Record<string, ReturnType<typeof fuse>> = {};
const file = (digest: string): Uint8Array<ArrayBuffer> => Uint8Array.from(readFileSync(join(registry, "blobs", digest.replace(":", "/"))));

before(() => {
  registry = mkdtempSync(join(tmpdir(), "twinfer-fused-"));
  pack(MODELS, registry);
  for (const name of MODELS) made[name] = fuse(name, registry);
});

after(() => rmSync(registry, { recursive: true }));

const open = (name: string, engine: "auto" | "full" = "auto"): Promise<Model> => loadModel(join(registry, name), { engine, thread: "main" });

for (const name of MODELS) {
  describe(name, () => {
    test("it is chosen, and gives the bits of the full engine to every golden example", async () => {
      const [fused, full] = [await open(name), await open(name, "full")];
      assert.deepEqual([fused.engine.kind, fused.engine.digest, full.engine.kind], ["fused", made[name]?.digest, "full"]);
      const examples = await fused.examples();
      assert(examples.length > 0);
      for (const { name: example, inputs, parameters } of examples) {
        const [ours, theirs] = [await fused.predict(inputs, { parameters }), await full.predict(inputs, { parameters })];
        assert.deepEqual(ours.prediction.outputs, theirs.prediction.outputs, example);
      }
      assert.equal((await fused.selfTest()).failed, 0);
      assert.equal(fused.engine.kind, "fused", "nothing of that took the full engine");
      assert.deepEqual([fused.name, fused.version, fused.digest], [full.name, full.version, full.digest]);
      assert.deepEqual([fused.signature, fused.layers], [full.signature, full.layers]);
      await fused.close();
      await full.close();
    });

    test("it has the size of the weights and of what they need", () => {
      const { size = Infinity, slim } = made[name] ?? {};
      assert.equal(slim, true);
      assert(size < (MODEL_BYTES[name] ?? 0) + ENGINE_BYTES, `${size} bytes`);
    });
  });
}

test("the same package gives the same file", () => {
  assert.equal(fuse("tumour-risk", registry).digest, made["tumour-risk"]?.digest);
});

test("two instances of one module share nothing", async () => {
  const module = await WebAssembly.compile(file(made["tumour-risk"]?.digest ?? ""));
  const models = [];
  for (let count = 0; count < 2; count++) {
    const glue = createGlue(() => undefined);
    await glue.init({ module_or_path: module });
    const model = new glue.WebCache(undefined, [], undefined).fused?.("offline");
    assert(model);
    models.push({ glue, model });
  }
  const [one, other] = models as [(typeof models)[0], (typeof models)[0]];
  const before = other.model.info();
  // What ends one is nothing to the other.
  assert.throws(() => one.model.predict(one.glue.WebInput.bytes(new Uint8Array(3)), {}), { code: "invalid_input" });
  assert.deepEqual(other.model.info(), before);
  assert.equal(other.glue.panicMessage(), undefined);
});

test("what a visit notes the next ones find, and change, with the engine that they began with", async () => {
  const name = "tumour-risk";
  const module = await WebAssembly.compile(file(made[name]?.digest ?? ""));
  const { MemoryStorage } = (await import(STORAGE.href)) as { MemoryStorage: new () => Storage };
  const storage = new MemoryStorage();
  const active = async (): Promise<unknown> => {
    const [[, document] = []] = await storage.documents("references/");
    return (JSON.parse(new TextDecoder().decode(document)) as { active: string }).active;
  };
  const other = `sha256:${"2".repeat(64)}`;
  for (const wanted of ["same", "same", other, "same"]) {
    let trapped = (_: unknown): void => undefined;
    const trap = new Promise<never>((_, reject) => (trapped = reject));
    const glue = createGlue(trapped);
    await glue.init({ module_or_path: module });
    const origin = new Origin(new URL(`${pathToFileURL(registry).href}/`), name, true);
    const cache = new glue.WebCache(storage, [origin], undefined);
    assert(cache.fused?.("stale-while-revalidate"));
    const { digest } = await Promise.race([trap, cache.revalidate(name)]);
    const next = wanted === "same" ? digest : wanted;
    await Promise.race([trap, cache.activate(name, next)]);
    assert.equal(await active(), next);
  }
});

test("an input of another shape than its golden examples goes to the full engine", async () => {
  const model = await open("tumour-risk");
  const [input] = model.signature.inputs;
  assert(input);
  const rows = 7;
  const values = new Float32Array(rows * 30).map((_, at) => at % 13);
  const outputs = await model.run({ [input.name]: { dtype: "FP32", shape: [rows, 30], data: values } });
  assert.equal(Object.values(outputs)[0]?.shape[0], rows);
  assert.equal(model.engine.kind, "full");
  assert.equal(model.engine.replaced, made["tumour-risk"]?.digest);
  await model.close();
});

test("signed by the command, it is taken under a trust policy, as long as the policy asks nothing else", async () => {
  const key = join(registry, "release.key");
  twinfer(["keygen", key]);
  const trust = policyOf({ pem: readFileSync(`${key}.pub`, "utf8") });
  const under = async (reference: string): Promise<unknown> => {
    const model = await loadModel(join(registry, reference), { thread: "main", trust });
    const { engine, trust: decision } = model;
    await model.close();
    return [engine.kind, decision];
  };
  await assert.rejects(under("tumour-risk"), { code: "unsigned_package" });
  const registryOption = ["--registry", registry];
  twinfer(["sign", "tumour-risk", "--key", key, ...registryOption]);
  const signed = { verdict: "allowed", keys: ["release"] };
  assert.deepEqual(await under("tumour-risk"), ["full", signed]);
  const said = JSON.parse(twinfer(["sign", "tumour-risk", "--key", key, "--engines", "--json", ...registryOption])) as { added: boolean; engines: { added: boolean; engine: { digest: string } }[] };
  assert.deepEqual([said.added, said.engines.map(({ added, engine }) => [added, engine.digest])], [false, [[true, made["tumour-risk"]?.digest]]]);
  assert.deepEqual(await under("tumour-risk"), ["fused", signed]);
  // What is in a list of tags only an engine reads that opens packages.
  twinfer(["sign-tags", "tumour-risk", "--key", key, "--days", "30", "--trust-state", join(registry, "trust.json"), ...registryOption]);
  assert.deepEqual(await under("tumour-risk"), ["full", signed]);
});
