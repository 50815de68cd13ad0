import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { bucketOf, readDeployment, variantAt } from "../../deployment/document.js";
import { aliasOf } from "../../deployment/follower.js";
import { assignmentKey } from "../../deployment/key.js";
import type { Deployment } from "../../generated/types.js";
import { freshness, usable } from "../../lookup.js";
import { deployment } from "../support/deployments.js";

/** Made by `tests/python/deployment_assignment.py`; `twinfer-deploy` is held to the same. */
const CASES = JSON.parse(readFileSync(new URL("../../../../tests/data/deployment-assignment.json", import.meta.url), "utf8")) as {
  buckets: { salt: string; key: string; bucket: number }[];
  assignments: { deployment: Deployment; variants: Record<string, string> }[];
};

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

describe("assignment", () => {
  test("buckets are those of the reference", async () => {
    assert(CASES.buckets.length > 100);
    for (const { salt, key, bucket } of CASES.buckets) assert.equal(await bucketOf(salt, key), bucket, `${salt} ${key}`);
  });

  test("callers get the variant that the server gives them", async () => {
    assert(CASES.assignments.length > 5);
    for (const { deployment, variants } of CASES.assignments) {
      const read = readDeployment(bytes(deployment), deployment.name);
      for (const [key, variant] of Object.entries(variants)) assert.equal(variantAt(read, await bucketOf(read.sticky.salt, key)).name, variant, key);
    }
  });
});

test("a document that nobody could follow is refused, with what is wrong", () => {
  const good = deployment("record", 1, [{ digest: `sha256:${"0".repeat(64)}`, weight: 10_000 }]);
  assert.equal(readDeployment(bytes(good), "record").revision, 1);
  const [primary] = good.variants;
  const cases: [document: unknown, code: string, message: RegExp][] = [
    ["<!doctype html>", "invalid_deployment", /HTML page/],
    ["{", "invalid_deployment", /no JSON/],
    ["null", "invalid_deployment", /no object/],
    [" ".repeat(70_000), "invalid_deployment", /more than 65536 bytes/],
    [{ ...good, format_version: 2 }, "unsupported_format_version", /update Twinfer/],
    [{ ...good, name: "other" }, "invalid_deployment", /the one of `other`/],
    [{ ...good, revision: 1.5 }, "invalid_deployment", /revision/],
    [{ ...good, sticky: {} }, "invalid_deployment", /salt/],
    [{ ...good, variants: [] }, "invalid_deployment", /exactly one/],
    [{ ...good, variants: [primary, primary] }, "invalid_deployment", /exactly one/],
    [{ ...good, variants: [{ ...primary, weight: 9_999 }] }, "invalid_deployment", /sum to 9999/],
    [{ ...good, variants: [{ ...primary, digest: "sha256:00" }] }, "invalid_deployment", /each variant/],
    [{ ...good, variants: [{ ...primary, role: "king" }] }, "invalid_deployment", /each variant/],
    [{ ...good, variants: [null] }, "invalid_deployment", /each variant/],
  ];
  for (const [document, code, message] of cases) {
    assert.throws(() => readDeployment(bytes(document), "record"), (error: { code: string; message: string }) => error.code === code && message.test(error.message), String(message));
  }
});

test("an alias behind an @ is a deployment; digests, tags and what is neither are not", () => {
  assert.equal(aliasOf("record@stable"), "stable");
  for (const reference of ["record", "record:stable", `record@sha256:${"0".repeat(64)}`, "record@sha256:00", "record@", "record@a b", "record:1@stable"]) assert.equal(aliasOf(reference), undefined, reference);
});

test("a key is the caller's, or one for all models of the page; an empty one is a mistake", () => {
  assert.equal(assignmentKey({ assignmentKey: "user-1" }), "user-1");
  const own = assignmentKey({});
  assert.match(own, /^[0-9a-f]{32}$/);
  assert.equal(assignmentKey({}), own);
  // There is no storage in Node.
  assert.equal(assignmentKey({ keepAssignmentKey: true }), own);
  for (const wrong of ["", "x".repeat(2000), 7]) assert.throws(() => assignmentKey({ assignmentKey: wrong as string }), { code: "invalid_request" });
});

test("how long an answer holds is read as `twinfer-cache` reads it", () => {
  const of = (headers: Record<string, string>) => freshness((name) => headers[name]);
  assert.deepEqual(of({}), { fresh_for: 0, stale_for: null, keep: true });
  assert.deepEqual(of({ "cache-control": "public, max-age=60, stale-while-revalidate=\"30\"", age: "10" }), { fresh_for: 50_000, stale_for: 30_000, keep: true });
  assert.deepEqual(of({ "cache-control": "no-cache, max-age=60" }), { fresh_for: 0, stale_for: 0, keep: true });
  assert.deepEqual(of({ "cache-control": "max-age=60, must-revalidate" }), { fresh_for: 60_000, stale_for: 0, keep: true });
  assert.deepEqual(of({ "cache-control": "no-store" }), { fresh_for: 0, stale_for: null, keep: false });
  const dates = { date: "Wed, 01 Jan 2025 00:00:00 GMT", expires: "Wed, 01 Jan 2025 00:01:00 GMT" };
  assert.equal(of(dates).fresh_for, 60_000);
  assert.equal(of({ expires: dates.expires }).fresh_for, 0);
  assert.equal(usable({ checked: 1000, ...of({ "cache-control": "no-cache" }) }, "stale-while-revalidate", 1000), undefined);
});
