/**
 * Blobs as entries of the Cache API, for browsers whose private file system does not do. An entry
 * is written at once: what is under way is in memory, and lost with the tab.
 */

import type { Blobs, Bytes, Writer } from "./storage.js";

/** The name has the version of this format in it. */
const NAME = "twinfer-blobs-v2";
/** Headers of an entry: listing them all needs no second question for each. */
const [DIGEST, SIZE] = ["x-twinfer-digest", "x-twinfer-size"];

/** The address of an entry. Nothing is ever fetched from it; the Cache API wants one. */
function entry(hex: string): string {
  return new URL(`/.twinfer/blobs/sha256/${hex}`, globalThis.location.origin).href;
}

export class CacheBlobs implements Blobs {
  readonly label = `the Cache API of ${globalThis.origin}`;
  readonly #cache: Cache;

  private constructor(cache: Cache) {
    this.#cache = cache;
  }

  static isOffered(this: void): boolean {
    return globalThis.caches !== undefined;
  }

  static async open(this: void): Promise<CacheBlobs> {
    return new CacheBlobs(await caches.open(NAME));
  }

  async size(hex: string): Promise<number | undefined> {
    const found = await this.#cache.match(entry(hex));
    return found && size(found);
  }

  async read(hex: string, limit: number): Promise<Bytes | undefined> {
    const found = await this.#cache.match(entry(hex));
    if (!found) return undefined;
    const blob = await found.blob();
    return new Uint8Array(await blob.slice(0, limit + 1).arrayBuffer());
  }

  async write(hex: string): Promise<Writer> {
    return new EntryWriter(async (body) => {
      const headers = { "content-type": "application/octet-stream", [DIGEST]: hex, [SIZE]: String(body.size) };
      await this.#cache.put(entry(hex), new Response(body, { headers }));
    });
  }

  async remove(hex: string): Promise<void> {
    await this.#cache.delete(entry(hex));
  }

  async list(): Promise<[string, number][]> {
    return (await this.#cache.matchAll()).map((found) => [found.headers.get(DIGEST) ?? "", size(found)]);
  }

  async partials(): Promise<[string, number][]> {
    return [];
  }

  async removePartial(): Promise<void> {
    // There are none.
  }
}

function size(response: Response): number {
  return Number(response.headers.get(SIZE) ?? 0);
}

class EntryWriter implements Writer {
  length = 0;
  #pieces: Bytes[] = [];
  readonly #put: (body: Blob) => Promise<void>;

  constructor(put: (body: Blob) => Promise<void>) {
    this.#put = put;
  }

  async readBack(): Promise<Bytes> {
    // Nothing is there at first.
    return new Uint8Array();
  }

  async append(bytes: Bytes): Promise<void> {
    this.#pieces.push(bytes.slice());
    this.length += bytes.length;
  }

  async clear(): Promise<void> {
    this.#pieces = [];
    this.length = 0;
  }

  async commit(): Promise<void> {
    await this.#put(new Blob(this.#pieces));
  }

  close(): void {
    this.#pieces = [];
  }
}
