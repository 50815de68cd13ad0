/**
 * Engines of a registry in the storage of the page: blobs like any other, noted as parts of their
 * package as `twinfer-cache` notes its layers. So they count there, and go when the package goes.
 */
import { hexOf } from "./choose.js";
import type { Candidate, Content } from "./engine.js";
import { TwinferError } from "./errors.js";
import type { Bytes, Lock, Storage } from "./storage/storage.js";

type Blob = [digest: string, size: number];

/** As `twinfer-cache` writes it; another version is as if nothing had been kept. */
interface PackageRecord {
  format_version: 1;
  digest: string;
  name: string;
  blobs: Blob[];
  /** Milliseconds since 1970. */
  used: number;
}

/**
 * Notes that a package is used with this engine, and keeps what was fetched of it: the engine, its signatures.
 *
 * @throws TwinferError `out_of_space`, `storage`.
 */
export async function keepEngine(storage: Storage, candidate: Candidate, name: string, fetched: readonly Content[], quota: number | undefined): Promise<void> {
  const { digest = "", size = 0, package: of = "" } = candidate;
  const blobs = fetched.map((content): Blob => [content.digest, content.bytes.length]);
  const more = blobs.reduce((sum, [, length]) => sum + length, 0);
  if (more > 0 && quota !== undefined && (await held(storage)) + more > quota) {
    throw new TwinferError("out_of_space", `an engine of ${size} bytes does not fit into the quota of ${quota} bytes; it is fetched each time`);
  }
  const packageHex = hexOf(of);
  // An eviction under way has made its list, and must not remove what is added now.
  await locked(storage, "eviction", true, () => locked(storage, `package-${packageHex}`, false, () => note(storage, packageHex, of, name, [[digest, size], ...blobs])));
  for (const { digest: fetchedDigest, bytes } of fetched) {
    const hex = hexOf(fetchedDigest);
    await locked(storage, `blob-${hex}`, false, () => write(storage, hex, bytes));
  }
}

async function note(storage: Storage, hex: string, digest: string, name: string, blobs: Blob[]): Promise<void> {
  const key = `packages/${hex}`;
  const known = read(await storage.document(key));
  const record: PackageRecord = known ?? { format_version: 1, digest, name, blobs: [], used: 0 };
  record.used = Date.now();
  for (const blob of blobs) if (!record.blobs.some(([other]) => other === blob[0])) record.blobs.push(blob);
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
