import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { compare } from "../../oci.js";
import { Origin } from "../../origin.js";
import { parseSource } from "../../registry.js";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const digestOf = (bytes: Uint8Array | string): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

test("versions have the order of Semantic Versioning", () => {
  // The example of section 11 of the specification, and numbers that are no text.
  const ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0"];
  assert.deepEqual([...ordered].reverse().sort(compare), ordered);
});

/** Debian's registry on a free port, with CORS headers; nothing where it is not installed. */
async function registry(folder: string): Promise<{ host: string; stop(): void } | undefined> {
  if (spawnSync("docker-registry", ["--version"]).error) {
    assert.notEqual(process.env["TWINFER_TEST_ALL"], "1", "docker-registry is not on the PATH");
    process.stderr.write("SKIPPED oci.test.ts: docker-registry is not on the PATH\n");
    return undefined;
  }
  const free = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => free.once("listening", done));
  const { port } = free.address() as { port: number };
  free.close();
  const config = join(folder, "registry.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: ${folder}/data}\nhttp:\n  addr: 127.0.0.1:${port}\n  headers:\n    Access-Control-Allow-Origin: ["*"]\n`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  for (let tries = 0; ; tries++) {
    const open = await new Promise((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => (socket.destroy(), done(true))).once("error", () => done(false));
    });
    if (open) return { host: `127.0.0.1:${port}`, stop: () => void child.kill() };
    assert.ok(tries < 200, "it does not listen");
    await setTimeout(50);
  }
}

async function putBlob(api: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const begun = await fetch(`${api}/blobs/uploads/`, { method: "POST" });
  const to = new URL(begun.headers.get("location") ?? "", api);
  to.searchParams.set("digest", digestOf(bytes));
  const put = await fetch(to, { method: "PUT", body: bytes });
  assert.equal(put.status, 201);
}

test("a package is read from an OCI registry", async () => {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-oci-"));
  const server = await registry(folder);
  if (!server) return;
  try {
    const api = `http://${server.host}/v2/models/small`;
    const layer = new TextEncoder().encode("weights");
    const config = new TextEncoder().encode("{}");
    await putBlob(api, layer);
    await putBlob(api, config);
    const descriptor = (mediaType: string, bytes: Uint8Array): object => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
    const manifests = new Map<string, string>();
    const put = async (tag: string, more: object): Promise<string> => {
      const body = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: descriptor("application/x", config), layers: [descriptor("application/y", layer)], ...more });
      const answer = await fetch(`${api}/manifests/${tag}`, { method: "PUT", body, headers: { "Content-Type": MANIFEST } });
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
      manifests.set(tag, body);
      return digestOf(body);
    };
    await put("1.9.0", { annotations: { n: "1" } });
    const newest = await put("1.10.0", { annotations: { n: "2" }, artifactType: "application/z" });
    await put("2.0.0-rc.1", { annotations: { n: "3" } });
    const signed = await put("twinfer-tags", { annotations: { n: "4" } });
    const list = newest.replace(":", "-");
    const listBody = JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [{ mediaType: MANIFEST, digest: signed, size: manifests.get("twinfer-tags")?.length }] });
    const listed = await fetch(`${api}/manifests/${list}`, { method: "PUT", body: listBody, headers: { "Content-Type": "application/vnd.oci.image.index.v1+json" } });
    assert.equal(listed.status, 201);

    const read = async (reference: string): Promise<Record<string, string>> => {
      const source = parseSource(`oci://${server.host}/models/${reference}`);
      const answer = await new Origin(source.registry, source.reference, false).index(source.reference, undefined);
      const index = JSON.parse(new TextDecoder().decode(answer.index)) as { manifests: { digest: string; annotations?: Record<string, string> }[] };
      return Object.fromEntries(index.manifests.map((m) => [m.annotations?.["org.opencontainers.image.ref.name"] ?? "", m.digest]));
    };
    const all = { "small:1.10.0": newest, [`small:${list}`]: digestOf(listBody), "small:twinfer-tags": signed };
    assert.deepEqual(await read("small"), all);
    assert.deepEqual(await read("small:1.10.0"), all);
    assert.equal((await read(`small@${newest}`))[""], newest);
    assert.deepEqual(await read("small:7.0.0"), {});
    assert.deepEqual(await read("nobody"), {});

    const { registry: address, reference } = parseSource(`oci://${server.host}/models/small:1.10.0`);
    const origin = new Origin(address, reference, false);
    for (const [digest, size, manifest, offset] of [[newest, undefined, true, 0], [newest, 500, true, 0], [digestOf(layer), 7, false, 0], [digestOf(layer), 7, false, 3]] as const) {
      const transfer = origin.open(digest, size, "x", manifest, offset, false);
      assert.equal(await transfer.begin(), offset);
      const bytes = await transfer.all(1000);
      if (offset === 0) assert.equal(digestOf(bytes), digest);
      else assert.deepEqual(bytes, layer.slice(offset));
    }
    // The same answers again are no other index.
    const first = await origin.index(reference, undefined);
    assert.equal((await origin.index(reference, first.validator)).index, undefined);
    assert.notEqual((await origin.index("small:1.9.0", first.validator)).index, undefined);
  } finally {
    server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
