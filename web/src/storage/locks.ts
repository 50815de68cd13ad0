/** Web Locks: over all tabs and workers of the origin, and gone with their holder. */

import type { Lock } from "./storage.js";

export class Locks {
  readonly #prefix: string;
  readonly #held = new Set<() => void>();
  readonly #end = new AbortController();

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Takes a lock; `undefined` where somebody else has it and it is not waited for. */
  take(name: string, shared: boolean, wait: boolean): Promise<Lock | undefined> {
    return new Promise((resolve, reject) => {
      const options: LockOptions = { mode: shared ? "shared" : "exclusive", ...(wait ? { signal: this.#end.signal } : { ifAvailable: true }) };
      const hold = (lock: unknown): Promise<void> | undefined => {
        // Refused, or given to one who is gone.
        if (!lock || this.#end.signal.aborted) return void resolve(undefined);
        return new Promise((release) => {
          const free = (): void => {
            this.#held.delete(free);
            release();
          };
          this.#held.add(free);
          resolve({ release: free });
        });
      };
      navigator.locks.request(this.#prefix + name, options, hold).catch(reject);
    });
  }

  close(): void {
    this.#end.abort();
    for (const free of [...this.#held]) free();
  }
}
