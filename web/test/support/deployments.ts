/** Deployment documents for tests. */
import type { Deployment } from "../../generated/types.js";

export interface Share {
  digest: string;
  weight: number;
  name?: string;
  version?: string;
}

/** The first is the primary; the others are candidates. */
export function deployment(name: string, revision: number, shares: readonly Share[], alias = "stable"): Deployment {
  const variants = shares.map(({ digest, weight, name, version = "1.0.0" }, at) => {
    const role = at === 0 ? ("primary" as const) : ("candidate" as const);
    return { name: name ?? role, version, digest, weight, role };
  });
  const status = { phase: "promoted" as const, step: 0, since: 0 };
  return { format_version: 1, name, alias, revision, variants, sticky: { header: "X-Twinfer-Key", salt: name }, strategy: { kind: "all_at_once" }, status } as Deployment;
}
