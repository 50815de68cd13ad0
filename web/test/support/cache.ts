/**
 * Runs the list of the cache suite (made by `tests/`) where this script runs: in Node and in a
 * page the same code. It has no imports but types, so that a page can load it as it is.
 */
import type { LoadOptions, Model, ModelOutput, Policy, loadModel } from "twinfer";
import type { Answer, GoldenTensor, fromGolden, toGolden } from "./runner.js";

type Damage = "flip" | "truncate" | "longer" | "empty";
type Step =
  | { load: { policy: Policy; together: number } }
  | { update: object }
  | { damage: Damage }
  | { server: string }
  | { clock: number }
  | "settle";

export interface CacheCase {
  id: string;
  reference: string;
  fault: string;
  nobody?: boolean;
  mirrors?: string[];
  needs?: string[];
  steps: Step[];
}

export interface CacheCases {
  server: string;
  nobody: string;
  inputs: Record<string, GoldenTensor[]>;
  layers: Record<string, string>;
  cases: CacheCase[];
}

interface StepResult {
  answers: Answer[];
  refused?: string;
  asked: unknown[];
  events: string[];
  failed?: string;
}

export interface CacheResults {
  place: string;
  lacks: string[];
  results: { id: string; steps: StepResult[] }[];
}

/** Where packages are kept: what the option `cache` of `loadModel` is given. */
export type Place = Exclude<LoadOptions["cache"], undefined>;

export interface Tools {
  load: typeof loadModel;
  golden: { from: typeof fromGolden; to: typeof toGolden };
}

/** Runs every case that this place can do. */
export async function runCache(tools: Tools, place: string, keep: Place, lacks: string[], list: CacheCases): Promise<CacheResults> {
  const results: CacheResults["results"] = [];
  for (const one of list.cases) {
    if (one.needs?.some((need) => lacks.includes(need))) continue;
    if (keep !== false) await empty();
    const running = new Running(tools, keep, list, one, `${one.id}-${place}`);
    const steps: StepResult[] = [];
    for (const step of one.steps) steps.push(await running.step(step));
    await running.end();
    results.push({ id: one.id, steps });
  }
  return { place, lacks, results };
}

/** Steps of a load that are no events of the cache. */
const ORDINARY = new Set(["engine", "resolve", "download", "load", "ready"]);

class Running {
  readonly #events: string[] = [];
  readonly #open: Model[] = [];
  /** What was loaded last. */
  #model: Model | undefined;
  /** Resolves when the registry had something newer. */
  #updated: Promise<void> = Promise.resolve();

  constructor(
    readonly tools: Tools,
    readonly keep: Place,
    readonly list: CacheCases,
    readonly one: CacheCase,
    readonly session: string,
  ) {}

