import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { deployment } from "../support/deployments.js";
import type { Share } from "../support/deployments.js";
import { known, page, server } from "../support/kept.js";

/**
 * A hundred releases and rollbacks under constant load, followed by two models of a page: nothing fails, and every
 * answer names a package that was live when it was given.
 */

/** Each has a canary, its promotion, and two rollbacks. */
const ROUNDS = 25;
const [LOW, HIGH] = ["user-1", "user-3"];

/** An answer: what it says of itself and what it is; the documents (by number of publication) that it can be of. */
type Seen = [key: string, digest: string, version: string, variant: string, revision: number, first: number, from: number, to: number];

describe("a hundred releases and rollbacks", () => {
  test("no prediction fails, and each names a version that was live", { timeout: 300_000 }, async () => {
    const [one, two] = [known.one, known.two];
    /** Every document that was published, in order. */
    const published: string[] = [];
    let revision = 0;
    const publish = (text: string): void => {
      published.push(text);
      known.registry.files.set("deployments/record.json", new TextEncoder().encode(text));
    };
    const write = (shares: readonly Share[]): string => JSON.stringify(deployment("record", ++revision, shares));
    const stack = [write([{ digest: one, weight: 10_000, version: "1.0.0" }])];
    publish(stack[0] ?? "");
    server.intercept = (_, response, path) => {
      if (path === "/canary") stack.push(write([{ digest: one, weight: 8_000, version: "1.0.0" }, { digest: two, weight: 2_000, version: "2.0.0", name: "canary" }]));
      else if (path === "/promote") stack.push(write([{ digest: two, weight: 10_000, version: "2.0.0" }]));
      // The former document, byte for byte.
      else if (path === "/rollback") stack.pop();
      else return false;
      const text = stack.at(-1) ?? "";
      publish(text);
      response.end(String((JSON.parse(text) as { revision: number }).revision));
      return true;
    };
    const { seen, failed, moves, refused } = await page.evaluate(
      async ([rounds, low, high]) => {
        const { loadModel } = await window.twinfer;
        const seen: Seen[] = [];
        const failed: string[] = [];
        let [moves, refused, count, followed, going] = [0, 0, 1, 0, true];
        const models = await Promise.all(
          [low, high].map((assignmentKey) =>
            loadModel("/registry/record@stable", { assignmentKey, pollSeconds: 0.05, onRelease: ({ status }) => void (status === "updated" ? moves++ : refused++) }),
          ),
        );
        const caller = async (model: (typeof models)[number], key: string): Promise<void> => {
          while (going) {
            const from = followed;
            try {
              const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
              const { digest, version, variant = "", revision = 0 } = prediction;
              seen.push([key, digest, version, variant, revision, (doubled as number[][])[0]?.[0] ?? 0, from, count - 1]);
            } catch (error) {
              failed.push(String(error));
            }
            await new Promise((resolve) => setTimeout(resolve, 2));
          }
        };
        const callers = [0, 1, 2, 3, 4, 5].map((at) => caller(models[at % 2] as (typeof models)[number], at % 2 === 0 ? low : high));
        for (let round = 0; round < rounds; round++) {
          for (const command of ["canary", "promote", "rollback", "rollback"]) {
            // From now on an answer may be of the next document.
            count++;
            const revision = Number(await (await fetch(`/${command}`)).text());
            while (models.some(({ release }) => release?.revision !== revision)) await new Promise((resolve) => setTimeout(resolve, 5));
            followed = count - 1;
          }
        }
        going = false;
        await Promise.all(callers);
        for (const model of models) await model.close();
        return { seen, failed, moves, refused };
      },
      [ROUNDS, LOW, HIGH] as const,
    );
    assert.equal(published.length, 1 + 4 * ROUNDS);
    assert.deepEqual([failed, refused], [[], 0]);
    // Each document moved one of the two models.
    assert.equal(moves, 4 * ROUNDS);
    const documents = published.map((text) => JSON.parse(text) as ReturnType<typeof deployment>);
    for (const [key, digest, version, variant, revision, first, from, to] of seen) {
      assert.deepEqual([first, version], digest === one ? [2, "1.0.0"] : [3, "2.0.0"]);
      const live = documents.slice(from, to + 1).some((document) => Number(document.revision) === revision && document.variants.some((one) => one.name === variant && one.digest === digest && one.version === version));
      assert.ok(live, `${key} got ${version} as ${variant} of ${revision} between the documents ${from} and ${to}`);
    }
    for (const key of [LOW, HIGH]) assert.deepEqual(new Set(seen.filter(([of]) => of === key).map(([, digest]) => digest)), new Set([one, two]));
    console.log(`${seen.length} predictions during ${published.length - 1} releases and rollbacks, 0 failed`);
  });
});
