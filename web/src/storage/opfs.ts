/**
 * Blobs as files of the origin's private file system (OPFS): `twinfer/blobs/sha256/<hex>`, and
 * `twinfer/partial/<hex>` for those that are under way. Workers write through a synchronous
 * handle, piece by piece, and what a closed tab leaves behind is gone on with.
 */

import type { Blobs, Bytes, Writer } from "./storage.js";

/** Not yet in TypeScript's library. */
interface Movable {
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}

/** Of workers only, so not in the library of pages. */
interface Access {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

type FileHandle = FileSystemFileHandle & Movable & { createSyncAccessHandle?(): Promise<Access> };

/** How many sizes are asked for at the same time. */
const BATCH = 64;
/** How many bytes are written at once on the page's own thread. */
const TOGETHER = 1 << 20;

export class OpfsBlobs implements Blobs {
  readonly label = `the private file system of ${globalThis.origin}`;
  readonly #blobs: FileSystemDirectoryHandle;
  readonly #partial: FileSystemDirectoryHandle;

  private constructor(blobs: FileSystemDirectoryHandle, partial: FileSystemDirectoryHandle) {
    this.#blobs = blobs;
    this.#partial = partial;
  }

  static isOffered(this: void): boolean {
    const prototype = globalThis.FileSystemFileHandle?.prototype as Partial<FileHandle> | undefined;
    // A blob is committed by a move; before that it is written by one of these.
    return prototype?.move !== undefined && (prototype.createSyncAccessHandle ?? prototype.createWritable) !== undefined;
  }

  static async open(this: void): Promise<OpfsBlobs> {
    const create = { create: true };
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("twinfer", create);
    const blobs = root.getDirectoryHandle("blobs", create).then((folder) => folder.getDirectoryHandle("sha256", create));
    return new OpfsBlobs(...(await Promise.all([blobs, root.getDirectoryHandle("partial", create)])));
  }

  async size(hex: string): Promise<number | undefined> {
    return (await file(this.#blobs, hex))?.size;
  }

  async read(hex: string, limit: number): Promise<Bytes | undefined> {
    const found = await file(this.#blobs, hex);
    return found && new Uint8Array(await found.slice(0, limit + 1).arrayBuffer());
  }

  async write(hex: string): Promise<Writer> {
    const handle: FileHandle = await this.#partial.getFileHandle(hex, { create: true });
    const commit = async (): Promise<void> => handle.move?.(this.#blobs, hex);
    return handle.createSyncAccessHandle ? AccessWriter.open(handle, commit) : StreamWriter.open(handle, commit);
  }

  async remove(hex: string): Promise<void> {
    await remove(this.#blobs, hex);
    await remove(this.#partial, hex);
  }

  list(): Promise<[string, number][]> {
    return list(this.#blobs);
  }

  partials(): Promise<[string, number][]> {
    return list(this.#partial);
  }

  removePartial(hex: string): Promise<void> {
    return remove(this.#partial, hex);
  }
}

async function file(folder: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  try {
    return await (await folder.getFileHandle(name)).getFile();
  } catch (error) {
    if (missing(error)) return undefined;
    throw error;
  }
}

async function remove(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name);
  } catch (error) {
    if (!missing(error)) throw error;
  }
}

function missing(error: unknown): boolean {
  return (error as { name?: unknown } | null)?.name === "NotFoundError";
}

async function list(folder: FileSystemDirectoryHandle): Promise<[string, number][]> {
  const names: string[] = [];
  for await (const name of folder.keys()) if (/^[0-9a-f]{64}$/.test(name)) names.push(name);
  const sizes: [string, number][] = [];
  for (let at = 0; at < names.length; at += BATCH) {
    const batch = names.slice(at, at + BATCH);
    const files = await Promise.all(batch.map((name) => file(folder, name)));
    // What went in between is not there any more.
    files.forEach((found, i) => found && sizes.push([batch[i] ?? "", found.size]));
  }
  return sizes;
}

/** In a worker. */
class AccessWriter implements Writer {
  length: number;
  readonly #access: Access;
  readonly #commit: () => Promise<void>;

  private constructor(access: Access, commit: () => Promise<void>) {
    this.#access = access;
    this.#commit = commit;
    this.length = access.getSize();
  }

  static async open(handle: FileHandle, commit: () => Promise<void>): Promise<AccessWriter> {
    // The handle of a worker that was just ended is given back a little later.
    for (let wait = 10; ; wait *= 2) {
      try {
        const access = await handle.createSyncAccessHandle?.();
        if (access) return new AccessWriter(access, commit);
      } catch (error) {
        if (wait > 500) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  async readBack(offset: number, length: number): Promise<Bytes> {
    const bytes = new Uint8Array(Math.min(length, this.length - offset));
    return bytes.subarray(0, this.#access.read(bytes, { at: offset }));
  }

  async append(bytes: Bytes): Promise<void> {
    const written = this.#access.write(bytes, { at: this.length });
    if (written < bytes.length) throw new DOMException("not all bytes were written", "QuotaExceededError");
    this.length += written;
  }

  async clear(): Promise<void> {
    this.#access.truncate(0);
    this.length = 0;
  }

  async commit(): Promise<void> {
    // More can be there, of a write that failed.
    this.#access.truncate(this.length);
    this.#access.flush();
    this.#access.close();
    await this.#commit();
  }

  close(): void {
    this.#access.close();
  }
}

/** On the page's own thread: what is not committed is lost. */
class StreamWriter implements Writer {
  length: number;
  readonly #begun: File;
  readonly #stream: FileSystemWritableFileStream;
  readonly #commit: () => Promise<void>;
  /** Every write is a message to another process: pieces of `fetch` are put together. */
  #pending: Bytes[] = [];
  #pendingLength = 0;
  #closed = false;

  private constructor(begun: File, stream: FileSystemWritableFileStream, commit: () => Promise<void>) {
    this.#begun = begun;
    this.#stream = stream;
    this.#commit = commit;
    this.length = begun.size;
  }

  static async open(handle: FileHandle, commit: () => Promise<void>): Promise<StreamWriter> {
    const begun = await handle.getFile();
    return new StreamWriter(begun, await handle.createWritable({ keepExistingData: true }), commit);
  }

  /** Asked for before anything is appended: of what an earlier writer left behind. */
  async readBack(offset: number, length: number): Promise<Bytes> {
    return new Uint8Array(await this.#begun.slice(offset, offset + length).arrayBuffer());
  }

  async append(bytes: Bytes): Promise<void> {
    this.#pending.push(bytes.slice());
    this.#pendingLength += bytes.length;
    this.length += bytes.length;
    if (this.#pendingLength >= TOGETHER) await this.#write();
  }

  async clear(): Promise<void> {
    [this.#pending, this.#pendingLength] = [[], 0];
    await this.#stream.truncate(0);
    this.length = 0;
  }

  async commit(): Promise<void> {
    await this.#write();
    this.#closed = true;
    await this.#stream.close();
    await this.#commit();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.abort().catch(() => undefined);
  }

  async #write(): Promise<void> {
    if (this.#pendingLength === 0) return;
    const [data, position] = [new Blob(this.#pending), this.length - this.#pendingLength];
    [this.#pending, this.#pendingLength] = [[], 0];
    await this.#stream.write({ type: "write", position, data });
  }
}
