/**
 * The deployment document, as far as a page depends on it. `twinfer-deploy` checks all of it, where it is written and
 * where a server reads it. Which variant a key is assigned is decided here a second time, because in a page it is
 * decided before there is an engine: the engine is chosen by the digest. `tests/data/deployment-assignment.json` holds
 * both to the same answers.
 */

import { TwinferError, describe } from "../errors.js";
import type { Deployment, DeploymentVariant } from "../generated/types.js";

/** The limit of `twinfer-deploy`. */
export const MAX_DEPLOYMENT_BYTES = 64 << 10;
/** The basis points of everything. */
const ALL = 10_000;
const FORMAT = 1;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** @throws TwinferError `invalid_deployment`, `unsupported_format_version` */
export function readDeployment(bytes: Uint8Array, name: string): Deployment {
  const refuse = (what: string): never => {
    throw new TwinferError("invalid_deployment", `the deployment of \`${name}\`: ${what}`);
  };
  if (bytes.length > MAX_DEPLOYMENT_BYTES) refuse(`it has more than ${MAX_DEPLOYMENT_BYTES} bytes`);
  const { format_version: format, ...rest } = parsed(bytes, refuse);
  if (format !== FORMAT) throw new TwinferError("unsupported_format_version", `the deployment of \`${name}\` has the format ${String(format)}; this version reads ${FORMAT}: update Twinfer`);
  const { variants, sticky } = rest;
  if (rest.name !== name) refuse(`it is the one of \`${String(rest.name)}\``);
  if (typeof rest.alias !== "string" || !Number.isSafeInteger(rest.revision)) refuse("it has no alias or no revision");
  if (typeof sticky?.header !== "string" || typeof sticky.salt !== "string") refuse("`sticky` has a header and a salt");
  if (!Array.isArray(variants) || !variants.every(isVariant)) refuse("each variant has a name, a version, a digest, a weight in basis points and a role");
  if (variants.filter(({ role }) => role === "primary").length !== 1) refuse("exactly one variant is the primary");
  const sum = variants.reduce((sum, { weight }) => sum + weight, 0);
  if (sum !== ALL) refuse(`the weights sum to ${sum}, not to ${ALL}`);
  return { format_version: format, ...rest };
}

function parsed(bytes: Uint8Array, refuse: (what: string) => never): Deployment {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    // A server that answers every address with its page is the most common mistake.
    const page = bytes.find((byte) => byte > 0x20) === 0x3c;
    refuse(page ? "it is an HTML page; check the address" : `it is no JSON: ${describe(error)}`);
  }
  if (typeof json !== "object" || json === null) refuse("it is no object");
  return json as Deployment;
}

function isVariant(variant: Partial<Record<keyof DeploymentVariant, unknown>> | null): boolean {
  const { name, version, digest, weight, role } = variant ?? {};
  const named = typeof name === "string" && typeof version === "string" && DIGEST.test(String(digest));
  return named && Number.isInteger(weight) && Number(weight) >= 0 && Number(weight) <= ALL && ["primary", "candidate", "standby"].includes(String(role));
}

/**
 * The bucket of a key, from 0 to 9,999: the first 8 bytes (big endian) of SHA-256 over the salt, a zero byte and the
 * key, modulo 10,000.
 */
export async function bucketOf(salt: string, key: string): Promise<number> {
  if (!globalThis.crypto?.subtle) throw new TwinferError("network", "a page follows deployments only when it came over HTTPS or from this machine: the browser hashes nothing otherwise");
  const text = new TextEncoder().encode(`${salt}\0${key}`);
  const hash = new DataView(await globalThis.crypto.subtle.digest("SHA-256", text));
  return Number(hash.getBigUint64(0) % BigInt(ALL));
}

/**
 * The variant of a bucket. Candidates have the buckets from 0 on, in their order, and the primary has the rest: so a
 * candidate that grows keeps whom it had.
 */
export function variantAt({ variants }: Deployment, bucket: number): DeploymentVariant {
  let end = 0;
  for (const variant of variants) {
    if (variant.role === "primary") continue;
    end += variant.weight;
    if (bucket < end) return variant;
  }
  const primary = variants.find(({ role }) => role === "primary");
  if (!primary) throw new TwinferError("invalid_deployment", "the deployment has no primary");
  return primary;
}
