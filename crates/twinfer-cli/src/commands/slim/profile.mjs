// Runs the npm package's own engine in Node over everything that a page does with a package, and
// writes down which functions were entered (`mode: "profile"`), or what a slim engine answers
// and lacks (`mode: "check"`). Started by `twinfer slim`: node profile.mjs JOB.json RESULT.json
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { StaticHost } from "./registry.mjs";
import { MemoryStorage } from "./storage.mjs";

const [, , jobFile, resultFile] = process.argv;
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const dist = pathToFileURL(`${job.dist}/`);
const pictures = JSON.parse(readFileSync(new URL("pictures.json", import.meta.url), "utf8"));
const module = await WebAssembly.compile(readFileSync(job.engine));

/** What a collection of garbage would free, and when is chance: here it is done at the end. */
const registries = [];
globalThis.FinalizationRegistry = class {
  #held = new Map();
  #free;

  constructor(free) {
    this.#free = free;
    registries.push(this);
  }

  register(_object, held, token) {
    this.#held.set(token, held);
  }

  unregister(token) {
    this.#held.delete(token);
  }

  async freeAll() {
    for (const [token, held] of this.#held) {
      this.#held.delete(token);
      // A closure, which is no number, may be in use by what was abandoned half-way.
      if (typeof held === "number") await attempt("freeing", () => this.#free(held));
    }
  }
};
const { createGlue } = await import(new URL("glue.js", dist));
const { Origin } = await import(new URL("origin.js", dist));

/** Every instance that was made of the engine. */
const instances = [];
/** Functions that a slim engine was asked for and does not have, by what was done. */
const missing = [];
let doing = "";

const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (source, imports) => {
  if (source !== module) return instantiate(source, imports);
  const lacks = (index) => {
    missing.push({ doing, index });
    imports.twinfer.missing(index);
  };
  const instance = await instantiate(source, { ...imports, twinfer: { ...imports.twinfer, missing: lacks } });
  instances.push(instance);
  return instance;
};

const host = new StaticHost(job.registry);
const { address } = host;
globalThis.fetch = host.fetch;

/**
 * Chance and time are the same in each run, and so is what is entered: the order of hash maps, and
 * with it how they are sorted and grow, comes from random numbers. Each instance has others.
 */
let state = 1;
crypto.getRandomValues = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  // Marsaglia: Xorshift RNGs, Journal of Statistical Software 8 (2003), the triple 13, 17, 5.
  for (let at = 0; at < bytes.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 255;
  }
  return array;
};
// A trust policy may say until when a signature holds.
let time = job.trust ? Date.now() : Date.UTC(2026, 0, 1);
let asked = 0;
// Some steps are long: what takes a while lets the page do something in between.
Date.now = () => (time += asked++ % 3 === 2 ? 1000 : 1);

/** Called with what stopped an engine in the middle of something asynchronous: that never settles. */
let stopped = () => undefined;

/** Does something whose failure is an answer too. */
async function attempt(what, work) {
  const around = { doing, stopped };
  doing = what;
  try {
    // Before the work: it may stop at once, and what is around it must hear of its own end later.
    const ended = new Promise((_, reject) => (stopped = reject));
    return await Promise.race([ended, work()]);
  } catch (error) {
    return { failed: error?.code ?? String(error) };
  } finally {
    ({ doing, stopped } = around);
  }
}

/** An engine with a cache of its own, as a page starts one. */
async function start(storage, reference, registries = [address]) {
  const glue = createGlue((error) => stopped(error));
  await glue.init({ module_or_path: module });
  glue.engineVersion();
  glue.failedAllocation();
  glue.panicMessage();
  const origins = registries.map((registry) => new Origin(new URL(registry), reference, storage !== undefined));
  return { glue, cache: new glue.WebCache(storage, origins, undefined) };
}

const wishes = (policy, more) => ({ policy, candidate: false, ...(job.trust && { trust: job.trust, now: Math.floor(Date.now() / 1000) }), ...more });
const listener = () => undefined;

async function load(storage, reference, wish = wishes("stale-while-revalidate"), registries = undefined) {
  const engine = await start(storage, reference, registries);
  // A fused engine has the model in it.
  const inside = engine.cache.fused(wish.policy);
  if (inside) return { ...engine, inside, model: inside };
  const found = await engine.cache.load(reference, wish, listener);
  return { ...engine, model: found.model() };
}

