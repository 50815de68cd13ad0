import { TwinferError } from "./errors.js";
import { read } from "./fetch.js";

/**
 * OCI registries, as far as a page can read them: anonymously, and where the registry answers
 * with CORS headers. What a static host has in `index.json` is asked for here, and put into the
 * same form, so that the engine sees no difference.
 */

/** A registry whose address is `oci://host/prefix/`, and a model in it. */
export interface Repository {
  /** `https://host/v2/prefix/name/` */
  api: URL;
  name: string;
  tag: string | undefined;
  digest: string | undefined;
}

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const TAGS = "twinfer-tags";
/** The limits of `twinfer-package` and `twinfer-registry`. */
const MAX_MANIFEST_BYTES = 4 << 20;
const MAX_TAGS = 10_000;

/** What registries hold as manifests: they have another address than blobs. */
const manifests = new Set<string>();

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

export function repository(registry: URL, reference: string): Repository {
  const [full = "", digest] = reference.split("@", 2);
  const [name = "", tag] = full.split(":", 2);
  // As everywhere: without TLS only on this machine.
  const local = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry.host);
  const path = `/v2${registry.pathname}${encodeURIComponent(name)}/`;
  return { api: new URL(path, `${local ? "http" : "https"}://${registry.host}`), name, tag, digest };
}

/** The address of content. */
export function contentUrl({ api }: Repository, digest: string, manifest: boolean): URL {
  return new URL(`${manifest || manifests.has(digest) ? "manifests" : "blobs"}/${digest}`, api);
}

/** What a registry that speaks of manifests only must be asked with. */
export const ACCEPT = { Accept: `${MANIFEST}, ${INDEX}` };

/** An index with what a reference points to, and what is attached to that. */
export async function index(repository: Repository, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const { name, digest } = repository;
  const tag = repository.tag ?? (digest === undefined ? await highest(repository, signal) : undefined);
  const entries: Descriptor[] = [];
  const add = (found: Found | undefined, entryTag: string | undefined): void => {
    if (!found) return;
    const { descriptor } = found;
    entries.push(entryTag === undefined ? descriptor : { ...descriptor, annotations: { "org.opencontainers.image.ref.name": `${name}:${entryTag}` } });
  };
  const wanted = digest ?? tag;
  const found = wanted === undefined ? undefined : await manifest(repository, `manifests/${wanted}`, signal);
  add(found, tag);
  if (found) {
    const list = found.descriptor.digest.replace(":", "-");
    const [attached, tags] = await Promise.all([
      manifest(repository, `referrers/${found.descriptor.digest}`, signal).then((api) => api ?? manifest(repository, `manifests/${list}`, signal)),
      manifest(repository, `manifests/${TAGS}`, signal),
    ]);
    for (const child of attached?.children ?? []) manifests.add(child);
    add(attached, list);
    add(tags, TAGS);
  }
  const json = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: entries });
  return new TextEncoder().encode(json);
}

/** The digest of what a reference points to, without what is attached to it. */
export async function resolved(repository: Repository, signal: AbortSignal | undefined): Promise<string | undefined> {
  const tag = repository.tag ?? (await highest(repository, signal));
  return tag === undefined ? undefined : (await manifest(repository, `manifests/${tag}`, signal))?.descriptor.digest;
}

interface Found {
  descriptor: Descriptor;
  children: string[];
}

/** A manifest by its tag or digest; nothing where there is none. */
async function manifest({ api }: Repository, path: string, signal: AbortSignal | undefined): Promise<Found | undefined> {
  const url = new URL(path, api);
  const bytes = await orNothing(read({ url, what: `the manifest ${url.pathname}`, limit: MAX_MANIFEST_BYTES, missing: "not_found", signal, cache: "no-cache", headers: ACCEPT }));
  if (!bytes) return undefined;
  // It is the engine that checks content; here a digest has to be found, which the registry's
  // header would have, but is seldom let through to a page.
  const digest = await digestOf(bytes);
  const json = parse(url, bytes);
  manifests.add(digest);
  const { mediaType = MANIFEST, artifactType } = json as { mediaType?: string; artifactType?: string };
  const children = ((json as { manifests?: { digest?: unknown }[] }).manifests ?? []).map((child) => String(child?.digest));
  return { descriptor: { mediaType, digest, size: bytes.length, ...(artifactType !== undefined && { artifactType }) }, children };
}

export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!globalThis.crypto?.subtle) {
    throw new TwinferError("network", "a page reads OCI registries only when it came over HTTPS or from this machine");
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function parse(url: URL, bytes: Uint8Array): object {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new TwinferError("invalid_manifest", `${url} is not JSON`, { cause: error });
  }
  if (typeof json !== "object" || json === null) throw new TwinferError("invalid_manifest", `${url} is not a manifest`);
  return json;
}

async function orNothing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof TwinferError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** The highest release among the tags, or the highest pre-release where there is no release. */
async function highest({ api }: Repository, signal: AbortSignal | undefined): Promise<string | undefined> {
  const tags: string[] = [];
  // Page after page; some registries give all of them every time.
  for (let last = ""; tags.length < MAX_TAGS; ) {
    const url = new URL(`tags/list?n=1000${last && `&last=${encodeURIComponent(last)}`}`, api);
    const bytes = await orNothing(read({ url, what: "the list of tags", limit: MAX_MANIFEST_BYTES, missing: "not_found", signal, cache: "no-cache" }));
    const page = bytes ? ((parse(url, bytes) as { tags?: unknown[] | null }).tags ?? []) : [];
    const end = String(page.at(-1) ?? "");
    if (end === "" || end === last) break;
    tags.push(...page.map(String));
    last = end;
  }
  return highestOf(tags);
}

/** The rule of `twinfer-package` for a reference without a tag. */
export function highestOf(tags: readonly string[]): string | undefined {
  const versions = tags.filter((tag) => VERSION.test(tag)).sort(compare);
  return versions.filter((tag) => !tag.includes("-")).at(-1) ?? versions.at(-1);
}

const NUMBER = "(?:0|[1-9]\\d*)";
const VERSION = new RegExp(`^${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$`);

/** The order of Semantic Versioning 2.0.0, section 11. */
export function compare(a: string, b: string): number {
  const split = (version: string): [string[], string[]] => {
    const cut = version.indexOf("-");
    return cut < 0 ? [version.split("."), []] : [version.slice(0, cut).split("."), version.slice(cut + 1).split(".")];
  };
  const [[coreA, preA], [coreB, preB]] = [split(a), split(b)];
  const core = parts(coreA, coreB);
  if (core !== 0) return core;
  if (preA.length === 0 || preB.length === 0) return preB.length - preA.length;
  return parts(preA, preB);
}

function parts(a: string[], b: string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x = "", y = ""] = [a[i], b[i]];
    const [numeric, other] = [/^\d+$/.test(x), /^\d+$/.test(y)];
    if (numeric !== other) return numeric ? -1 : 1;
    const order = numeric ? Number(x) - Number(y) : x < y ? -1 : x > y ? 1 : 0;
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
