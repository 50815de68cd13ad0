import assert from "node:assert/strict";
import { test } from "node:test";
import { ERROR_CODES } from "twinfer";
import { EngineStopped, TwinferError, fromWire, unlessAborted } from "../../errors.js";
import { EngineHost } from "../../host.js";
import { packInput } from "../../inputs.js";
import { parseSource, pinnedDigest } from "../../registry.js";
import { RECORD_PIPELINE } from "../support/fixture.js";

test("an address is a registry and a reference", () => {
  const { registry, reference } = parseSource("http://host/models/registry/face-detector:1.0.0");
  assert.equal(registry.href, "http://host/models/registry/");
  assert.equal(reference, "face-detector:1.0.0");
  assert.equal(parseSource("http://host/r/a@sha256:00").reference, "a@sha256:00");
  assert.equal(parseSource("http://host/r/a%40sha256%3A00").reference, "a@sha256:00");
  // In Node, relative to the current folder.
  assert.match(parseSource("registry/a").registry.href, /^file:.*\/registry\/$/);
  assert.equal(parseSource("/registry/a").registry.href, "file:///registry/");
});

test("an address without one of the two is refused", () => {
  for (const address of ["", "face-detector:1.0.0", "http://host/r/", "/", "http:// /r/a", "/r/%zz"]) {
    assert.throws(() => parseSource(address), { code: "invalid_reference" }, address);
  }
});

test("only an @ pins", () => {
  assert.equal(pinnedDigest("a:1@sha256:00"), "sha256:00");
  assert.equal(pinnedDigest("a:1"), undefined);
});

test("an error keeps its code on the wire, and says when its engine is gone", () => {
  const error = fromWire({ code: "wrong_shape", message: "no", fatal: false });
  assert(error instanceof TwinferError && !(error instanceof EngineStopped));
  assert.equal(error.name, "TwinferError");
  assert(fromWire({ code: "internal", message: "no", fatal: true }) instanceof EngineStopped);
});

test("whatever is thrown without a code ends the engine", () => {
  const host = new EngineHost(() => undefined);
  for (const thrown of [new WebAssembly.RuntimeError("unreachable"), new RangeError("Maximum call stack size exceeded"), "text", undefined]) {
    assert.deepEqual({ ...host.failure(thrown), message: "" }, { code: "internal", message: "", fatal: true });
  }
  const coded = Object.assign(new Error("no"), { code: "invalid_picture" });
  assert.deepEqual(host.failure(coded), { code: "invalid_picture", message: "no", fatal: false });
  // A code that is not ours, such as one of Node, is not taken for an answer.
  assert.equal(host.failure(Object.assign(new Error("no"), { code: "ENOENT" })).fatal, true);
});

test("every code has its sentence", () => {
  for (const [code, sentence] of Object.entries(ERROR_CODES)) {
    assert.match(code, /^[a-z_]+$/);
    assert.match(sentence, /\.$/);
  }
});

test("waiting ends with the signal, and with it the listener", async () => {
  const controller = new AbortController();
  const never = new Promise<never>(() => undefined);
  const waiting = unlessAborted(never, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, (error) => error instanceof TwinferError && error.code === "aborted" && (error.cause as Error).message === "enough");
  assert.equal(await unlessAborted(Promise.resolve(1), new AbortController().signal), 1);
});

test("an input is packed by the kind of the pipeline, or refused by name", async () => {
  const config = { format_version: 1, name: "r", version: "1.0.0", limits: { max_pixels: 1, max_bytes: 1 }, pipeline: RECORD_PIPELINE as never };
  const signature = { inputs: [{ name: "x", dtype: "FP32" as const }], outputs: [] };
  const pack = (inputs: unknown) => packInput(inputs as never, config, signature, { away: true, given: false });
  const { value } = await pack({ record: { a: 1, b: NaN, c: undefined, d: "text", e: true } });
  assert.deepEqual(value, { kind: "record", record: { a: 1, b: null, c: null, d: "text", e: true } });
  assert.equal((await pack({ x: { shape: [1], data: [1] } })).value.kind, "tensors");
  const cases: [unknown, string][] = [
    [undefined, "invalid_input"],
    [{}, "missing_input"],
    [{ record: null }, "missing_input"],
    [{ other: { a: 1 } }, "unknown_input"],
    [{ record: { a: 1 }, other: 1 }, "unknown_input"],
    [{ record: [1, 2] }, "invalid_input"],
    [{ record: "a=1" }, "invalid_input"],
    [{ record: new Uint8Array(2) }, "invalid_input"],
    [{ record: { a: Infinity } }, "invalid_record"],
    [{ record: { a: 1n } }, "invalid_record"],
    [{ record: { a: [1] } }, "invalid_record"],
  ];
  for (const [inputs, code] of cases) {
    await assert.rejects(pack(inputs), { code }, code);
  }
});
