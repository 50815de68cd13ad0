// The measures stand on these: a load generator that miscounts would make every figure wrong.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { brotliDecompressSync } from "node:zlib";
import { load, parse, post } from "../shared/load.mjs";
import { presser } from "../shared/press.mjs";
import { serve } from "../shared/server.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";

test("percentiles are values that were measured", () => {
  const values = Array.from({ length: 200 }, (_, n) => 200 - n);
  const { median, p95, p99, min, max, count } = summarise(values);
  assert.deepEqual({ median, p95, p99, min, max, count }, { median: 101, p95: 191, p99: 199, min: 1, max: 200, count: 200 });
});

test("nobody is always first", () => {
  assert.deepEqual([0, 1, 2].map((round) => inTurns(round, ["a", "b"])[0]), ["a", "b", "a"]);
});

test("an answer is found in its bytes, whole or in chunks, and only once all of it is there", () => {
  const whole = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500 ");
  assert.equal(parse(whole.subarray(0, 42)), undefined);
  const { status, body, end } = parse(whole);
  assert.deepEqual([status, body.toString(), whole.toString("latin1", end)], [200, "hello", "HTTP/1.1 500 "]);
  const chunked = Buffer.from("HTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n");
  for (let cut = 0; cut < chunked.length; cut++) assert.equal(parse(chunked.subarray(0, cut)), undefined, `${cut} bytes`);
  const answer = parse(chunked);
  assert.deepEqual([answer.status, answer.body.toString(), answer.end], [503, "abc0123456789", chunked.length]);
});

test("the load generator sends what it is given, counts what is answered, and refuses other answers", async () => {
  const seen = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${request.headers["content-type"]} ${Buffer.concat(parts)}`);
      response.writeHead(request.url === "/bad" ? 500 : 200).end("{}");
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  try {
    const { times, latency } = await load({ port, request: post("/x", "text/plain", "hi"), connections: 3, requests: 20, milliseconds: 60_000 });
    assert.equal(times.length, 20);
    assert.equal(latency.count, 20);
    assert.deepEqual(new Set(seen), new Set(["POST /x text/plain hi"]));
    await assert.rejects(load({ port, request: post("/bad", "text/plain", ""), connections: 1, requests: 1, milliseconds: 60_000 }), /answer 500/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("the server compresses for who takes it, and says what it sent", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bench-test-"));
  const content = "x".repeat(10_000);
  writeFileSync(join(folder, "a.js"), content);
  const sent = [];
  const server = await serve({ "/f/": folder }, { press: presser(join(folder, "kept"), 5), sent: (path, bytes) => sent.push({ path, bytes }) });
  const ask = async (path, encoding) => {
    const { request } = await import("node:http");
    return new Promise((resolve, reject) => {
      const call = request(`${server.base}${path}`, { headers: { "accept-encoding": encoding } }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () => resolve({ status: response.statusCode, encoding: response.headers["content-encoding"], body: Buffer.concat(parts) }));
      });
      call.on("error", reject);
      call.end();
    });
  };
  try {
    const pressed = await ask("/f/a.js", "gzip, br");
    assert.deepEqual([pressed.status, pressed.encoding, brotliDecompressSync(pressed.body).toString()], [200, "br", content]);
    assert.deepEqual(sent, [{ path: "/f/a.js", bytes: pressed.body.length }]);
    assert.equal(readdirSync(join(folder, "kept")).length, 1);
    const plain = await ask("/f/a.js", "gzip");
    assert.deepEqual([plain.encoding, plain.body.toString()], [undefined, content]);
    assert.equal((await ask("/f/b.js", "br")).status, 404);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});