function bytesOf(base64) {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

function tensorList(glue, tensors) {
  const list = new glue.TensorList();
  for (const { name, dtype, shape, data } of tensors) {
    if (Array.isArray(data)) list.pushStrings(name, Uint32Array.from(shape), data);
    else list.push(name, dtype, Uint32Array.from(shape), data);
  }
  return list;
}

const fromGolden = (tensors) => tensors.map((tensor) => ({ ...tensor, data: tensor.data.strings ?? bytesOf(tensor.data.base64) }));

function inputOf(glue, input) {
  if (input.picture) return glue.WebInput.picture(bytesOf(input.picture.base64));
  if (input.bytes) return glue.WebInput.bytes(bytesOf(input.bytes.base64));
  if (input.audio) return glue.WebInput.audio(bytesOf(input.audio.base64));
  if (input.text !== undefined) return glue.WebInput.text([input.text].flat());
  if (input.record) return glue.WebInput.record(input.record);
  return glue.WebInput.tensors(tensorList(glue, fromGolden(input.tensors)));
}

/** Answers in a form that is equal only where every bit is. */
function bits(answer) {
  const hash = createHash("sha256");
  const add = (part) => hash.update(part).update("\0");
  if (typeof answer === "string") add(answer);
  else for (const { name, dtype, shape, data, keys } of answer) {
    add(JSON.stringify([name, dtype, shape, keys?.map(String)]));
    add(Array.isArray(data) ? JSON.stringify(data) : data);
  }
  return hash.digest("hex");
}

/** What the golden examples give: the answer, and the model's own outputs. */
async function golden({ glue, model }, cases) {
  const answers = {};
  const bare = new Set(some(cases, 24));
  for (const example of cases) {
    const { name, input, parameters } = example;
    await attempt(`golden example ${name}`, () => {
      answers[name] = bits(model.predict(inputOf(glue, input), parameters ?? {}));
      // A prediction is a run with more around it.
      if (!bare.has(example)) return;
      const made = input.tensors ? fromGolden(input.tensors) : model.preprocess(inputOf(glue, input));
      answers[`${name}: tensors`] = bits(model.run(tensorList(glue, made)));
    });
  }
  return answers;
}

/** WAV files of every kind, with one channel and with two. */
function waves() {
  const wave = (tag, bits, channels, rate) => {
    const frame = (bits / 8) * channels;
    const file = new DataView(new ArrayBuffer(44 + frame * 400));
    const text = (at, word) => [...word].forEach((letter, place) => file.setUint8(at + place, letter.charCodeAt(0)));
    text(0, "RIFF");
    file.setUint32(4, file.byteLength - 8, true);
    text(8, "WAVEfmt ");
    file.setUint32(16, 16, true);
    [tag, channels].forEach((number, place) => file.setUint16(20 + 2 * place, number, true));
    file.setUint32(24, rate, true);
    file.setUint32(28, rate * frame, true);
    [frame, bits].forEach((number, place) => file.setUint16(32 + 2 * place, number, true));
    text(36, "data");
    file.setUint32(40, frame * 400, true);
    for (let at = 44; at < file.byteLength; at += bits / 8) {
      if (tag === 3) file[bits === 32 ? "setFloat32" : "setFloat64"](at, Math.sin(at / 40) / 2, true);
      else file.setUint8(at + bits / 8 - 1, (at * 7) & 63);
    }
    return new Uint8Array(file.buffer);
  };
  const kinds = [[1, 8], [1, 16], [1, 24], [1, 32], [3, 32], [3, 64]];
  return kinds.flatMap(([tag, bits], at) => [wave(tag, bits, 1, 16000), wave(tag, bits, 2, [44100, 8000, 48000][at % 3])]);
}

/** Pixels as a canvas gives them. */
function pixels(width, height) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let at = 0; at < data.length; at++) data[at] = (at * 37 + (at >> 6) * 11) & 255;
  return { width, height, data };
}

/** At most so many of a list, from all of its length. */
function some(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, at) => list[Math.floor((at * list.length) / most)]);
}

