/** What people do with the storage of a page: look into it, check it, make it smaller, empty it. */

import { anyEngine } from "./choose.js";
import { connect } from "./connection.js";
import { fullEngine } from "./engine.js";
import { TwinferError } from "./errors.js";
import type { Inspection } from "./host.js";
import { compiledFirst, engineAddress } from "./load.js";
import type { CacheEstimate, CacheListing, CacheOptions, CacheRemoved, CacheStatistics, CacheVerified } from "./types.js";

/** Starts an engine in a worker, asks it one thing, and ends it. */
async function ask<T>(what: Inspection, { place, engineUrl }: CacheOptions, bytes = 0): Promise<T> {
  const connection = connect("worker", () => undefined);
  try {
    const keep = place ?? true;
    const full = engineAddress(engineUrl);
    const begun = connection.call("begin", { registries: [], reference: "", policy: "offline", trusted: false, ask: false, full: full.href, keep, mustKeep: false });
    const candidates = engineUrl === undefined ? anyEngine() : [fullEngine(full, undefined)];
    const [start] = await Promise.all([compiledFirst(await candidates), begun]);
    await connection.call("start", start);
    return (await connection.call("inspect", { what, bytes })) as T;
  } finally {
    connection.end(new TwinferError("closed", "it was answered"));
  }
}

/** The storage that packages are kept in. Where there is none it is empty. */
export const cache = {
  /** What is there. */
  ls: (options: CacheOptions = {}): Promise<CacheListing> => ask("list", options),
  /** Reads everything, and removes what is damaged: it is fetched again when it is wanted. */
  verify: (options: CacheOptions = {}): Promise<CacheVerified> => ask("verify", options),
  /**
   * Removes what was not used lately until at most this many bytes are left. What is in use, and
   * the active and the previous version of a tag, stay.
   */
  prune: (bytes: number, options: CacheOptions = {}): Promise<CacheRemoved> => {
    if (!(bytes >= 0)) throw new TwinferError("invalid_request", `prune needs a number of bytes, got ${bytes}`);
    return ask("prune", options, bytes);
  },
  /** Removes everything but what is in use this moment. */
  clear: (options: CacheOptions = {}): Promise<CacheRemoved> => ask("clear", options),
  /** Hits, misses and bytes saved, of all tabs. */
  statistics: (options: CacheOptions = {}): Promise<CacheStatistics> => ask("statistics", options),
  /** What the browser says of its room. */
  async estimate(): Promise<CacheEstimate> {
    const storage = globalThis.navigator?.storage as StorageManager | undefined;
    const { usage, quota } = (await storage?.estimate()) ?? {};
    const persisted = (await storage?.persisted()) ?? false;
    return { ...(usage !== undefined && { usage }), ...(quota !== undefined && { quota }), persisted };
  },
};
