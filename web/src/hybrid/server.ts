/** A server that answers for this page: `twinfer serve`, or whatever speaks its protocols. */

import { TwinferError, aborted, describe, isErrorCode } from "../errors.js";
import type { ErrorCode } from "../generated/errors.js";
import type { InputStep, Mode, Signature } from "../generated/types.js";
import type { NamedValue } from "../glue.js";
import { baseUrl } from "../platform.js";
import type { HybridOptions } from "../places.js";
import type { JsonValue } from "../types.js";
import type { WireInput, WireValue } from "../wire.js";
import type { Body } from "./predict.js";
import { predictBody } from "./predict.js";
import { inferBody, inferAnswer, signatureOf } from "./tensors.js";

/** Which package answers: the one that is loaded here, by its digest. */
export interface Pin {
  readonly name: string;
  readonly digest: string;
}

/** An answer to `predict`. */
export interface Predicted {
  outputs: Record<string, JsonValue>;
  digest: string;
  version: string;
  mode: Mode;
  /** Milliseconds that the model took there; 0 where the server does not say. */
  engine: number;
}

const TIMEOUT = 30_000;

export class Server {
  /** Where requests go, for people. */
  readonly address: string;
  readonly #base: URL;
  readonly #options: HybridOptions;
  readonly #timeout: number;

  constructor(options: HybridOptions) {
    const { server, timeoutMs = TIMEOUT } = options;
    this.#base = addressOf(server);
    this.address = this.#base.href;
    this.#options = options;
    this.#timeout = timeoutMs;
  }

