/**
 * Verified layers in the Cache API, each under its digest: the same content has one entry,
 * whichever registry it came from, and an entry never goes stale.
 */

/** The name has the version of this format in it. */
const CACHE_NAME = "twinfer-blobs-v1";

/** The address of an entry. Nothing is ever fetched from it; the Cache API wants one. */
function entry(digest: string): string {
  return new URL(`/.twinfer/blobs/${digest.replace(":", "/")}`, globalThis.location.origin).href;
}

async function open(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(CACHE_NAME);
  } catch {
    // Private windows and storage that is switched off: the same as having no cache.
    return undefined;
  }
}

/** The bytes of an entry, not verified yet. */
export async function fromCache(digest: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const response = await (await open())?.match(entry(digest));
    return response && new Uint8Array(await response.arrayBuffer());
  } catch {
    return undefined;
  }
}

/**
 * Keeps bytes that were verified.
 *
 * @returns what went wrong, where something did: a full disk costs a later download, not
 * this load.
 */
export async function toCache(digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  try {
    const headers = { "content-type": "application/octet-stream", "content-length": String(bytes.length) };
    await (await open())?.put(entry(digest), new Response(bytes, { headers }));
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** Removes an entry that turned out to be damaged. */
export async function dropFromCache(digest: string): Promise<void> {
  try {
    await (await open())?.delete(entry(digest));
  } catch {
    // It is not used either way.
  }
}

/** Small texts that are remembered between loads; with a name of their own, so that clearing layers keeps them. */
const MEMORY_NAME = "twinfer-trust-v1";

/** Where there is no Cache API (Node, pages without https): as long as the program runs. */
const memory = new Map<string, string>();

async function openMemory(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(MEMORY_NAME);
  } catch {
    return undefined;
  }
}

function memoryEntry(key: string): string {
  return new URL(`/.twinfer/trust/${key}`, globalThis.location.origin).href;
}

/** A text that was kept under this key. */
export async function kept(key: string): Promise<string | undefined> {
  try {
    const response = await (await openMemory())?.match(memoryEntry(key));
    if (response) return await response.text();
  } catch {
    // As if nothing had been kept there.
  }
  return memory.get(key);
}

/** Keeps a text. Gives what went wrong, where something did. */
export async function keep(key: string, text: string): Promise<string | undefined> {
  memory.set(key, text);
  try {
    await (await openMemory())?.put(memoryEntry(key), new Response(text));
    return undefined;
  } catch (error) {
    return String(error);
  }
}
