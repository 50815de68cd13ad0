/**
 * Slim engines for tests, made here byte by byte: which functions a page enters, and an engine in
 * which all others say that they are missing. (`twinfer slim` makes smaller ones, the same way.)
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { DerivedEngine } from "../../generated/types.js";
import { DIST } from "./server.js";

const [TYPE, IMPORT, GLOBAL, EXPORT, CODE] = [1, 2, 6, 7, 10];
const [I32_CONST, CALL, GLOBAL_SET, UNREACHABLE, END] = [0x41, 0x10, 0x24, 0x00, 0x0b];

/** The full engine of the package. */
export const FULL = readFileSync(join(DIST, "twinfer_web_bg.wasm"));
export const FULL_DIGEST = digest(FULL);
/** What the names of the exported globals begin with. */
export const EXPORTED = "entered-";

export function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

interface Section {
  id: number;
  body: Uint8Array;
}

function sections(wasm: Uint8Array): Section[] {
  const found: Section[] = [];
  for (let at = 8; at < wasm.length; ) {
    const { value: size, next } = varint(wasm, at + 1);
    found.push({ id: wasm[at] ?? 0, body: wasm.subarray(next, next + size) });
    at = next + size;
  }
  // Names and notes are of no use here.
  return found.filter(({ id }) => id !== 0);
}