/** Every kind of input that the pipeline takes, beyond the golden examples. */
async function inputs({ glue, model }, info, cases) {
  const kind = info.config.pipeline?.input.kind;
  const predict = (make, parameters = {}) => attempt("an input", () => model.predict(make(), parameters));
  if (kind === "picture") {
    for (const base64 of Object.values(pictures)) await predict(() => glue.WebInput.picture(bytesOf(base64)));
    for (const [width, height] of [[64, 48], [640, 480], [1, 1], [33, 500]]) await predict(() => glue.WebInput.pixels(pixels(width, height)));
  }
  if (kind === "audio") {
    for (const file of waves()) await predict(() => glue.WebInput.audio(file));
    for (const rate of [8000, 16000, 44100, 48000]) await predict(() => glue.WebInput.samples(rate, 2, new Float32Array(2 * rate).map((_, at) => Math.sin(at / 9) / 2)));
  }
  if (kind === "text") for (const text of ["", "A text.", "Größe ß é 漢字 😀", "word ".repeat(2000)]) await predict(() => glue.WebInput.text([text]));
  if (kind === "bytes") for (const length of [0, 1, 100, 5000, 100_000]) await predict(() => glue.WebInput.bytes(new Uint8Array(length).map((_, at) => (at * 31) & 255)));
  for (const { name, values } of info.config.pipeline?.parameters ?? []) {
    for (const value of [...(values ?? []), "no such value", 7]) if (cases[0]) await predict(() => inputOf(glue, cases[0].input), { [name]: value });
  }
  for (const { input } of cases.slice(0, 2)) {
    if (!input.record) continue;
    // The steps of a column are the same for all of its kind.
    for (const [column, value] of Object.entries(input.record).slice(0, 6)) {
      const others = [null, "text", true, 0, -1e30, 12345678901234, 0.1234567890123456, 5e-324, { a: 1 }];
      for (const other of others) await predict(() => glue.WebInput.record({ ...input.record, [column]: other }));
      const { [column]: _, ...rest } = input.record;
      await predict(() => glue.WebInput.record(rest));
      if (typeof value === "number") await predict(() => glue.WebInput.record({ ...input.record, [column]: -value }));
    }
  }
}

/** Shapes that the signature allows: each free axis with a few sizes. */
async function shapes({ glue, model }, info, cases) {
  const [first] = cases;
  if (!first) return;
  const base = await attempt("shapes", () => (first.input.tensors ? fromGolden(first.input.tensors) : model.preprocess(inputOf(glue, first.input))));
  if (!Array.isArray(base)) return;
  const axes = new Set(info.signature.inputs.flatMap(({ shape }) => (shape ?? []).filter((size) => typeof size !== "number")).map(String));
  for (const axis of axes) {
    for (const size of [1, 2, 3, 8]) {
      const resized = base.map((tensor) => {
        const spec = info.signature.inputs.find(({ name }) => name === tensor.name);
        return stretched(tensor, tensor.shape.map((now, at) => (String(spec?.shape?.[at]) === axis ? size : now)));
      });
      await attempt(`${axis} = ${size}`, () => model.run(tensorList(glue, resized)));
    }
  }
}

/** The tensor with another shape, its elements repeated as long as they are needed. */
function stretched(tensor, shape) {
  const count = (of) => of.reduce((product, size) => product * size, 1);
  const [was, wanted] = [count(tensor.shape), count(shape)];
  if (Array.isArray(tensor.data)) return { ...tensor, shape, data: Array.from({ length: wanted }, (_, at) => tensor.data[at % was]) };
  const item = tensor.data.length / was;
  const data = new Uint8Array(wanted * item);
  for (let at = 0; at < data.length; at++) data[at] = tensor.data[at % tensor.data.length];
  return { ...tensor, shape, data };
}

