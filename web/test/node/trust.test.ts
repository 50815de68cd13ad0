import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { loadModel } from "twinfer";
import type { TrustPolicy } from "twinfer";
import { fails } from "../support/expect.js";
import { sampleRegistry } from "../support/fixture.js";
import type { Site } from "../support/server.js";
import { serveRegistry } from "../support/site.js";

const registry = sampleRegistry();
let site: Site;

before(async () => {
  site = await serveRegistry(registry);
});

after(() => site.close());

const load = (trust: TrustPolicy | string, reference = "record:1.0.0") =>
  loadModel(`${site.origin}/registry/${reference}`, { thread: "main", trust });

test("an unsigned package is refused before anything but its manifest is fetched", async () => {
  const digest = String(registry.digests["record"]);
  for (const reference of ["record", "record:1.0.0", `record@${digest}`]) {
    site.log.length = 0;
    await fails(load({ format_version: 1 }, reference), "unsigned_package");
    const blobs = site.log.filter((path) => path.includes("/blobs/"));
    assert.deepEqual(blobs, [`/registry/blobs/${digest.replace(":", "/")}`], reference);
  }
});

test("what the policy decides is said", async (context) => {
  const warn = context.mock.method(console, "warn", () => undefined);
  const warned = await load({ format_version: 1, default: "warn" });
  assert.deepEqual(warned.trust, { verdict: "warned", keys: [], reason: "it is not signed" });
  assert.equal(warn.mock.callCount(), 1);
  await warned.close();
  const allowed = await load({ format_version: 1, rules: [{ names: "rec*", unsigned: "allow" }] });
  assert.deepEqual(allowed.trust, { verdict: "allowed", keys: [] });
  assert.equal(warn.mock.callCount(), 1);
  await allowed.close();
  const free = await loadModel(`${site.origin}/registry/record`, { thread: "main" });
  assert.equal(free.trust, undefined);
  await free.close();
});

test("a policy that is malformed or not there is never taken for none", async () => {
  await fails(load({ format_version: 2 }), "invalid_policy");
  await fails(load({} as TrustPolicy), "invalid_policy");
  await fails(load(`${site.origin}/none.json`), "not_found");
  await fails(load("http://"), "invalid_policy");
  await fails(load(null as unknown as TrustPolicy), "invalid_policy");
});
