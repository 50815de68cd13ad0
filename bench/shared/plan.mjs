// What a measure works with. `cargo xtask bench` builds everything and writes it down as
// `target/bench/plan.json`; after that each measure also runs alone: `node bench/measures/X.mjs`.
//   --plan FILE   another plan
//   --quick       fewer rounds: shows that it works, its numbers are not for the document
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    plan: { type: "string", default: fileURLToPath(new URL("../../target/bench/plan.json", import.meta.url)) },
    quick: { type: "boolean", default: false },
  },
});
if (!existsSync(values.plan)) throw new Error(`${values.plan} is missing: cargo xtask bench --only prepare writes it`);

/**
 * @type {{ commit: string, machine: string, profile: string, quick: boolean, program: string, meter: string, component: string, web: string,
 *   registry: string, cases: string, browser: string, python: string,
 *   rivals?: Record<string, { path?: string, missing?: string }>, outside: string, trees: string, turns: string,
 *   derived: { name: string, path?: string, missing?: string, registry?: string }[] }}
 */
export const plan = JSON.parse(readFileSync(values.plan, "utf8"));
export const quick = values.quick || plan.quick;
/** Where results go, and what a measure leaves for the next run. */
export const work = dirname(resolve(values.plan));

/** A derived artifact, `{ path }`, or `{ missing }` with the reason in a sentence. */
export function derived(name) {
  return plan.derived.find((one) => one.name === name) ?? { missing: `nothing makes ${name}` };
}

/** Says in the result and on the terminal that something was not measured. */
export function skipped(what, why) {
  console.log(`SKIPPED ${what}: ${why}`);
  return { skipped: why };
}

/** Writes the results of a measure, of which build they are, and on what they were measured. */
export function write(name, results) {
  const when = new Date().toISOString().slice(0, 10);
  const of = { commit: plan.commit, when, machine: plan.machine, profile: plan.profile, quick };
  writeFileSync(join(work, `${name}.json`), `${JSON.stringify({ ...of, ...results }, null, 2)}\n`);
}