  /** The pipeline's own input in, its answer out. */
  async predict(pin: Pin, step: InputStep | undefined, input: WireInput, parameters: object, signal: AbortSignal | undefined): Promise<Predicted> {
    const body = await predictBody(step, input, parameters);
    const response = await this.#post(pin, "predict", body, signal);
    const answer = (await this.#json(response)) as { outputs?: unknown; digest?: unknown; model_version?: unknown; mode?: unknown; timing?: { predict_ms?: unknown } };
    const { outputs, digest, model_version: version, mode, timing } = answer ?? {};
    if (typeof outputs !== "object" || outputs === null || typeof version !== "string") throw this.#odd("the answer has no outputs");
    this.#same(pin, digest);
    const took = Number(timing?.predict_ms ?? 0);
    return { outputs: outputs as Predicted["outputs"], digest: pin.digest, version, mode: mode as Mode, engine: took };
  }

  /** Tensors in, tensors out, in the binary form of the Open Inference Protocol. */
  async run(pin: Pin, values: WireValue[], signature: Signature, signal: AbortSignal | undefined): Promise<{ values: NamedValue[]; version: string }> {
    const response = await this.#post(pin, "infer", inferBody(values), signal);
    const bytes = await this.#read(response, (body) => body.arrayBuffer());
    const { values: outputs, digest, version } = inferAnswer(bytes, response.headers.get("inference-header-content-length"), signature, (what) => this.#odd(what));
    this.#same(pin, digest);
    return { values: outputs, version };
  }

  /** Inputs and outputs of the model, as the protocol has them. */
  async signature(pin: Pin, signal: AbortSignal | undefined): Promise<Signature> {
    return signatureOf(await this.#json(await this.#ask(pin, "", {}, signal)), (what) => this.#odd(what));
  }

  #post(pin: Pin, route: string, { type, query, body, headers }: Body, signal: AbortSignal | undefined): Promise<Response> {
    const said = query === "" ? `/${route}` : `/${route}?${query}`;
    return this.#ask(pin, said, { method: "POST", body, headers: { ...headers, "content-type": type } }, signal);
  }

  async #ask({ name, digest }: Pin, route: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    const { headers = {}, credentials } = this.#options;
    const own = typeof headers === "function" ? await headers() : headers;
    const url = new URL(`v2/models/${encodeURIComponent(name)}/versions/${digest}${route}`, this.#base);
    const ending = this.#ending(signal);
    try {
      const response = await fetch(url, {
        ...init,
        // What the server still computes when nobody waits any more costs others.
        headers: { ...own, "x-request-timeout": String(this.#timeout / 1000), accept: "application/json, application/octet-stream", ...init.headers },
        ...(credentials && { credentials }),
        cache: "no-store",
        signal: ending.signal,
      });
      if (!response.ok) throw await this.#refused(response);
      // Until the body is read, too.
      ending.keep(response);
      return response;
    } catch (thrown) {
      ending.end();
      throw this.#failure(thrown, signal, ending.isLate());
    }
  }

  readonly #endings = new WeakMap<Response, Ending>();

  /** Ends a request when the caller does, or when it takes too long. */
  #ending(caller: AbortSignal | undefined): Ending {
    const abort = new AbortController();
    let late = false;
    const stop = (): void => abort.abort();
    const timer = setTimeout(() => {
      late = true;
      stop();
    }, this.#timeout);
    caller?.addEventListener("abort", stop, { once: true });
    if (caller?.aborted) stop();
    const end = (): void => {
      clearTimeout(timer);
      caller?.removeEventListener("abort", stop);
    };
    const ending: Ending = { signal: abort.signal, caller, end, isLate: () => late, keep: (response) => void this.#endings.set(response, ending) };
    return ending;
  }

  async #json(response: Response): Promise<unknown> {
    const text = await this.#read(response, (body) => body.text());
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.#odd(`the answer is no JSON (${describe(error)})`);
    }
  }

  async #read<T>(response: Response, how: (response: Response) => Promise<T>): Promise<T> {
    const ending = this.#endings.get(response);
    try {
      return await how(response);
    } catch (thrown) {
      throw this.#failure(thrown, ending?.caller, ending?.isLate() ?? false);
    } finally {
      ending?.end();
    }
  }

  /** What a status says, in the words of the server where it is one of ours. */
  async #refused(response: Response): Promise<TwinferError> {
    const { status, statusText } = response;
    const said = (await response.json().catch(() => undefined)) as { error?: unknown; code?: unknown } | undefined;
    const message = typeof said?.error === "string" ? said.error : `status ${status} ${statusText}`.trimEnd();
    return new TwinferError(isErrorCode(said?.code) ? said.code : codeOf(status), `the server ${this.address}: ${message}`);
  }

  #failure(thrown: unknown, caller: AbortSignal | undefined, late: boolean): TwinferError {
    if (thrown instanceof TwinferError) return thrown;
    if (caller?.aborted) return aborted(caller);
    if (late) return new TwinferError("timeout", `the server ${this.address} did not answer within ${this.#timeout} ms`);
    return new TwinferError("network", `the server ${this.address} could not be asked: ${describe(thrown)}`, { cause: thrown });
  }

  #same({ name, digest }: Pin, got: unknown): void {
    if (got === digest) return;
    throw new TwinferError("digest_mismatch", `the server ${this.address} answered with the package ${String(got)} of ${name}, not with ${digest}`);
  }

  #odd(what: string): TwinferError {
    return new TwinferError("network", `the server ${this.address} is none that answers for this package: ${what}`);
  }
}

interface Ending {
  signal: AbortSignal;
  caller: AbortSignal | undefined;
  end(): void;
  isLate(): boolean;
  keep(response: Response): void;
}

function addressOf(server: string | URL): URL {
  try {
    const url = new URL(server, baseUrl());
    if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`${url.protocol} addresses are not asked`);
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return url;
  } catch (error) {
    throw new TwinferError("invalid_request", `hybrid.server is not the address of a server: ${String(server)}`, { cause: error });
  }
}

/** What a status without a code of ours means. */
function codeOf(status: number): ErrorCode {
  const codes: Readonly<Record<number, ErrorCode>> = { 400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 408: "timeout", 413: "body_too_large", 415: "unsupported_media_type", 429: "rate_limited", 503: "overloaded", 504: "timeout", 507: "out_of_memory" };
  return codes[status] ?? "network";
}
