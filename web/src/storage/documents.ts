/** Small documents by key, in IndexedDB: every change is whole or not at all. */

import type { Bytes } from "./storage.js";

const STORE = "documents";

export class Documents {
  readonly #name: string;
  #opened: Promise<IDBDatabase> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** Opens the database, which takes a while; where that fails, the first question says so. */
  prepare(): void {
    this.#open().catch(() => undefined);
  }

  get(key: string): Promise<Bytes | undefined> {
    return this.#run("readonly", (store) => result<Bytes | undefined>(store.get(key)));
  }

  async set(key: string, content: Bytes): Promise<void> {
    await this.#run("readwrite", (store) => result(store.put(content, key)));
  }

  async remove(key: string): Promise<void> {
    await this.#run("readwrite", (store) => result(store.delete(key)));
  }

  all(prefix: string): Promise<[string, Bytes][]> {
    return this.#run("readonly", (store) => {
      // Keys are ASCII: nothing that begins so comes after this.
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      const [keys, values] = [store.getAllKeys(range), store.getAll(range)];
      return () => keys.result.map((key, at) => [String(key), values.result[at] as Bytes]);
    });
  }

  close(): void {
    void this.#opened?.then((database) => database.close()).catch(() => undefined);
    this.#opened = undefined;
  }

  /** Runs a transaction, and gives its result when it is done. */
  async #run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => () => T): Promise<T> {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const get = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(get());
      transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
    });
  }

  #open(): Promise<IDBDatabase> {
    const opened = (this.#opened ??= open(this.#name, () => (this.#opened = undefined)));
    // The next one tries again.
    opened.catch(() => (this.#opened = undefined));
    return opened;
  }
}

function result<T>(request: IDBRequest): () => T {
  return () => request.result as T;
}

function open(name: string, gone: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // Somebody deletes it, or the browser clears the site: not our business to stand in the way.
      database.onversionchange = () => {
        database.close();
        gone();
      };
      database.onclose = gone;
      resolve(database);
    };
  });
}
