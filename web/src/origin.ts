/** Registries over `fetch`, one attempt each: what `twinfer-cache` tries again, resumes and verifies. */

import { TwinferError, describe, fromWire } from "./errors.js";
import type { ErrorCode } from "./generated/errors.js";
import { request } from "./fetch.js";
import * as oci from "./oci.js";
import type { NodeFile } from "./platform.js";
import { nodeFiles } from "./platform.js";
import { nameOf } from "./registry.js";
import type { IndexAnswer } from "./wire.js";

/** The same limit as in `twinfer-package`, which checks it again. */
const MAX_INDEX_BYTES = 16 << 20;
const PIECE = 1 << 20;

/** What a registry says of a reference. */
export interface Answer {
  /** Absent where it is what the validator came with. */
  index?: Uint8Array;
  validator?: string | undefined;
  header(name: string): string | undefined;
}

/** The headers that say how long an answer holds. */
const HEADERS = ["cache-control", "expires", "date", "age"];

async function answered({ index, validator, headers, error }: IndexAnswer): Promise<Answer> {
  if (error) throw fromWire(error);
  return { ...(index && { index }), validator, header: (name) => headers[name] };
}

const NO_HEADERS = (): undefined => undefined;

/** A registry. Called by the engine. */
export class Origin {
  /** Its address. */
  readonly id: string;
  readonly #registry: URL;
  readonly #name: string;
  /** What comes is kept by us: a second copy in the browser's own cache has no use. */
  readonly #kept: boolean;
  readonly #transfers = new Set<Transfer>();
  /** An answer that was asked for before the engine was there. */
  #expected: { reference: string; validator: string | undefined; answer: Promise<Answer> } | undefined;
  #stopped: TwinferError | undefined;

  /** `reference` is any of the model: OCI registries have a place for each name. */
  constructor(registry: URL, reference: string, kept: boolean) {
    this.id = registry.href;
    this.#registry = registry;
    this.#name = nameOf(reference);
    this.#kept = kept;
  }

  /** One index answers all references of a static host; an OCI registry has none. */
  indexKey(reference: string): string {
    return this.isOci ? (reference.split("@", 1)[0] ?? "") : "";
  }

  /** The engine will want the index: it is asked for now, or was answered elsewhere. */
  expect(reference: string, given?: IndexAnswer): void {
    const answer = given ? answered(given) : this.#ask(reference, undefined);
    answer.catch(() => undefined);
    this.#expected = { reference, validator: given?.asked, answer };
  }

  index(reference: string, validator: string | undefined): Promise<Answer> {
    const expected = this.#expected;
    this.#expected = undefined;
    // "The same as before" is an answer only to who knows what was before.
    const fits = expected?.reference === reference && (expected.validator === undefined || expected.validator === validator);
    return fits ? expected.answer : this.#ask(reference, validator);
  }

  /** Asks for the index, in a form that can be sent to another thread. */
  async ask(reference: string, validator: string | undefined): Promise<IndexAnswer> {
    const asked = validator === undefined ? {} : { asked: validator };
    try {
      const { index, validator: next, header } = await this.#ask(reference, validator);
      const headers = Object.fromEntries(HEADERS.flatMap((name) => (header(name) === undefined ? [] : [[name, String(header(name))]])));
      return { ...asked, headers, ...(index && { index }), ...(next !== undefined && { validator: next }) };
    } catch (thrown) {
      const code = thrown instanceof TwinferError ? thrown.code : "network";
      return { ...asked, headers: {}, error: { code, message: describe(thrown), fatal: false } };
    }
  }

