/**
 * What differs between browsers and Node. Built-in modules of Node are reached through
 * `process.getBuiltinModule`, which no bundler tries to resolve.
 */
interface NodeProcess {
  getBuiltinModule?(name: string): unknown;
}

export interface NodeWorker {
  postMessage(message: unknown, transfer: readonly unknown[]): void;
  on(event: "message" | "error" | "messageerror" | "exit", listener: (value: never) => void): void;
  terminate(): Promise<number>;
  ref(): void;
  unref(): void;
}

export interface NodePort {
  postMessage(message: unknown, transfer: readonly unknown[]): void;
  on(event: "message", listener: (message: never) => void): void;
}

export interface NodeThreads {
  Worker: new (url: URL) => NodeWorker;
  parentPort: NodePort | null;
}

export interface NodeFile {
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

interface NodeFiles {
  open(path: URL): Promise<NodeFile>;
  stat(path: URL): Promise<{ size: number }>;
  readFile(path: URL): Promise<Uint8Array<ArrayBuffer>>;
}

function builtin(name: string): unknown {
  const { process } = globalThis as { process?: NodeProcess };
  return process?.getBuiltinModule?.(name);
}

/** The threads of Node, where there are no workers of the web. */
export function nodeThreads(): NodeThreads | undefined {
  if (typeof globalThis.Worker === "function") return undefined;
  return builtin("node:worker_threads") as NodeThreads | undefined;
}

/** The files of Node; a browser has none. */
export function nodeFiles(): NodeFiles | undefined {
  return builtin("node:fs/promises") as NodeFiles | undefined;
}

/** Against what relative addresses are read: the page, or the current folder in Node. */
export function baseUrl(): string | undefined {
  const { document, location } = globalThis as { document?: { baseURI: string }; location?: { href: string } };
  const page = document?.baseURI ?? location?.href;
  if (page !== undefined) return page;
  const url = builtin("node:url") as { pathToFileURL(path: string): URL } | undefined;
  const path = builtin("node:process") as { cwd(): string } | undefined;
  return url && path ? `${url.pathToFileURL(path.cwd()).href}/` : undefined;
}
