import assert from "node:assert/strict";
import { TwinferError } from "twinfer";
import type { ErrorCode } from "twinfer";

/** Waits for a failure with this code, and gives it. */
export async function fails(work: Promise<unknown>, code: ErrorCode, message?: RegExp): Promise<TwinferError> {
  try {
    await work;
  } catch (error) {
    assert(error instanceof TwinferError, `not a TwinferError: ${error}`);
    assert.equal(error.code, code, error.message);
    if (message) assert.match(error.message, message);
    return error;
  }
  assert.fail(`expected a failure with the code ${code}`);
}
