/**
 * The counters of signed tags: what a trust policy must remember between loads. With a name of
 * their own, so that clearing packages keeps them.
 */

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