  open(digest: string, size: number | undefined, name: string, manifest: boolean, offset: number, anew: boolean): Transfer {
    const url = this.isOci
      ? oci.contentUrl(oci.repository(this.#registry, this.#name), digest, manifest)
      : new URL(`blobs/${digest.replace(":", "/")}`, this.#registry);
    const wanted: Wanted = {
      url,
      what: size === undefined ? `the manifest ${digest}` : `${name} (${digest})`,
      size,
      offset,
      missing: size === undefined ? "unknown_version" : "missing_blob",
      cache: anew ? "reload" : this.#kept ? "no-store" : "default",
      headers: this.isOci ? oci.ACCEPT : {},
    };
    const transfer = new Transfer(wanted, () => this.#transfers.delete(transfer));
    if (this.#stopped) transfer.cancel(this.#stopped);
    this.#transfers.add(transfer);
    return transfer;
  }

  /** Ends every transfer, and everything that is asked from now on. */
  stop(reason: TwinferError): void {
    this.#stopped ??= reason;
    for (const transfer of [...this.#transfers]) transfer.cancel(reason);
  }

  /** It is an OCI registry. */
  get isOci(): boolean {
    return this.#registry.protocol === "oci:";
  }

  async #ask(reference: string, validator: string | undefined): Promise<Answer> {
    if (this.#stopped) throw this.#stopped;
    if (this.isOci) {
      // Made of many answers: the digest of it says whether it is another one.
      const index = await oci.index(oci.repository(this.#registry, reference), undefined);
      const digest = await oci.digestOf(index);
      return digest === validator ? { header: NO_HEADERS } : { index, validator: digest, header: NO_HEADERS };
    }
    return this.beside("index.json", "the index of the registry", MAX_INDEX_BYTES, "not_found", validator);
  }

  /** A small file of the registry that may change: asked for with the validator of what is known of it. */
  async beside(path: string, what: string, size: number, missing: ErrorCode, validator: string | undefined): Promise<Answer> {
    if (this.#stopped) throw this.#stopped;
    const transfer = new Transfer(
      { url: new URL(path, this.#registry), what, size, offset: 0, missing, cache: "no-store", headers: {}, validator },
      () => this.#transfers.delete(transfer),
    );
    this.#transfers.add(transfer);
    try {
      await transfer.begin();
      const header = (name: string): string | undefined => transfer.header(name);
      if (transfer.unchanged) return { header };
      return { index: await transfer.all(size + 1), validator: header("etag"), header };
    } finally {
      transfer.cancel();
    }
  }
}

interface Wanted {
  url: URL;
  /** For people. */
  what: string;
  size: number | undefined;
  offset: number;
  missing: ErrorCode;
  cache: RequestCache;
  headers: Record<string, string>;
  validator?: string | undefined;
}

/** Content on its way. */
export class Transfer {
  /** The answer is the one that the validator came with. */
  unchanged = false;
  readonly #wanted: Wanted;
  readonly #abort = new AbortController();
  readonly #ended: () => void;
  #reason: TwinferError | undefined;
  #response: Response | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  #file: NodeFile | undefined;
  #at = 0;
  #page = false;

  constructor(wanted: Wanted, ended: () => void) {
    this.#wanted = wanted;
    this.#ended = ended;
  }

  /** Opens it, and says at which byte it begins. */
  async begin(): Promise<number> {
    const { url, offset } = this.#wanted;
    if (url.protocol === "file:") {
      await this.#openFile();
      this.#at = offset;
    } else {
      const response = await this.#request();
      this.#response = response;
      this.unchanged = response.status === 304;
      this.#at = response.status === 206 ? begins(response, offset) : 0;
      this.#reader = response.body?.getReader();
    }
    return this.#at;
  }

  header(name: string): string | undefined {
    return this.#response?.headers.get(name) ?? undefined;
  }

  /** The next bytes; nothing at the end. */
  async next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const piece = this.#file ? await this.#readFile(this.#file) : await this.#read();
    this.#checkPage(piece);
    this.#at += piece?.length ?? 0;
    return piece;
  }

  /** All of it, but not much more than the limit: who checks it sees that it is too long. */
  async all(limit: number): Promise<Uint8Array<ArrayBuffer>> {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let length = 0;
    for (let piece = await this.next(); piece; piece = length > limit ? undefined : await this.next()) {
      pieces.push(piece);
      length += piece.length;
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  }

  cancel(reason?: TwinferError): void {
    this.#reason ??= reason;
    this.#ended();
    this.#abort.abort();
    this.#reader?.cancel().catch(() => undefined);
    this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  async #request(): Promise<Response> {
    const { url, what, missing, offset, validator, cache } = this.#wanted;
    const headers = { ...this.#wanted.headers, ...(offset > 0 && { range: `bytes=${offset}-` }) };
    const conditional = validator === undefined ? undefined : { ...headers, "if-none-match": validator };
    const ask = (headers: Record<string, string>): Promise<Response> =>
      request(url, what, missing, { headers, cache, signal: this.#abort.signal }, conditional ? [304] : []);
    try {
      try {
        return await ask(conditional ?? headers);
      } catch (error) {
        // Another origin may refuse the condition, which it must be asked about first (CORS).
        if (!conditional || url.origin === globalThis.location?.origin || !(error as Error).cause) throw error;
        return await ask(headers);
      }
    } catch (error) {
      throw this.#reason ?? error;
    }
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return (await this.#reader?.read())?.value;
    } catch (error) {
      const { what, url } = this.#wanted;
      throw this.#reason ?? new TwinferError("network", `${what}: the transfer from ${url} broke off: ${describe(error)}`, { cause: error });
    }
  }

  /**
   * A server that answers every address with its page, with status 200, is the most common
   * mistake in front of a registry. What has the right length is left to the digest: a wrong
   * content type alone does no harm.
   */
  #checkPage(piece: Uint8Array | undefined): void {
    const { what, url, size, missing } = this.#wanted;
    // Whoever reads these says so himself.
    if (missing === "not_found" || missing === "unknown_deployment") return;
    if (this.#at === 0 && piece) this.#page = /^text\/html/i.test(this.header("content-type") ?? "") && piece.find((byte) => byte > 0x20) === 0x3c;
    const after = this.#at + (piece?.length ?? 0);
    if (!this.#page || (size !== undefined && (piece ? after <= size : after === size))) return;
    const code = size === undefined ? "digest_mismatch" : "size_mismatch";
    throw new TwinferError(code, `${what}: ${url} is an HTML page instead of the registry's file; check the address`);
  }

  async #openFile(): Promise<void> {
    const { what, url, missing } = this.#wanted;
    const files = nodeFiles();
    if (!files) throw new TwinferError("invalid_reference", `${what}: a page cannot read files; give an address with http or https`);
    try {
      this.#file = await files.open(url);
    } catch (error) {
      const code = (error as { code?: unknown }).code === "ENOENT" ? missing : "storage";
      throw new TwinferError(code, `${what}: ${describe(error)}`, { cause: error });
    }
  }

  async #readFile(file: NodeFile): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const piece = new Uint8Array(PIECE);
    const { bytesRead } = await file.read(piece, 0, PIECE, this.#at);
    return bytesRead === 0 ? undefined : piece.subarray(0, bytesRead);
  }
}

/** Where a part begins. Another origin's header may be hidden: then as it was asked for. */
function begins(response: Response, asked: number): number {
  const range = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  if (range) return Number(range[1]);
  if (response.type === "cors") return asked;
  throw new TwinferError("network", "the server gave a part without saying which (Content-Range)");
}
