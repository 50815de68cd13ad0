// What the measure of servers stands on: answers in one form, processes and their memory.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { difference, readers } from "../shared/answers.mjs";
import { load, post } from "../shared/load.mjs";
import { servers } from "../report/servers.mjs";
import { memoryOf, parentIn, parseMemory, processTree, treeOf } from "../shared/processes.mjs";

test("the same prediction is the same in the words of every server", () => {
  const row = { benign: 0.75, malignant: 0.25 };
  const tables = [
    readers.outputs.table({ outputs: { label: "benign", probabilities: row } }),
    readers.tensors.table({ outputs: [{ name: "output_probability", data: [0.75, 0.25] }, { name: "output_label", data: ["benign"] }] }),
    readers.predictions.table({ predictions: { output_label: ["benign"], output_probability: [row] } }),
  ];
  for (const one of tables) assert.deepEqual(one, { labels: ["benign"], numbers: [0.75, 0.25] });
  const boxes = [
    readers.outputs.faces({ outputs: { boxes: [{ x: 1, y: 2, width: 3, height: 4, score: 0.5 }] } }),
    readers.tensors.faces({ outputs: [{ name: "boxes", shape: [1, 5], data: [1, 2, 3, 4, 0.5] }] }),
    readers.predictions.faces({ predictions: [[[1, 2, 3, 4, 0.5]]] }),
  ];
  for (const one of boxes) assert.deepEqual(one, { labels: [], numbers: [1, 2, 3, 4, 0.5] });
  const types = [
    readers.outputs["file-type"]({ outputs: { content_type: { label: "html", score: 0.5, model_label: "html" } } }),
    readers.tensors["file-type"]({ outputs: [{ name: "label", data: ["html"] }, { name: "score", data: [0.5] }] }),
    readers.predictions["file-type"]({ predictions: [{ label: "html", score: 0.5 }] }),
  ];
  for (const one of types) assert.deepEqual(one, { labels: ["html"], numbers: [0.5] });
  assert.throws(() => readers.tensors.table({ outputs: [] }), /no tensor output_label/);
});

test("another answer is found, and rounding is not one", () => {
  const expected = { labels: ["a"], numbers: [0.5, 400] };
  assert.equal(difference({ labels: ["a"], numbers: [0.500001, 400.001] }, expected), undefined);
  assert.match(difference({ labels: ["b"], numbers: [0.5, 400] }, expected), /labels b, not a/);
  assert.match(difference({ labels: ["a"], numbers: [0.5] }, expected), /1 numbers, not 2/);
  assert.match(difference({ labels: ["a"], numbers: [0.5, 401] }, expected), /number 1 is 401, not 400/);
  assert.match(difference({ labels: ["a"], numbers: [0.5, NaN] }, expected), /number 1 is NaN/);
});

test("a tree has all that a process started, and nothing else", () => {
  const parentOf = new Map([[1, 0], [10, 1], [11, 10], [12, 11], [13, 10], [20, 1]]);
  assert.deepEqual(treeOf(10, parentOf), [10, 11, 13, 12]);
  assert.deepEqual(treeOf(99, parentOf), []);
  assert.equal(parentIn("11 (a (b) c) S 10 11 11"), 10);
  assert.equal(parentIn("11 (gone) Z 10 11 11"), undefined);
  assert.equal(parentIn(""), undefined);
});

test("memory is read from what the kernel says", () => {
  const text = "55d0-7ffe ---p 0 00:00 0 [rollup]\nRss:    2048 kB\nPss:    1024 kB\nPss_Anon: 512 kB\n";
  assert.deepEqual(parseMemory(text), { resident: 2_097_152, proportional: 1_048_576 });
  assert.deepEqual(parseMemory(""), { resident: 0, proportional: 0 });
});

test("the memory of a tree is that of all its processes", { skip: existsSync("/proc/self/smaps_rollup") ? false : "no /proc" }, async () => {
  const big = "const b = Buffer.alloc(64e6, 1); console.log(b.length); setInterval(() => b[0]++, 1000)";
  const script = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(big)}], { stdio: ["ignore", "inherit", "inherit"] }); setInterval(() => {}, 1000)`;
  const root = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  let tree = [];
  try {
    await new Promise((resolve) => root.stdout.once("data", resolve));
    tree = processTree(root.pid);
    assert.equal(tree.length, 2);
    const { resident, proportional } = memoryOf(root.pid);
    assert.ok(resident > 100e6 && proportional > 64e6 && proportional < resident, `${resident} ${proportional}`);
  } finally {
    for (const pid of tree.slice(1)) process.kill(pid);
    root.kill();
  }
});

test("errors are counted where that is asked for, a connection is made again, and only answers are timed", async () => {
  let asked = 0;
  const server = createServer((request, response) => {
    request.resume();
    const at = asked++;
    if (at === 1) return request.socket.destroy();
    response.writeHead(at === 2 ? 503 : 200).end("{}");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address();
    const { times, errors } = await load({ port, request: post("/", "text/plain", ""), connections: 1, requests: 5, milliseconds: 60_000, counted: true });
    assert.deepEqual([times.length, errors], [3, { 503: 1, connection: 1 }]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("the document has ratios of what was measured, errors, and the reason of what was not", () => {
  const one = (rate, p99, bytes, first, errors = {}) => ({
    how: "as it is",
    first: 9_000,
    cold: { median: first },
    memory: { loaded: { proportional: bytes }, peak: { proportional: 2 * bytes } },
    load: { 1: { rate: { median: rate }, latency: { median: 1, p99 }, errors }, 64: { rate: { median: rate }, latency: { median: 1, p99 }, errors } },
  });
  const list = { "Twinfer, full, warm": one(3_000, 2, 100e6, 150), MLServer: one(1_000, 8, 400e6, 3_000, { 503: 2 }), MLflow: { how: "not here", skipped: "it does not start" } };
  const text = servers({ servers: { cores: 2, clients: [1, 64], rounds: 3, milliseconds: 2_000, results: [{ reference: "a:1", what: "a row", servers: list }] } });
  assert.match(text, /\| MLServer \| 3\.00× \| 3\.00× \| 0\.25× \| 0\.25× \| 0\.25× \| 0\.25× \| 0\.05× \|/);
  assert.match(text, /\| MLServer \| 1000 \|.*\| 4 × 503 \|/);
  assert.match(text, /Not measured: MLflow: it does not start\./);
  assert.equal(servers({}), "");
});