  async step(step: Step): Promise<StepResult> {
    const result: StepResult = { answers: [], asked: [], events: [] };
    try {
      await this.#do(step, result);
    } catch (error) {
      result.failed = String(error);
    }
    // What the server is told is no request of the cache, and comes before those of the next step.
    const server = step !== "settle" && "server" in step;
    if (!server) result.asked = JSON.parse(await this.#tell(`_log/${this.session}`)) as unknown[];
    result.events = this.#events.splice(0);
    return result;
  }

  async end(): Promise<void> {
    for (const model of this.#open) await model.close();
  }

  async #do(step: Step, result: StepResult): Promise<void> {
    if (step === "settle") return this.#settle();
    if ("load" in step) {
      const { policy, together } = step.load;
      result.answers = await Promise.all(Array.from({ length: together }, () => this.#load(policy)));
    } else if ("update" in step) {
      if (!this.#model) throw new Error("nothing is loaded");
      const { status, error } = await this.#model.update();
      if (status === "refused" && error) result.refused = error.code;
      result.answers = [await this.#ask(this.#model)];
    } else if ("damage" in step) {
      await damage(this.keep, this.list.layers[`${name(this.one)} 1`] ?? "", step.damage);
    } else if ("server" in step) {
      await this.#tell(`_set/${this.session}/${step.server}`);
    } else {
      throw new Error("there is no such step here");
    }
  }

  async #load(policy: Policy): Promise<Answer> {
    const { server, nobody } = this.list;
    const { fault, reference, mirrors = [] } = this.one;
    const at = (origin: string, which: string): string => `${origin}/${which}/${this.session}`;
    // A mirror counts for itself, and what it is asked for is in the same log.
    const beside = (which: string, number: number): string => `${at(server, which)}~${number}`;
    let updated = (): void => undefined;
    this.#updated = new Promise((resolve) => (updated = resolve));
    try {
      const model = await this.tools.load(`${at(this.one.nobody ? nobody : server, fault)}/${reference}`, {
        policy,
        cache: this.keep,
        mirrors: mirrors.map(beside),
        persist: false,
        onProgress: ({ status }) => ORDINARY.has(status) || this.#events.push(status),
        onUpdate: updated,
      });
      this.#open.push(model);
      this.#model = model;
      return await this.#ask(model);
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      return { error: { code: code ?? "no code", message: message ?? String(error) } };
    }
  }

  async #ask(model: Model): Promise<Answer> {
    const { from, to } = this.tools.golden;
    const inputs = from(this.list.inputs[name(this.one)] ?? []);
    return { tensors: to(await model.run<Record<string, ModelOutput>>(inputs), model) };
  }

  /** A stale answer is followed by a question to the registry, and by what is newer there. */
  async #settle(): Promise<void> {
    const late = new Promise((_, reject) => setTimeout(reject, 20_000, new Error("nothing newer came within 20 s")));
    await Promise.race([this.#updated, late]);
  }

  async #tell(path: string): Promise<string> {
    const answer = await fetch(`${this.list.server}/${path}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
    return answer.text();
  }
}

function name({ reference }: CacheCase): string {
  return reference.split(/[:@]/)[0] ?? "";
}

/** Empties every storage of this origin. */
async function empty(): Promise<void> {
  for (const key of await caches.keys()) await caches.delete(key);
  for (const { name } of await indexedDB.databases()) {
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name ?? "");
      request.onsuccess = resolve;
      request.onerror = () => reject(request.error);
    });
  }
  const root = await navigator.storage.getDirectory();
  const names: string[] = [];
  for await (const key of (root as unknown as { keys(): AsyncIterable<string> }).keys()) names.push(key);
  for (const key of names) await root.removeEntry(key, { recursive: true });
}

/** Changes a layer where it is kept, past everything that would refuse it. */
async function damage(keep: Place, hex: string, how: Damage): Promise<void> {
  if (keep === "opfs") {
    let folder = await navigator.storage.getDirectory();
    for (const part of ["twinfer", "blobs", "sha256"]) folder = await folder.getDirectoryHandle(part);
    const handle = await folder.getFileHandle(hex);
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    const writable = await handle.createWritable();
    await writable.write(damaged(bytes, how));
    return writable.close();
  }
  for (const key of await caches.keys()) {
    const cache = await caches.open(key);
    for (const request of await cache.keys()) {
      const found = request.url.endsWith(hex) && (await cache.match(request));
      if (!found) continue;
      const bytes = new Uint8Array(await found.arrayBuffer());
      return cache.put(request, new Response(damaged(bytes, how), { headers: found.headers }));
    }
  }
  throw new Error("the layer is not in the cache");
}

function damaged(bytes: Uint8Array<ArrayBuffer>, how: Damage): Uint8Array<ArrayBuffer> {
  const middle = Math.floor(bytes.length / 2);
  switch (how) {
    case "flip":
      return bytes.map((byte, at) => (at === middle ? byte ^ 0x40 : byte));
    case "truncate":
      return bytes.slice(0, middle);
    case "longer":
      return Uint8Array.from([...bytes, 0]);
    case "empty":
      return new Uint8Array();
  }
}
