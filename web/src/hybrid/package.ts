/** What is known of a package where no engine runs: enough to ask a server for exactly that package. */

import { find } from "../choose.js";
import { TwinferError, describe } from "../errors.js";
import type { Descriptor, ModelConfig } from "../generated/types.js";
import type { Plan } from "../load.js";
import { digestOf } from "../oci.js";
import { Origin } from "../origin.js";
import { nameOf } from "../registry.js";
import type { Storage } from "../storage/storage.js";
import { openStorage } from "../storage/storage.js";
import type { Lookup } from "../types.js";

/** A package whose manifest and configuration were read, and have the digests that they must have. */
export interface Known {
  name: string;
  version: string;
  digest: string;
  config: ModelConfig;
  layers: Descriptor[];
  source: Lookup;
}

/** The same limit as in `twinfer-package`. */
const MAX_DOCUMENT_BYTES = 4 << 20;
const TITLE = "org.opencontainers.image.title";

/**
 * Looks the reference up, and reads what the package says of itself.
 *
 * @throws TwinferError where the registry does not say, or what it gives is not what it should be.
 */
export async function knowPackage(plan: Plan): Promise<Known> {
  const { source, policy, keep } = plan;
  if (!globalThis.crypto?.subtle) throw new TwinferError("network", "without HTTPS nothing can be verified here");
  const opening = keep === false ? Promise.resolve(undefined) : openStorage(keep === true ? undefined : keep);
  const storage = await opening;
  try {
    const { digest, source: lookup } = await find({ source, policy, keep: keep !== false }, opening);
    if (digest === undefined) throw new TwinferError("unknown_version", `the registry does not say what ${source.reference} is`);
    const manifest = json(await content(plan, storage, { digest, size: undefined, title: "the manifest" })) as { layers?: Descriptor[] };
    const layers = manifest.layers ?? [];
    const layer = layers.find(({ annotations }) => annotations?.[TITLE] === "twinfer.json");
    if (!layer) throw new TwinferError("invalid_package", `${digest} has no twinfer.json`);
    const config = json(await content(plan, storage, { digest: layer.digest, size: Number(layer.size), title: "twinfer.json" })) as ModelConfig;
    const { name, version } = config;
    if (name !== nameOf(source.reference)) throw new TwinferError("invalid_package", `${digest} is \`${name}\`, not \`${nameOf(source.reference)}\``);
    return { name, version, digest, config, layers, source: lookup ?? "registry" };
  } finally {
    storage?.close();
  }
}

interface Part {
  digest: string;
  size: number | undefined;
  title: string;
}

/** From the storage, or from one registry after the other; verified. */
async function content({ source, mirrors, policy }: Plan, storage: Storage | undefined, { digest, size, title }: Part): Promise<Uint8Array> {
  const kept = await storage?.read(digest.slice("sha256:".length), MAX_DOCUMENT_BYTES).catch(() => undefined);
  if (kept && (await digestOf(kept)) === digest) return kept;
  let problem: unknown = new TwinferError("network", `${title} of ${source.reference} is not in the storage, and must not be asked for`);
  for (const registry of policy === "offline" ? [] : [source.registry, ...mirrors]) {
    const transfer = new Origin(registry, source.reference, true).open(digest, size, title, size === undefined, 0, false);
    try {
      await transfer.begin();
      const bytes = await transfer.all(MAX_DOCUMENT_BYTES + 1);
      if ((await digestOf(bytes)) === digest) return bytes;
      problem = new TwinferError("digest_mismatch", `${title} of ${source.reference} does not have the digest ${digest}`);
    } catch (error) {
      problem = error;
    } finally {
      transfer.cancel();
    }
  }
  throw problem;
}

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new TwinferError("invalid_package", `a document of the package is no JSON: ${describe(error)}`, { cause: error });
  }
}