/** Inputs that are wrong in the common ways: the messages are the engine's. */
async function mistakes({ glue, model }, info, cases) {
  const { WebInput } = glue;
  const png = bytesOf(pictures["png-rgb"]);
  const jpeg = bytesOf(pictures.jpeg);
  const webp = bytesOf(pictures.webp);
  const wrong = [
    () => WebInput.picture(new Uint8Array()),
    () => WebInput.picture(new TextEncoder().encode("<html>")),
    () => WebInput.picture(new TextEncoder().encode("GIF89a.......")),
    ...[png, jpeg, webp].map((file) => () => WebInput.picture(file.subarray(0, file.length >> 1))),
    ...[png, jpeg, webp].map((file) => () => WebInput.picture(file.map((byte, at) => (at === file.length >> 1 ? byte ^ 255 : byte)))),
    () => WebInput.pixels({ width: 3, height: 3, data: new Uint8ClampedArray(5) }),
    () => WebInput.bytes(new Uint8Array()),
    () => WebInput.bytes(new Uint8Array([1, 2, 3])),
    () => WebInput.audio(new Uint8Array()),
    () => WebInput.audio(new TextEncoder().encode("<html>")),
    ...waves().slice(0, 2).flatMap((file) => [file.subarray(0, file.length >> 1), file.slice().fill(0, 22, 28)]).map((file) => () => WebInput.audio(file)),
    () => WebInput.samples(0, 1, new Float32Array(9)),
    () => WebInput.samples(16000, 1, new Float32Array([NaN])),
    () => WebInput.text([]),
    () => WebInput.text(["a text"]),
    () => WebInput.record({}),
    () => WebInput.record({ no_such_column: 1 }),
    () => WebInput.record(7),
    () => WebInput.tensors(tensorList(glue, [])),
    () => WebInput.tensors(tensorList(glue, [{ name: "no such input", dtype: "FP32", shape: [1], data: new Uint8Array(4) }])),
  ];
  for (const make of wrong) {
    await attempt("a mistake", () => model.predict(make(), {}));
    await attempt("a mistake", () => model.preprocess(make()));
  }
  const [first] = cases;
  if (first) {
    for (const parameters of [{ no_such_parameter: 1 }, 7, { "": null }]) await attempt("a mistake", () => model.predict(inputOf(glue, first.input), parameters));
  }
  for (const { name, dtype, shape } of info.signature.inputs) {
    const fixed = (shape ?? [1]).map((size) => (typeof size === "number" ? size : 1));
    const item = { FP64: 8, INT64: 8, UINT64: 8, FP16: 2, INT16: 2, UINT16: 2, INT8: 1, UINT8: 1, BOOL: 1 }[dtype] ?? 4;
    const bytes = (of) => new Uint8Array(of.reduce((product, size) => product * size, item));
    for (const [type, form, data] of [
      [dtype, [...fixed, 1], bytes(fixed)],
      [dtype, fixed.map((size) => size + 1), bytes(fixed.map((size) => size + 1))],
      [dtype, fixed, bytes(fixed).subarray(1)],
      [dtype === "INT64" ? "FP32" : "INT64", fixed, new Uint8Array(fixed.reduce((product, size) => product * size, dtype === "INT64" ? 4 : 8))],
      ["no type", fixed, bytes(fixed)],
    ]) {
      await attempt("a mistake", () => model.run(tensorList(glue, [{ name, dtype: type, shape: form, data }])));
    }
    await attempt("a mistake", () => model.run(tensorList(glue, [{ name, dtype: "BYTES", shape: [1], data: ["text"] }])));
  }
}

/** Everything that people ask of the cache. */
async function cacheCommands({ cache }, reference, digest) {
  for (const work of [
    () => cache.list(),
    () => cache.statistics(),
    () => cache.verify(),
    () => cache.revalidate(reference, listener),
    () => cache.prefetch(reference, wishes("online"), listener),
    () => cache.activate(reference, digest),
    () => cache.prune(1 << 30),
    () => cache.list(),
  ]) {
    await attempt("the cache", work);
  }
}

/**
 * The rest of what a page does with an engine that has the package in it: it chose that engine by
 * what it knew, and only notes what it used.
 */
async function insideLife(first, storage, reference, info, cases) {
  await mistakes(first, info, cases);
  await visits(storage, reference, info.digest);
  // It was chosen because the index names it.
  host.crowded = true;
  for (const work of [
    () => first.cache.revalidate(reference, listener),
    () => first.cache.revalidate(reference.split(":")[0], listener),
    async () => (await load(undefined, reference)).model.goldenJson(),
    async () => (await load(new MemoryStorage(), reference)).model.goldenJson(),
  ]) {
    await attempt("the package inside", work);
  }
  host.crowded = false;
}

/**
 * One visit after the other, each with an engine of its own over the same storage: what the first
 * one notes the next ones find there, read, and change.
 */
async function visits(storage, reference, digest) {
  const other = `sha256:${"1".repeat(64)}`;
  const notes = [
    (cache) => cache.activate(reference, digest),
    // Used again with the same package.
    (cache) => cache.activate(reference, digest),
    // The tag had moved, one of the two did not prove itself, and it moved back.
    (cache) => cache.activate(reference, other),
    (cache) => cache.refuse(reference, digest),
    (cache) => cache.activate(reference, digest),
    (cache) => cache.activate(reference, digest),
    (cache) => cache.refuse(reference, other),
  ];
  for (const note of notes) {
    const { cache } = await load(storage, reference);
    await attempt("what a visit notes", () => cache.revalidate(reference, listener));
    await attempt("what a visit notes", () => note(cache));
  }
}

