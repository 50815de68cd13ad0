// The table of goals must not say "met" of what is missed, or of what nobody measured.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ids, row, rows } from "../goals.mjs";
import { reasons } from "../reasons.mjs";

const one = (median, p99 = median) => ({ median, p99 });

test("what was not measured says how to, or why it could not be", () => {
  for (const [, , measured, verdict] of rows({})) {
    assert.equal(measured, "-");
    assert.match(verdict, /not measured yet: `cargo xtask bench --only [a-z-]+`/);
  }
  const network = { results: { "onnxruntime-web": {}, full: {}, slim: { skipped: "no set of slim engines" }, fused: { skipped: "no fuse" } } };
  assert.deepEqual(row({ network }, "bytes-slim").slice(2), ["-", "no set of slim engines"]);
});

test("bytes are those of engine and scripts for a slim engine, and all of them for a fused file", () => {
  const rival = { bytes: { engine: 2_280_000, scripts: 20_000, model: 1_200_000, total: 3_500_000 } };
  const slim = { bytes: { engine: 360_000, scripts: 20_000, model: 1_250_000, total: 1_630_000 } };
  const fused = { bytes: { engine: 1_480_000, scripts: 20_000, model: 10_000, total: 1_510_000 } };
  const network = { results: { "onnxruntime-web": rival, slim, fused } };
  assert.deepEqual(row({ network }, "bytes-slim").slice(2), ["0.165", "met"]);
  const [, , measured, verdict] = row({ network }, "bytes-fused");
  assert.equal(measured, "0.431");
  assert.match(verdict, /^\*\*missed\*\*: 1\.08 times the goal\./);
});

test("a goal that one of several figures misses is missed, and the worst is named", () => {
  const results = [
    { reference: "a:1", median: { twinfer_run: one(9), ort_run: one(10) } },
    { reference: "b:1", median: { twinfer_run: one(15), ort_run: one(10) } },
  ];
  const outside = [{ reference: "c:1", median: { twinfer_run: one(20), ort_run: one(10) } }, { reference: "d:1", skipped: "it cannot be had" }];
  const [, , measured, verdict] = row({ page: { results }, outside: { results: outside } }, "median-strict");
  assert.equal(measured, "a 0.9, b 1.5, c 2");
  assert.match(verdict, /^\*\*missed by b, c\*\*: 2 times the goal at worst \(c\)/);
});

test("more requests a second are better", () => {
  const throughput = (fast) => ({
    results: {
      "FastAPI + onnxruntime": { 1: one(800), 16: one(1_000) },
      "twinfer serve, fused, fresh instances": { 1: one(2_000), 16: one(fast) },
      "twinfer serve, full, warm instances": { 1: one(9_000), 16: one(9_000) },
    },
  });
  assert.deepEqual(row({ throughput: throughput(5_000) }, "throughput").slice(2), ["fused 5", "met"]);
  assert.match(row({ throughput: throughput(4_000) }, "throughput")[3], /\*\*missed\*\*: 1\.25 times the goal/);
});

test("memory of a load is held against two and a half files and 4 MB", () => {
  const memory = (peak) => ({ native: [{ reference: "a:1", file: 2_000_000, peak }], page: [] });
  assert.equal(row({ "load-memory": memory(9_000_000) }, "load-memory")[3], "met");
  assert.match(row({ "load-memory": memory(9_100_000) }, "load-memory")[3], /missed/);
});

test("every reason belongs to a goal", () => {
  for (const id of Object.keys(reasons)) assert.ok(ids.includes(id), id);
});
