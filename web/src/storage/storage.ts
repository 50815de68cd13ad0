/**
 * Where a page keeps packages: the back end of `twinfer-cache`, called by the engine. It knows
 * neither packages nor registries and verifies nothing; what it promises is that a document or
 * blob is there whole or not at all, and that locks hold over all tabs.
 */
import { TwinferError, describe } from "../errors.js";
import type { Place } from "../types.js";
import { Documents } from "./documents.js";
import { CacheBlobs } from "./entries.js";
import { Locks } from "./locks.js";
import { OpfsBlobs } from "./opfs.js";

/** Bytes by the digits of their digest. */
export interface Blobs {
  readonly label: string;
  size(hex: string): Promise<number | undefined>;
  /** Of content with more than `limit` bytes the first `limit + 1`. */
  read(hex: string, limit: number): Promise<Bytes | undefined>;
  /** Called under the lock of the digest. */
  write(hex: string): Promise<Writer>;
  remove(hex: string): Promise<void>;
  list(): Promise<[hex: string, size: number][]>;
  partials(): Promise<[hex: string, size: number][]>;
  removePartial(hex: string): Promise<void>;
}

/** Writes a blob. The bytes of `append` are a view into the engine: gone after the first `await`. */
export interface Writer {
  /** Bytes that are there: at first what an earlier writer left behind. */
  readonly length: number;
  readBack(offset: number, length: number): Promise<Bytes>;
  append(bytes: Bytes): Promise<void>;
  clear(): Promise<void>;
  commit(): Promise<void>;
  /** Without a commit it leaves what it can for the next writer. */
  close(): void;
}

export interface Lock {
  release(): void;
}

export type Bytes = Uint8Array<ArrayBuffer>;

/** What the engine calls. */
export class Storage {
  readonly label: string;
  readonly #blobs: Blobs;
  readonly #documents: Documents;
  readonly #locks: Locks;
  readonly #writers = new Set<Writer>();

  constructor(place: Place, blobs: Blobs, documents: Documents) {
    this.label = blobs.label;
    this.#blobs = blobs;
    this.#documents = documents;
    this.#locks = new Locks(`twinfer:${place}:`);
  }

  document(key: string): Promise<Bytes | undefined> {
    return kept(this.#documents.get(key), key);
  }

  setDocument(key: string, content: Bytes): Promise<void> {
    // Copied: the engine's memory may move before it is stored.
    return kept(this.#documents.set(key, content.slice()), key);
  }

  removeDocument(key: string): Promise<void> {
    return kept(this.#documents.remove(key), key);
  }

  documents(prefix: string): Promise<[string, Bytes][]> {
    return kept(this.#documents.all(prefix), prefix);
  }

  size(hex: string): Promise<number | undefined> {
    return kept(this.#blobs.size(hex), hex);
  }

  read(hex: string, limit: number): Promise<Bytes | undefined> {
    return kept(this.#blobs.read(hex, limit), hex);
  }

  async write(hex: string): Promise<Writer> {
    const writer = await kept(this.#blobs.write(hex), hex);
    this.#writers.add(writer);
    return new NamingWriter(writer, hex, () => this.#writers.delete(writer));
  }

  remove(hex: string): Promise<void> {
    return kept(this.#blobs.remove(hex), hex);
  }

  blobs(): Promise<[string, number][]> {
    return kept(this.#blobs.list(), "the list of blobs");
  }

  partials(): Promise<[string, number][]> {
    return kept(this.#blobs.partials(), "the list of what was begun");
  }

  removePartial(hex: string): Promise<void> {
    return kept(this.#blobs.removePartial(hex), hex);
  }

  lock(name: string, shared: boolean, wait: boolean): Promise<Lock | undefined> {
    return kept(this.#locks.take(name, shared, wait), name);
  }

  async space(): Promise<{ available?: number; quota?: number }> {
    const { quota, usage } = await kept(navigator.storage.estimate(), "the estimate");
    return quota === undefined || usage === undefined ? {} : { available: Math.max(quota - usage, 0), quota };
  }

  /** Gives everything back that is held: an engine that stopped cannot do that itself. */
  close(): void {
    for (const writer of this.#writers) writer.close();
    this.#locks.close();
    this.#documents.close();
  }
}

/** Says what a failure was about. */
class NamingWriter implements Writer {
  readonly #writer: Writer;
  readonly #what: string;
  readonly #closed: () => void;

  constructor(writer: Writer, what: string, closed: () => void) {
    this.#writer = writer;
    this.#what = what;
    this.#closed = closed;
  }

  get length(): number {
    return this.#writer.length;
  }

  readBack(offset: number, length: number): Promise<Bytes> {
    return kept(this.#writer.readBack(offset, length), this.#what);
  }

  append(bytes: Bytes): Promise<void> {
    return kept(this.#writer.append(bytes), this.#what);
  }

  clear(): Promise<void> {
    return kept(this.#writer.clear(), this.#what);
  }

  commit(): Promise<void> {
    return kept(this.#writer.commit(), this.#what);
  }

  close(): void {
    this.#writer.close();
    this.#closed();
  }
}

/** A failure with its code. */
async function kept<T>(work: Promise<T>, what: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof TwinferError) throw error;
    const full = (error as { name?: unknown } | null)?.name === "QuotaExceededError";
    const message = full ? "the browser gives this page no more room" : `the browser's storage failed: ${describe(error)}`;
    throw new TwinferError(full ? "out_of_space" : "storage", `${what}: ${message}`, { cause: error });
  }
}

/** In the order of preference: `bench/cache-backends` has the numbers. */
const PLACES: readonly [Place, { isOffered(): boolean; open(): Promise<Blobs> }][] = [
  ["opfs", OpfsBlobs],
  ["cache-api", CacheBlobs],
];

/**
 * Opens the storage of this page, the given one or the best that there is. Nothing in Node, on
 * pages without HTTPS, and in private windows that have none.
 */
export async function openStorage(wanted?: Place): Promise<Storage | undefined> {
  if (!globalThis.indexedDB || !globalThis.navigator?.locks || !navigator.storage?.estimate) return undefined;
  for (const [place, { isOffered, open }] of PLACES) {
    if ((wanted !== undefined && wanted !== place) || !isOffered()) continue;
    const documents = new Documents(`twinfer-${place}`);
    try {
      // The documents are the first that will be asked for.
      documents.prepare();
      return new Storage(place, await open(), documents);
    } catch {
      // Private windows and storage that is switched off: the next one, or none.
      documents.close();
    }
  }
  return undefined;
}