/** A package as a page uses it: cold, warm, offline, without a storage, damaged, refused. */
async function wholeLife(reference) {
  const storage = new MemoryStorage();
  const first = await attempt("the first load", () => load(storage, reference));
  if (first.failed) throw new Error(`${reference} cannot be loaded: ${first.failed}`);
  const info = first.model.info();
  const text = await first.model.goldenJson();
  const cases = text === undefined ? [] : JSON.parse(text).cases;
  await attempt("the self-test", () => first.model.selfTest(() => true));
  await attempt("a cancelled self-test", () => first.model.selfTest(() => false));
  // The self-test ran them all; as a caller asks, what one of many like it enters, all enter.
  const answers = await golden(first, some(cases, 24));
  await inputs(first, info, cases);
  if (first.inside) {
    await insideLife(first, storage, reference, info, cases);
    return answers;
  }
  await shapes(first, info, cases);
  await mistakes(first, info, cases);
  await cacheCommands(first, reference, info.digest);
  const [name] = reference.split(/[:@]/);
  const pinned = `${name}@${info.digest}`;
  for (const [wanted, wish] of [
    [reference, wishes("offline")],
    [reference, wishes("online")],
    [reference, wishes("stale-while-revalidate", { candidate: true })],
    [pinned, wishes("stale-while-revalidate")],
    [name, wishes("stale-while-revalidate")],
  ]) {
    await attempt(`load ${wanted}, ${wish.policy}`, async () => void (await load(storage, wanted, wish)).model.info());
  }
  host.crowded = true;
  for (const kept of [undefined, new MemoryStorage(), storage]) {
    for (const wanted of [reference, name]) {
      await attempt("load from a large registry", async () => {
        const engine = await load(kept, wanted, wishes(kept ? "stale-while-revalidate" : "online"));
        engine.model.info();
        await engine.cache.revalidate(wanted, listener);
      });
    }
  }
  host.crowded = false;
  await attempt("load without a storage", async () => void (await load(undefined, reference)).model.info());
  await attempt("two at once", () => {
    const shared = new MemoryStorage();
    return Promise.all([load(shared, reference), load(shared, reference)]);
  });
  for (const trouble of ["full", "broken"]) await attempt(`a storage that is ${trouble}`, () => load(new MemoryStorage(trouble), reference));
  await attempt("damaged", () => {
    storage.damage();
    return load(storage, reference);
  });
  await attempt("interrupted", () => {
    host.answers = [503, undefined, 500];
    return load(new MemoryStorage(), reference);
  });
  host.answers = [];
  await attempt("a mirror", () => load(new MemoryStorage(), reference, undefined, [`${address}none/`, address]));
  await attempt("refused", async () => {
    await first.cache.refuse(reference, info.digest);
    await load(storage, reference);
  });
  for (const unknown of ["no-such-model", `${name}:9.9.9`, "Not A Name", `${name}@sha256:${"0".repeat(64)}`]) {
    await attempt("unknown", () => load(new MemoryStorage(), unknown));
    await attempt("unknown, offline", () => load(new MemoryStorage(), unknown, wishes("offline")));
  }
  await attempt("a wrong trust policy", () => load(new MemoryStorage(), reference, wishes("online", { trust: "{", now: 0 })));
  await attempt("a strict trust policy", () => load(new MemoryStorage(), reference, wishes("online", { trust: STRICT, now: 1 })));
  await attempt("clear", () => first.cache.clear());
  return answers;
}

/** Refuses everything that is not signed by nobody. */
const STRICT = JSON.stringify({ version: 1, default: { keys: [], unsigned: "refuse" } });

/** Only what a caller would do: the golden examples and the given inputs. */
async function use({ reference, inputs: given }) {
  const answers = {};
  const done = await attempt("load", async () => {
    const engine = await load(undefined, reference);
    const text = await engine.model.goldenJson();
    const cases = text === undefined ? [] : JSON.parse(text).cases;
    Object.assign(answers, await golden(engine, [...cases, ...(given ?? [])]));
    engine.model.info();
  });
  answers.load = done?.failed ?? "loaded";
  return answers;
}

/** All instances' words together. */
function entered() {
  const words = [];
  for (const { exports } of instances) {
    for (let word = 0; exports[`twinfer_entered_${word}`]; word++) words[word] = (words[word] ?? 0) | exports[`twinfer_entered_${word}`].value;
  }
  return words.map((word) => word >>> 0);
}

const packages = [];
for (const wanted of job.packages) {
  const answers = job.mode === "profile" ? await wholeLife(wanted.reference) : await use(wanted);
  // The inputs of the caller count for the profile as golden examples do.
  if (job.mode === "profile" && wanted.inputs?.length > 0) Object.assign(answers, await use(wanted));
  for (const registry of registries.splice(0)) await registry.freeAll();
  packages.push({ reference: wanted.reference, answers, entered: entered(), missing: missing.splice(0) });
  instances.length = 0;
}
writeFileSync(resultFile, JSON.stringify({ packages }));
process.exit(0);
