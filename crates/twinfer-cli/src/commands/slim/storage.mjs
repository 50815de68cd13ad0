// The storage of a page (`web/src/storage/storage.ts`) in memory: what the engine calls.

export class MemoryStorage {
  label = "memory";
  #documents = new Map();
  #blobs = new Map();
  #partials = new Map();
  #locks = new Map();
  #trouble;

  /** `full` and `broken` fail as a browser's do. */
  constructor(trouble) {
    this.#trouble = trouble;
  }

  /** Changes a byte of everything that is kept. */
  damage() {
    for (const bytes of this.#blobs.values()) if (bytes.length > 0) bytes[bytes.length >> 1] ^= 1;
  }

  async document(key) {
    return this.#documents.get(key);
  }

  setDocument(key, content) {
    const copy = content.slice();
    return this.#change(() => this.#documents.set(key, copy));
  }

  async removeDocument(key) {
    this.#documents.delete(key);
  }

  async documents(prefix) {
    return [...this.#documents].filter(([key]) => key.startsWith(prefix));
  }

  async size(hex) {
    return this.#blobs.get(hex)?.length;
  }

  async read(hex, limit) {
    return this.#blobs.get(hex)?.slice(0, limit + 1);
  }

  async write(hex) {
    const pieces = this.#partials.get(hex) ?? [];
    this.#partials.set(hex, pieces);
    const length = () => pieces.reduce((sum, piece) => sum + piece.length, 0);
    const all = () => new Uint8Array(Buffer.concat(pieces));
    return {
      length: length(),
      readBack: async (offset, count) => all().slice(offset, offset + count),
      // The bytes are a view into the engine: gone after the first await.
      append: (bytes) => {
        const copy = bytes.slice();
        return this.#change(() => pieces.push(copy));
      },
      clear: async () => void (pieces.length = 0),
      commit: () => this.#change(() => {
        this.#blobs.set(hex, all());
        this.#partials.delete(hex);
      }),
      close: () => undefined,
    };
  }

  async remove(hex) {
    this.#blobs.delete(hex);
  }

  async blobs() {
    return [...this.#blobs].map(([hex, bytes]) => [hex, bytes.length]);
  }

  async partials() {
    return [...this.#partials].map(([hex, pieces]) => [hex, pieces.reduce((sum, piece) => sum + piece.length, 0)]);
  }

  async removePartial(hex) {
    this.#partials.delete(hex);
  }

  async lock(name, shared, wait) {
    const held = this.#locks.get(name) ?? { shared: 0, exclusive: false, waiting: [] };
    this.#locks.set(name, held);
    const free = () => !held.exclusive && (shared || held.shared === 0);
    while (!free()) {
      if (!wait) return undefined;
      await new Promise((resolve) => held.waiting.push(resolve));
    }
    if (shared) held.shared += 1;
    else held.exclusive = true;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      if (shared) held.shared -= 1;
      else held.exclusive = false;
      for (const resolve of held.waiting.splice(0)) resolve();
    };
    return { release };
  }

  async space() {
    return { available: this.#trouble === "full" ? 10 : 1 << 30, quota: 2 ** 31 };
  }

  async #change(work) {
    if (this.#trouble) throw Object.assign(new Error(`the storage is ${this.#trouble}`), { code: this.#trouble === "full" ? "out_of_space" : "storage" });
    work();
  }
}
