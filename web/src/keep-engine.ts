/**
 * Engines of a registry in the storage of the page: blobs like any other, noted as parts of their
 * package as `twinfer-cache` notes its layers. So they count there, and go when the package goes.
 */
import type { Candidate } from "./engine.js";
import { TwinferError } from "./errors.js";
import type { Bytes, Lock, Storage } from "./storage/storage.js";

/** As `twinfer-cache` writes it; another version is as if nothing had been kept. */
interface PackageRecord {
  format_version: 1;
  digest: string;
  name: string;
  blobs: [digest: string, size: number][];
  /** Milliseconds since 1970. */
  used: number;
}

/**
 * Notes that a package is used with this engine; with `bytes`, keeps the engine.
 *
 * @throws TwinferError `out_of_space`, `storage`.
 */
export async function keepEngine(storage: Storage, candidate: Candidate, name: string, bytes: Bytes | undefined, quota: number | undefined): Promise<void> {
  const { digest = "", size = 0, package: of = "" } = candidate;
  if (bytes && quota !== undefined && (await held(storage)) + size > quota) {
    throw new TwinferError("out_of_space", `an engine of ${size} bytes does not fit into the quota of ${quota} bytes; it is fetched each time`);
  }
  const [hex, packageHex] = [digest, of].map((text) => text.slice("sha256:".length)) as [string, string];
  // An eviction under way has made its list, and must not remove what is added now.
  await locked(storage, "eviction", true, () => locked(storage, `package-${packageHex}`, false, () => note(storage, packageHex, of, name, [digest, size])));
  if (bytes) await locked(storage, `blob-${hex}`, false, () => write(storage, hex, bytes));
}

async function note(storage: Storage, hex: string, digest: string, name: string, blob: [string, number]): Promise<void> {
  const key = `packages/${hex}`;
  const known = read(await storage.document(key));
  const record: PackageRecord = known ?? { format_version: 1, digest, name, blobs: [], used: 0 };
  record.used = Date.now();
  if (!record.blobs.some(([other]) => other === blob[0])) record.blobs.push(blob);
  await storage.setDocument(key, new TextEncoder().encode(JSON.stringify(record)));
}

function read(document: Bytes | undefined): PackageRecord | undefined {
  try {
    const record = document && (JSON.parse(new TextDecoder().decode(document)) as PackageRecord);
    return record?.format_version === 1 && Array.isArray(record.blobs) ? record : undefined;
  } catch {
    return undefined;
  }
}

async function write(storage: Storage, hex: string, bytes: Bytes): Promise<void> {
  const writer = await storage.write(hex);
  try {
    if (writer.length > 0) await writer.clear();
    await writer.append(bytes);
    await writer.commit();
  } finally {
    writer.close();
  }
}

async function held(storage: Storage): Promise<number> {
  return (await storage.blobs()).reduce((sum, [, size]) => sum + size, 0);
}

async function locked(storage: Storage, name: string, shared: boolean, work: () => Promise<void>): Promise<void> {
  const lock: Lock | undefined = await storage.lock(name, shared, true);
  try {
    await work();
  } finally {
    lock?.release();
  }
}
