/**
 * Whether an engine of a registry may run under a trust policy. It is decided here, with the
 * browser's own cryptography: before it there is no engine that could decide. The rules are those
 * of `TrustPolicy::engine_signers` in `twinfer-package`; what this does not understand of a policy
 * makes it choose no engine of a registry.
 */
import { TwinferError } from "./errors.js";
import type { DerivedEngine } from "./generated/types.js";

/** What a policy demands of engines of packages of one name. */
export interface Terms {
  /** Those that may sign engines. */
  keys: [name: string, pem: string][];
  revoked: ReadonlySet<string>;
  /** Nothing is demanded but signatures: no version, no signed tags, nothing is revoked. */
  plain: boolean;
  /** Signed tags are looked at, where there are any. */
  tags: boolean;
}

type Fields = Record<string, unknown>;

const POLICY = ["format_version", "keys", "rules", "default", "revoked"];
const RULE = ["names", "keys", "engine_keys", "unsigned", "minimum_version", "signed_tags", "minimum_counter"];

/** The terms for a name; nothing where the policy is not understood. */
export function termsFor(policy: string, name: string): Terms | undefined {
  try {
    const { format_version, keys = {}, rules = [], revoked = [] } = only(POLICY, JSON.parse(policy));
    if (format_version !== 1 || !Array.isArray(rules) || !Array.isArray(revoked)) return undefined;
    const rule = rules.map((one) => only(RULE, one)).find(({ names }) => fits(String(names), name)) ?? {};
    const { keys: packages = [], engine_keys = [], minimum_version, signed_tags = "optional", minimum_counter = 0 } = rule;
    const pemOf = (key: unknown): string => String(only(["public_key"], (keys as Fields)[String(key)])["public_key"]);
    const accepted = (engine_keys as unknown[]).map((key): [string, string] => [String(key), pemOf(key)]);
    const plain = minimum_version === undefined && signed_tags === "optional" && minimum_counter === 0 && revoked.length === 0;
    return { keys: accepted, revoked: new Set(revoked.map(String)), plain, tags: (packages as unknown[]).length > 0 };
  } catch {
    // The engine says what is wrong with it.
    return undefined;
  }
}

function only(known: readonly string[], fields: unknown): Fields {
  if (typeof fields !== "object" || fields === null || !Object.keys(fields).every((field) => known.includes(field))) throw new Error("another format");
  return fields as Fields;
}

/** Whether a name fits a pattern in which `*` stands for any characters, also none. */
export function fits(pattern: string, name: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  const tail = rest.pop();
  if (tail === undefined) return name === pattern;
  if (name.length < head.length + tail.length || !name.startsWith(head) || !name.endsWith(tail)) return false;
  // Each part as early as possible leaves the most for the next ones.
  let at = head.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - tail.length;
}

/** An envelope by its digest, from wherever it is. */
export type GetEnvelope = (digest: string) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * The keys of the policy that signed an engine.
 *
 * @throws TwinferError `revoked_package`, `unsigned_package`: at once, before anything is asked for.
 * The promise fails with `untrusted_key`, `invalid_signature`, or what `get` fails with.
 */
export function engineSigners(engine: DerivedEngine, terms: Terms, get: GetEnvelope): Promise<string[]> {
  const { digest, signatures = [] } = engine;
  if (terms.revoked.has(digest)) throw new TwinferError("revoked_package", `the trust policy revokes the engine ${digest}`);
  if (signatures.length === 0) throw new TwinferError("unsigned_package", "the engine is not signed");
  return signers(engine, terms, get);
}

/** As many as `MAX_SIGNATURES` of `twinfer-package`. */
const MAX_SIGNATURES = 32;

/** One good signature is enough. Without one, one that claims a key of the policy and is wrong is an error. */
async function signers(engine: DerivedEngine, terms: Terms, get: GetEnvelope): Promise<string[]> {
  const { signatures = [] } = engine;
  const importing = Promise.all(terms.keys.map(([name, pem]) => imported(name, pem)));
  const judged = signatures.slice(0, MAX_SIGNATURES).map(async (digest) => signer(envelopeOf(await get(digest)), await importing, engine));
  const outcomes = await Promise.allSettled(judged);
  const names = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" && outcome.value !== undefined ? [outcome.value] : []));
  if (names.length > 0) return [...new Set(names)].sort();
  const wrong = outcomes.find((outcome) => outcome.status === "rejected");
  if (wrong) throw wrong.reason;
  throw new TwinferError("untrusted_key", "the engine is signed by no key that the trust policy accepts for engines of this name");
}

/** DSSE v1 (`envelope.md`). */
interface Envelope {
  payloadType: string;
  payload: Uint8Array<ArrayBuffer>;
  signatures: { sig: Uint8Array<ArrayBuffer>; keyid: string }[];
}

