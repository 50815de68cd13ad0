/** Signs engines as `twinfer sign --engines` does, and writes trust policies. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { DerivedEngine, TrustPolicy } from "../../generated/types.js";

const PAYLOAD = "application/vnd.twinfer.engine.config.v1+json";

export interface Signer {
  readonly pem: string;
  /** The envelope around an engine. */
  envelope(engine: DerivedEngine): Uint8Array<ArrayBuffer>;
}

/** A key on P-256: a new one, or one in PEM. */
export function signer(pem?: string): Signer {
  const privateKey: KeyObject = pem === undefined ? generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey : createPrivateKey(pem);
  const publicPem = String(createPublicKey(privateKey).export({ type: "spki", format: "pem" }));
  const keyid = createHash("sha256").update(publicPem).digest("hex");
  const envelope = (engine: DerivedEngine): Uint8Array<ArrayBuffer> => {
    const payload = JSON.stringify(engine);
    const sig = sign("SHA-256", Buffer.from(`DSSEv1 ${PAYLOAD.length} ${PAYLOAD} ${Buffer.byteLength(payload)} ${payload}`), privateKey);
    const json = { payload: Buffer.from(payload).toString("base64"), payloadType: PAYLOAD, signatures: [{ sig: sig.toString("base64"), keyid }] };
    return new TextEncoder().encode(JSON.stringify(json));
  };
  return { pem: publicPem, envelope };
}

/** A policy with one rule for all names, which accepts packages and engines by this key. */
export function policyOf({ pem }: Pick<Signer, "pem">, rule: object = {}): TrustPolicy {
  return { format_version: 1, keys: { release: { public_key: pem } }, rules: [{ names: "*", keys: ["release"], engine_keys: ["release"], ...rule }] };
}
