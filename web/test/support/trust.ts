/**
 * Runs the table of the trust policy (made by `tests/`) where this script runs: in Node and in a
 * page the same code. It has no imports but types, so that a page can load it as it is.
 */
import type { loadModel } from "twinfer";

export interface TrustCase {
  id: string;
  registry: string;
  policy: string | null;
  reference: string;
}

export type Decided = { allowed: readonly string[] | null } | "warned" | { refused: string };

export async function runTrust(load: typeof loadModel, base: string, cases: readonly TrustCase[]): Promise<Record<string, Decided>> {
  const decided: Record<string, Decided> = {};
  for (const one of cases) decided[one.id] = await decide(load, base, one);
  return decided;
}

async function decide(load: typeof loadModel, base: string, { registry, policy, reference }: TrustCase): Promise<Decided> {
  try {
    const trust = policy === null ? {} : { trust: `${base}/policies/${policy}.json` };
    const model = await load(`${base}/${registry}/${reference}`, { ...trust, thread: "main" });
    const decision = model.trust;
    await model.close();
    if (decision?.verdict === "warned") return "warned";
    return { allowed: decision?.keys ?? null };
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    return { refused: code ?? `no code: ${message}` };
  }
}