const PAYLOAD = "application/vnd.twinfer.engine.config.v1+json";

function envelopeOf(json: Uint8Array): Envelope {
  try {
    const { payloadType, payload, signatures } = JSON.parse(new TextDecoder().decode(json)) as Record<string, unknown>;
    const of = (one: unknown): Envelope["signatures"][number] => {
      const { sig, keyid } = one as Fields;
      return { sig: bytesOf(sig), keyid: String(keyid ?? "") };
    };
    return { payloadType: String(payloadType), payload: bytesOf(payload), signatures: (signatures as unknown[]).slice(0, MAX_SIGNATURES).map(of) };
  } catch (error) {
    throw new TwinferError("invalid_signature", "the signature of the engine is malformed", { cause: error });
  }
}

function bytesOf(base64: unknown): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64 as string), (character) => character.charCodeAt(0));
}

/** A key of the policy, ready to verify with. */
interface Key {
  name: string;
  key: CryptoKey;
  hash: string;
  /** Bytes of a coordinate. */
  size: number;
  /** The name of the key in signatures. */
  hint: string;
}

/** The curves, each with the hash that goes with it. */
const CURVES = [
  ["P-256", "SHA-256", 32],
  ["P-384", "SHA-384", 48],
] as const;

async function imported(name: string, pem: string): Promise<Key> {
  const [, base64 = ""] = /-----BEGIN PUBLIC KEY-----([^-]*)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const spki = bytesOf(base64.replace(/\s/g, ""));
  for (const [namedCurve, hash, size] of CURVES) {
    const key = await crypto.subtle.importKey("spki", spki, { name: "ECDSA", namedCurve }, false, ["verify"]).catch(() => undefined);
    if (key) return { name, key, hash, size, hint: await hintOf(base64) };
  }
  throw new TwinferError("invalid_policy", `the key \`${name}\` of the trust policy is none that this browser reads`);
}

/** The SHA-256 of the key in PEM, as the OpenSSF's tool writes it. */
async function hintOf(base64: string): Promise<string> {
  const lines = base64.replace(/\s/g, "").replace(/.{64}(?=.)/g, "$&\n");
  const pem = new TextEncoder().encode(`-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n`);
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", pem)));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The key of the policy that made one of the signatures; nothing where none of them did. */
async function signer({ payloadType, payload, signatures }: Envelope, keys: readonly Key[], engine: DerivedEngine): Promise<string | undefined> {
  if (payloadType !== PAYLOAD) throw new TwinferError("invalid_signature", `the signed payload is \`${payloadType}\`, expected ${PAYLOAD}`);
  const message = preAuthEncoding(payloadType, payload);
  let named = false;
  for (const { sig, keyid } of signatures) {
    for (const { name, key, hash, size, hint } of keys) {
      if (keyid !== "" && keyid !== hint) continue;
      named ||= keyid !== "";
      const raw = rawSignature(sig, size);
      if (!raw || !(await crypto.subtle.verify({ name: "ECDSA", hash }, key, raw, message))) continue;
      if (isOver(payload, engine)) return name;
      throw new TwinferError("invalid_signature", "the signature is over another engine, or over one that was made for other packages");
    }
  }
  if (named) throw new TwinferError("invalid_signature", "the signature of the engine does not verify with the key that it names: the engine or the signature was changed");
  return undefined;
}

/** What is signed (DSSE `protocol.md`, "PAE"). */
function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `);
  const message = new Uint8Array(head.length + payload.length);
  message.set(head);
  message.set(payload, head.length);
  return message;
}

function isOver(payload: Uint8Array, { signatures: _, ...engine }: DerivedEngine): boolean {
  const signed = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
  return canonical(signed) === canonical(engine);
}

/** The same text for the same content, in whatever order its fields are. */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join()}}`;
}

/** A signature as the browser wants it, two numbers of a fixed length, from DER (RFC 3279, 2.2.3). */
export function rawSignature(der: Uint8Array, size: number): Uint8Array<ArrayBuffer> | undefined {
  const raw = new Uint8Array(2 * size);
  // No signature of these curves is so long that its length takes more than a byte.
  if (der[0] !== 0x30 || der[1] !== der.length - 2) return undefined;
  let at = 2;
  for (const end of [size, 2 * size]) {
    const length = der[at + 1] ?? 0;
    if (der[at] !== 0x02 || length === 0 || at + 2 + length > der.length) return undefined;
    // A positive number begins with a zero where its first bit would be taken for a sign.
    const digits = der.subarray(at + 2 + (der[at + 2] === 0 ? 1 : 0), at + 2 + length);
    if (digits.length > size) return undefined;
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  return at === der.length ? raw : undefined;
}