function joined(parts: readonly Section[]): Uint8Array<ArrayBuffer> {
  return concat([FULL.subarray(0, 8), ...parts.flatMap(({ id, body }) => [Uint8Array.of(id, ...number(body.length)), body])]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

interface Parsed {
  /** Where the entries begin and end, in the body of their section. */
  entries: [from: number, to: number][];
  body: Uint8Array;
}

function section(wasm: readonly Section[], id: number): Uint8Array {
  const found = wasm.find((one) => one.id === id);
  if (!found) throw new Error(`the engine has no section ${id}`);
  return found.body;
}

function bodies(code: Uint8Array): Parsed {
  const { value: count, next } = varint(code, 0);
  const entries: [number, number][] = [];
  let at = next;
  for (let i = 0; i < count; i++) {
    const size = varint(code, at);
    entries.push([size.next, size.next + size.value]);
    at = size.next + size.value;
  }
  return { entries, body: code };
}

interface Import {
  module: string;
  kind: number;
  from: number;
  to: number;
}

function imports(body: Uint8Array): Import[] {
  const { value: count, next } = varint(body, 0);
  const found: Import[] = [];
  let at = next;
  for (let i = 0; i < count; i++) {
    const from = at;
    const module = varint(body, at);
    const name = varint(body, module.next + module.value);
    at = name.next + name.value;
    const kind = body[at] ?? 0;
    // A function has a type; of the others no length need be known but a memory's or table's.
    if (kind === 0) at = varint(body, at + 1).next;
    else if (kind === 3) at += 3;
    else throw new Error(`an import of kind ${kind}`);
    found.push({ module: new TextDecoder().decode(body.subarray(module.next, module.next + module.value)), kind, from, to: at });
  }
  return found;
}

/** An engine with a global for each function, which is 1 once it was entered. */
export function counting(): Uint8Array<ArrayBuffer> {
  return (made ??= instrumented());
}

let made: Uint8Array<ArrayBuffer> | undefined;

function instrumented(): Uint8Array<ArrayBuffer> {
  const all = sections(FULL);
  const { entries, body } = bodies(section(all, CODE));
  const globals = varint(section(all, GLOBAL), 0);
  const first = globals.value + imports(section(all, IMPORT)).filter(({ kind }) => kind === 3).length;
  const exports = varint(section(all, EXPORT), 0);
  const code = entries.map(([from, to], i) => {
    const start = afterLocals(body, from);
    const mark = Uint8Array.of(I32_CONST, 1, GLOBAL_SET, ...number(first + i));
    return concat([Uint8Array.from(number(to - from + mark.length)), body.subarray(from, start), mark, body.subarray(start, to)]);
  });
  const global = Uint8Array.of(0x7f, 1, I32_CONST, 0, END);
  const exported = entries.map((_, i) => Uint8Array.of(...text(EXPORTED + i), 3, ...number(first + i)));
  return joined(
    all.map((one) => {
      if (one.id === CODE) return { id: CODE, body: concat([Uint8Array.from(number(entries.length)), ...code]) };
      if (one.id === GLOBAL) return { id: GLOBAL, body: concat([Uint8Array.from(number(globals.value + entries.length)), one.body.subarray(globals.next), ...entries.map(() => global)]) };
      if (one.id === EXPORT) return { id: EXPORT, body: concat([Uint8Array.from(number(exports.value + entries.length)), one.body.subarray(exports.next), ...exported]) };
      return one;
    }),
  );
}

function afterLocals(body: Uint8Array, from: number): number {
  const groups = varint(body, from);
  let at = groups.next;
  for (let i = 0; i < groups.value; i++) at = varint(body, at).next + 1;
  return at;
}

/** The functions that are entered while this is done, with the engine at the address that it gets, on the main thread. */
export async function profile(work: (engineUrl: string) => Promise<void>): Promise<Set<number>> {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-profile-"));
  const instances: WebAssembly.Instance[] = [];
  const { instantiate } = WebAssembly;
  const watched = async (module: WebAssembly.Module, given: WebAssembly.Imports): Promise<WebAssembly.Instance> => {
    const instance = await instantiate(module, given);
    instances.push(instance);
    return instance;
  };
  try {
    Object.assign(WebAssembly, { instantiate: watched });
    writeFileSync(join(folder, "counting.wasm"), counting());
    await work(pathToFileURL(join(folder, "counting.wasm")).href);
  } finally {
    Object.assign(WebAssembly, { instantiate });
    rmSync(folder, { recursive: true });
  }
  const entered = new Set<number>();
  for (const { exports } of instances) {
    for (const [name, value] of Object.entries(exports)) {
      if (name.startsWith(EXPORTED) && (value as WebAssembly.Global).value === 1) entered.add(Number(name.slice(EXPORTED.length)));
    }
  }
  return entered;
}

/** The engine with only these functions. */
export function slim(entered: ReadonlySet<number>): Uint8Array<ArrayBuffer> {
  const all = sections(FULL);
  const given = section(all, IMPORT);
  const list = imports(given);
  const { entries, body } = bodies(section(all, CODE));
  const type = typeOfMissing(section(all, TYPE));
  // One more import would move the numbers of all functions. One that is called nowhere any more
  // takes it: which one that is, the validator says.
  const replacement = Uint8Array.of(...text("twinfer"), ...text("missing"), 0, ...number(type));
  const functions = list.filter(({ kind }) => kind === 0);
  for (const [index, { from, to }] of functions.entries()) {
    const code = entries.map(([start, end], i) => {
      if (entered.has(i)) return concat([Uint8Array.from(number(end - start)), body.subarray(start, end)]);
      const stub = [0, I32_CONST, ...signed(i), CALL, ...number(index), UNREACHABLE, END];
      return Uint8Array.of(...number(stub.length), ...stub);
    });
    const made = joined(
      all.map((one) => {
        if (one.id === CODE) return { id: CODE, body: concat([Uint8Array.from(number(entries.length)), ...code]) };
        if (one.id === IMPORT) return { id: IMPORT, body: concat([given.subarray(0, from), replacement, given.subarray(to)]) };
        return one;
      }),
    );
    if (WebAssembly.validate(made)) return made;
  }
  throw new Error("every import of the engine is used");
}

/** The number of the type of a function that takes an i32 and gives nothing. */
function typeOfMissing(body: Uint8Array): number {
  const { value: count, next } = varint(body, 0);
  let at = next;
  for (let i = 0; i < count; i++) {
    const parameters = varint(body, at + 1);
    const results = varint(body, parameters.next + parameters.value);
    if (parameters.value === 1 && body[parameters.next] === 0x7f && results.value === 0) return i;
    at = results.next + results.value;
  }
  throw new Error("no function of the engine has this type");
}

/** What an index or a list says of an engine. */
export function derived(wasm: Uint8Array, packages: readonly string[], kind: DerivedEngine["kind"] = "slim", engine = FULL_DIGEST): DerivedEngine {
  const profile = digest(new Uint8Array());
  return { kind, target: "page", digest: digest(wasm), size: wasm.length, engine, version: "0.1.0", packages: Object.fromEntries(packages.map((one) => [one, profile])) };
}

function varint(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7, at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, next: at + 1 };
  }
}

function number(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...number(value >>> 7)];
}

function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}

function text(value: string): number[] {
  return [...number(value.length), ...new TextEncoder().encode(value)];
}
