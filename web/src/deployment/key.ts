/** Who a page is, for the assignment to a variant: what the application says, or a random number. */

import { TwinferError } from "../errors.js";
import type { DeploymentOptions } from "../releases.js";

const NAME = "twinfer-assignment-key";
/** A longer one is a mistake, and goes into a header. */
const MAX_LENGTH = 1024;

/** For as long as the page lives: all its models are one visitor. */
let own: string | undefined;

export function assignmentKey({ assignmentKey: given, keepAssignmentKey: keep = false }: DeploymentOptions): string {
  if (given === undefined) return keep ? keptKey() : (own ??= random());
  if (typeof given === "string" && given !== "" && given.length <= MAX_LENGTH) return given;
  throw new TwinferError("invalid_request", `assignmentKey is a text of at most ${MAX_LENGTH} characters, and not an empty one`);
}

function keptKey(): string {
  try {
    const known = globalThis.localStorage?.getItem(NAME);
    own = known ?? own ?? random();
    if (known === null) globalThis.localStorage.setItem(NAME, own);
  } catch {
    // Storage that is switched off: as long as the page lives.
    own ??= random();
  }
  return own;
}

/** Not `randomUUID`, which pages without HTTPS lack. */
function random(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
