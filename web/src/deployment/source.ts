/**
 * Where the document comes from: `deployments/NAME.json` beside the index of the registry, by the policies of
 * `twinfer-cache` and in its form, so that `cache` looks after what is kept. Asked for before there is an engine.
 */

import { TwinferError, describe } from "../errors.js";
import type { Deployment } from "../generated/types.js";
import { freshness, keyOf, usable } from "../lookup.js";
import type { Head } from "../lookup.js";
import type { Plan } from "../load.js";
import { digestOf } from "../oci.js";
import type { Answer } from "../origin.js";
import { Origin } from "../origin.js";
import { nameOf } from "../registry.js";
import type { Storage } from "../storage/storage.js";
import { openStorage } from "../storage/storage.js";
import type { Lookup, Policy } from "../types.js";
import { MAX_DEPLOYMENT_BYTES, readDeployment } from "./document.js";

/** Milliseconds for which a newer answer is waited for where there is an old one, and else: as `twinfer-cache`. */
const PATIENCE = 5_000;
const STALL = 30_000;
/** Before the second attempt. */
const PAUSE = 250;

export interface Found {
  document: Deployment;
  source: Lookup;
}

/** A document with what is known of it. */
interface Known {
  head: Head;
  document: Deployment;
  bytes: Uint8Array<ArrayBuffer>;
}

export class DeploymentSource {
  readonly #registries: URL[];
  readonly #name: string;
  readonly #keep: Plan["keep"];
  /** Where there is no storage: as long as the model lives. */
  #memory: Known | undefined;

  constructor({ source, mirrors, keep }: Plan) {
    this.#registries = [source.registry, ...mirrors];
    this.#name = nameOf(source.reference);
    this.#keep = keep;
    if (this.#registries.every(({ protocol }) => protocol === "oci:")) {
      throw new TwinferError("invalid_reference", `OCI registries have no deployments: follow a tag (${this.#name}:stable), or give a registry on a web host`);
    }
  }

  /**
   * The document. `online` asks first; what is known is used where nobody answers.
   *
   * @throws TwinferError `unknown_deployment`; `network` and what else is wrong, where nothing is known.
   */
  async find(policy: Policy, unreachable: (error: TwinferError) => void): Promise<Found> {
    return this.#stored(async (storage) => {
      const known = await this.#known(storage);
      const held = known && policy !== "online" ? usable(known.head, policy) : undefined;
      if (known && held) return { document: known.document, source: held };
      if (policy === "offline") throw new TwinferError("network", `the deployment of \`${this.#name}\` is not in the storage, and the registry must not be asked: load it once with the network`);
      try {
        return { document: await this.#ask(known, storage), source: "registry" };
      } catch (thrown) {
        const error = thrown instanceof TwinferError ? thrown : new TwinferError("network", describe(thrown), { cause: thrown });
        if (!known || !UNANSWERED.has(error.code)) throw error;
        unreachable(error);
        return { document: known.document, source: "last-good" };
      }
    });
  }

  /** What was refused for this reference before, and what is used instead. */
  async noted(reference: string): Promise<{ active?: string; refused?: string | null }> {
    return this.#stored(async (storage) => {
      const document = await storage?.document(await keyOf("references", this.#registries[0]?.href ?? "", reference)).catch(() => undefined);
      return document ? (JSON.parse(new TextDecoder().decode(document)) as { active?: string; refused?: string | null }) : {};
    }).catch(() => ({}));
  }

  async #stored<T>(work: (storage: Storage | undefined) => Promise<T>): Promise<T> {
    const keep = this.#keep;
    const storage = keep === false ? undefined : await openStorage(keep === true ? undefined : keep);
    try {
      return await work(storage);
    } finally {
      storage?.close();
    }
  }

  get #path(): string {
    return `deployments/${encodeURIComponent(this.#name)}.json`;
  }

  #key(): Promise<string> {
    return keyOf("indexes", this.#registries[0]?.href ?? "", this.#path);
  }

  /** What is damaged is as if it were not there. */
  async #known(storage: Storage | undefined): Promise<Known | undefined> {
    if (this.#memory) return this.#memory;
    try {
      const kept = await storage?.document(await this.#key());
      const line = kept?.indexOf(0x0a) ?? -1;
      if (!kept || line < 0) return undefined;
      const head = JSON.parse(new TextDecoder().decode(kept.subarray(0, line))) as Head;
      const bytes = kept.slice(line + 1);
      if (head.format_version !== 1 || head.digest !== (await digestOf(bytes))) return undefined;
      return { head, bytes, document: readDeployment(bytes, this.#name) };
    } catch {
      return undefined;
    }
  }

  async #ask(known: Known | undefined, storage: Storage | undefined): Promise<Deployment> {
    let problem: unknown;
    for (const attempt of known ? [0] : [0, 1]) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, PAUSE));
      for (const registry of this.#registries) {
        if (registry.protocol === "oci:") continue;
        try {
          return await this.#askOne(registry, known, storage);
        } catch (error) {
          // One that refuses says more than one that is not there.
          if (problem === undefined || (error instanceof TwinferError && !UNANSWERED.has(error.code))) problem = error;
        }
      }
      const { code } = (problem ?? {}) as { code?: unknown };
      if (code !== "network" && code !== "timeout") break;
    }
    throw problem;
  }

  async #askOne(registry: URL, known: Known | undefined, storage: Storage | undefined): Promise<Deployment> {
    const origin = new Origin(registry, this.#name, false);
    const validator = known?.head.from === origin.id ? (known.head.validator ?? undefined) : undefined;
    const limit = known ? PATIENCE : STALL;
    const late = setTimeout(() => origin.stop(new TwinferError("timeout", `the registry did not answer within ${limit} ms`)), limit);
    let answer: Answer;
    try {
      answer = await origin.beside(this.#path, `the deployment of \`${this.#name}\``, MAX_DEPLOYMENT_BYTES, "unknown_deployment", validator);
    } finally {
      clearTimeout(late);
    }
    const bytes = answer.index ? (answer.index as Uint8Array<ArrayBuffer>) : known?.bytes;
    if (!bytes) throw new TwinferError("network", "the registry says that the deployment has not changed, but was asked for all of it");
    const document = readDeployment(bytes, this.#name);
    const { keep, ...fresh } = freshness(answer.header);
    const validatorNow = answer.index ? answer.validator : known?.head.validator;
    const head: Head = { format_version: 1, digest: await digestOf(bytes), from: origin.id, validator: validatorNow ?? null, checked: Date.now(), ...fresh };
    await this.#keepIt({ head, bytes, document }, keep, storage);
    return document;
  }

  async #keepIt(known: Known, keep: boolean, storage: Storage | undefined): Promise<void> {
    // The engine of another tab may have removed it: what is stored counts, where there is a storage.
    this.#memory = storage ? undefined : known;
    if (!storage) return;
    try {
      const key = await this.#key();
      if (!keep) return await storage.removeDocument(key);
      const line = new TextEncoder().encode(`${JSON.stringify(known.head)}\n`);
      await storage.setDocument(key, new Uint8Array(await new Blob([line, known.bytes]).arrayBuffer()));
    } catch (error) {
      this.#memory = known;
      console.warn(`twinfer: the deployment of ${this.#name} is not kept: ${describe(error)}`);
    }
  }
}

/** Nobody who could know has answered: none of these takes the place of the last good document. */
const UNANSWERED: ReadonlySet<string> = new Set(["network", "timeout", "not_found", "unknown_deployment", "storage", "invalid_deployment", "unsupported_format_version"]);
