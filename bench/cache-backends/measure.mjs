// What the cache does with a storage, in milliseconds.
import { openStorage } from "/twinfer/storage/storage.js";

/** The pieces in which `fetch` gives a body. */
const PIECE = 64 << 10;
const SMALL = 4 << 10;
const MANY = 1000;

const hex = (number) => number.toString(16).padStart(64, "0");

async function time(work) {
  const since = performance.now();
  const value = await work();
  return [performance.now() - since, value];
}

function content(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, length)));
  return bytes;
}

async function write(storage, name, bytes) {
  const writer = await storage.write(name);
  for (let at = 0; at < bytes.length; at += PIECE) await writer.append(bytes.subarray(at, at + PIECE));
  await writer.commit();
}

export async function measure({ place, what }) {
  const [open, storage] = await time(() => openStorage(place));
  if (!storage) throw new Error(`there is no ${place} here`);
  if (what === "cold") {
    const [first, bytes] = await time(() => storage.read(hex(1), 1 << 30));
    const [document] = await time(() => storage.document("packages/x"));
    return { open, first, document, length: bytes.length };
  }
  const result = {};
  for (const [name, length] of [["1 MB", 1e6], ["100 MB", 1e8]]) {
    const bytes = content(length);
    const key = hex(name === "1 MB" ? 1 : 2);
    [result[`write ${name}`]] = await time(() => write(storage, key, bytes));
    const [read, back] = await time(() => storage.read(key, length));
    if (back.length !== length) throw new Error("not all of it came back");
    result[`read ${name}`] = read;
  }
  const small = content(SMALL);
  [result["write 1000"]] = await time(async () => {
    for (let at = 0; at < MANY; at++) await write(storage, hex(1000 + at), small);
  });
  [result["size of 1000"]] = await time(async () => {
    for (let at = 0; at < MANY; at++) await storage.size(hex(1000 + at));
  });
  [result["read 1000"]] = await time(async () => {
    for (let at = 0; at < MANY; at++) await storage.read(hex(1000 + at), SMALL);
  });
  const [list, found] = await time(() => storage.blobs());
  result["list 1000"] = list;
  if (found.length < MANY) throw new Error(`${found.length} are listed`);
  [result["1000 documents"]] = await time(async () => {
    for (let at = 0; at < MANY; at++) await storage.setDocument(`packages/${hex(at)}`, small.subarray(0, 300));
  });
  [result["all documents"]] = await time(() => storage.documents("packages/"));
  [result["1000 locks"]] = await time(async () => {
    for (let at = 0; at < MANY; at++) (await storage.lock(`blob-${at}`, false, false)).release();
  });
  return result;
}
