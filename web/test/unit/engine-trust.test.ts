import assert from "node:assert/strict";
import { generateKeyPairSync, sign, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fits, engineSigners, rawSignature, termsFor } from "../../engine-trust.js";
import { TwinferError } from "../../errors.js";
import type { DerivedEngine } from "../../generated/types.js";

interface Case {
  id: string;
  policy: object;
  name: string;
  engine: DerivedEngine;
  envelopes: string[];
  expect: unknown;
}

/** Made, and decided, by `tests/tests/all/engine_trust.rs`. */
const CASES = JSON.parse(readFileSync(new URL("../../../../tests/data/engine-trust.json", import.meta.url), "utf8")) as Case[];

test("a policy says of engines what it says in Rust", async () => {
  assert(CASES.length > 30);
  for (const one of CASES) assert.deepEqual(await decide(one), one.expect, one.id);
});

async function decide({ policy, name, engine, envelopes }: Case): Promise<unknown> {
  const terms = termsFor(JSON.stringify(policy), name);
  if (!terms) return { refused: "invalid_policy" };
  const signatures = envelopes.map((_, at) => `sha256:${at}`);
  const get = (digest: string) => Promise.resolve(new Uint8Array(Buffer.from(envelopes[signatures.indexOf(digest)] ?? "", "base64")));
  try {
    return { allowed: await engineSigners({ ...engine, signatures }, terms, get) };
  } catch (error) {
    assert(error instanceof TwinferError, String(error));
    return { refused: error.code };
  }
}

test("what needs no question is refused before one is asked", () => {
  const [unsigned] = CASES;
  assert(unsigned);
  const terms = termsFor(JSON.stringify(unsigned.policy), unsigned.name);
  assert(terms);
  const get = (): never => assert.fail("it was asked");
  assert.throws(() => engineSigners(unsigned.engine, terms, get), { code: "unsigned_package" });
  const revoked = { ...terms, revoked: new Set([unsigned.engine.digest]) };
  assert.throws(() => engineSigners({ ...unsigned.engine, signatures: ["sha256:0"] }, revoked, get), { code: "revoked_package" });
});

test("a signature that cannot be had is an error, and none beside a good one", async () => {
  const good = CASES.find(({ id }) => id === "P-256");
  assert(good);
  const terms = termsFor(JSON.stringify(good.policy), good.name);
  assert(terms);
  const engine = { ...good.engine, signatures: ["sha256:0", "sha256:1"] };
  const lost = new TwinferError("missing_blob", "gone");
  const envelope = new Uint8Array(Buffer.from(good.envelopes[0] ?? "", "base64"));
  await assert.rejects(engineSigners(engine, terms, () => Promise.reject(lost)), lost);
  const keys = await engineSigners(engine, terms, (digest) => (digest === "sha256:0" ? Promise.reject(lost) : Promise.resolve(envelope)));
  assert.deepEqual(keys, ["release"]);
});

test("what a policy demands beyond signatures is seen", () => {
  const plain = (more: object, policy: object = {}): boolean | undefined =>
    termsFor(JSON.stringify({ format_version: 1, rules: [{ names: "*", ...more }], ...policy }), "any")?.plain;
  assert.equal(plain({}), true);
  assert.equal(plain({ signed_tags: "optional", minimum_counter: 0 }), true);
  for (const more of [{ minimum_version: "1.0.0" }, { signed_tags: "required" }, { minimum_counter: 1 }]) assert.equal(plain(more), false, JSON.stringify(more));
  assert.equal(plain({}, { revoked: [`sha256:${"0".repeat(64)}`] }), false);
});

test("patterns of names fit as in Rust", () => {
  // The table of `trust::tests::patterns` in `twinfer-package`.
  for (const [pattern, name, expected] of [
    ["a", "a", true],
    ["a", "ab", false],
    ["*", "anything", true],
    ["face-*", "face-detector", true],
    ["face-*", "face-", true],
    ["face-*", "a-face-detector", false],
    ["*-face", "a-face", true],
    ["*-face", "a-face-b", false],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["a**", "a", true],
    ["a*ab", "aab", true],
    ["a*ab", "aaab", true],
    ["a*a", "a", false],
    ["*a*a*a*a*b", "a".repeat(128), false],
  ] as const) {
    assert.equal(fits(pattern, name), expected, `${pattern} ${name}`);
  }
});

test("signatures in DER are read, whatever their numbers begin with", async () => {
  for (const [namedCurve, size, hash] of [["P-256", 32, "SHA-256"], ["P-384", 48, "SHA-384"]] as const) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    const spki = publicKey.export({ type: "spki", format: "der" });
    const key = await webcrypto.subtle.importKey("spki", spki, { name: "ECDSA", namedCurve }, false, ["verify"]);
    const lengths = new Set<number>();
    // One in 256 has a number that is a byte shorter.
    for (let at = 0; at < 600; at++) {
      const message = Buffer.from(`message ${at}`);
      const der = sign(hash, message, { key: privateKey, dsaEncoding: "der" });
      lengths.add(der.length);
      const raw = rawSignature(der, size);
      assert(raw && (await webcrypto.subtle.verify({ name: "ECDSA", hash }, key, raw, message)));
      if (at > 20) continue;
      for (let end = 0; end < der.length; end++) assert.equal(rawSignature(der.subarray(0, end), size), undefined);
      assert.equal(rawSignature(Buffer.concat([der, Buffer.from([0])]), size), undefined);
    }
    assert(lengths.size > 2);
  }
});
