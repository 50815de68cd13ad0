import type { ErrorCode } from "./generated/errors.js";
import { ERROR_CODES } from "./generated/errors.js";

/**
 * Every error of this package: a stable `code` for programs (the same as in Rust and in the
 * answers of the server), a `message` for people that says what was expected, what came, and
 * what to do.
 */
export class TwinferError extends Error {
  override readonly name = "TwinferError";
  /** What went wrong, stable across versions. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error as it crosses from the engine or a worker. */
export interface WireError {
  code: ErrorCode;
  message: string;
  /** The instance is not usable any more: the engine stopped in the middle of a call. */
  fatal: boolean;
}

/** An error after which its engine must be replaced. */
export class EngineStopped extends TwinferError {}

/** An engine that could not be had: another device would fail in the same way, a server would not. */
export class EngineUnavailable extends TwinferError {}

export function fromWire(error: WireError): TwinferError {
  return new (error.fatal ? EngineStopped : TwinferError)(error.code, error.message);
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERROR_CODES, value);
}

/** The text of anything that was thrown. */
export function describe(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The error for a signal that was aborted; its reason is the `cause`. */
export function aborted(signal: AbortSignal): TwinferError {
  return new TwinferError("aborted", "the caller cancelled it", { cause: signal.reason });
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** Waits for `work`, but not longer than the signal allows. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  throwIfAborted(signal);
  let stop = (): void => {};
  const cancelled = new Promise<never>((_, reject) => {
    stop = () => reject(aborted(signal));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, cancelled]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
