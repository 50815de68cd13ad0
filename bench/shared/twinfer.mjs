// `twinfer serve` for the measures, and requests to it.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { start } from "./host.mjs";
import { post } from "./load.mjs";
import { plan, work } from "./plan.mjs";
import { samplesOf, wireOf } from "./samples.mjs";

const help = spawnSync(plan.program, ["serve", "--help"], { encoding: "utf8" }).stdout ?? "";

/** Why instances cannot be chosen here; nothing where they can. */
export const noFreshInstances = /--instances[^\n]*(fresh|<MODE>)|possible values:[^\]]*fresh/.test(help)
  ? undefined
  : "this build of `twinfer serve` has no `--instances fresh`";

/**
 * @param {{ component: string, name: string, registry?: string, instances?: string, cache?: string, ready?: string | Function }} what
 *   `instances`: `fresh` or `warm`, with how many in front (`8,fresh`); `cache`: the folder of compiled components;
 *   `ready`: as in `start`.
 */
export function serve({ component, name, registry = plan.registry, instances, cache = join(work, "compiled"), ready = "/v2/health/ready" }) {
  const args = ["--registry", registry, "--component", component, "--no-page", "--cache", cache, "--log-level", "warn"];
  return start({
    program: plan.program,
    args: (port) => ["serve", "--listen", `127.0.0.1:${port}`, ...args, ...(instances ? ["--instances", instances] : [])],
    ready,
    logs: join(work, "logs"),
    name: `serve-${name}`,
  });
}

/** A request for a prediction with the first example of a sample model. */
export function predictRequest(reference) {
  const sample = samplesOf(plan.cases).find((one) => one.reference === reference);
  const { type, body } = wireOf(sample);
  const [name, version] = reference.split(":");
  const query = new URLSearchParams(sample.parameters).toString();
  return post(`/v2/models/${name}/versions/${version}/predict${query && `?${query}`}`, type, body);
}

/** The models of several sizes, as `models/sized.py` left them. */
export function sizedSamples() {
  const list = join(work, "sized/samples.json");
  if (!existsSync(list)) return [];
  return JSON.parse(readFileSync(list, "utf8")).samples;
}

/** A request to one of them. */
export function inferRequest({ reference, infer }) {
  const [name, version] = reference.split(":");
  return post(`/v2/models/${name}/versions/${version}/infer`, "application/json", JSON.stringify(infer));
}
