import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { pageFolder } from "../support/page-folder.js";
import { serveModels, twinfer } from "../support/twinfer.js";
import type { Server } from "../support/twinfer.js";
import type { Versions } from "../support/versions.js";
import { versions } from "../support/versions.js";

/** One release moves page and server together: a real `twinfer serve`, its admin API, and a page that it serves. */

const ROUNDS = 10;

let browser: Browser;
let server: Server;
let folder: string;
let known: Versions;
/** The key of whoever releases. */
let operator: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-releases-"));
  known = versions();
  known.registry.write(join(folder, "registry"));
  const made = JSON.parse(twinfer(["api-key", "--id", "operator", "--scopes", "admin", "--json"])) as { key: string; settings: { sha256: string } };
  operator = made.key;
  const access = join(folder, "access.toml");
  writeFileSync(access, `open = ["page", "packages", "predict"]\n[[keys]]\nid = "operator"\nsha256 = "${made.settings.sha256}"\nscopes = ["admin"]\n`);
  server = await serveModels(join(folder, "registry"), pageFolder(join(folder, "page")), ["--state", "memory", "--access", access]);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true });
});

/** An answer of the page or of the server, and the documents (by number of publication) that it can be of. */
type Seen = [place: string, digest: string, version: string, variant: string, revision: number, first: number, from: number, to: number];

test("page and server follow the same releases, with the same assignment, and nothing fails", { timeout: 300_000 }, async () => {
  const { page, complaints } = await openPage(browser, `${server.origin}/`);
  const { seen, failed, published, moves } = await page.evaluate(async ([rounds, operator]) => {
    const { loadModel } = await window.twinfer;
    const admin = async (method: string, path: string, spec?: object): Promise<string> => {
      const response = await fetch(`/admin/deployments/record${path}`, { method, headers: { "content-type": "application/json", authorization: `Bearer ${operator}` }, ...(spec && { body: JSON.stringify(spec) }) });
      const answer = (await response.json()) as { deployment?: unknown };
      if (!response.ok) throw new Error(JSON.stringify(answer));
      return JSON.stringify(answer.deployment);
    };
    const all = (version: string): object => ({ name: "record", variants: [{ version }] });
    /** In two halves: the key is in the first. */
    const halves = { name: "record", variants: [{ version: "1.0.0", weight: 5000 }, { version: "2.0.0", weight: 5000 }], strategy: { kind: "ab_test" } };
    const [key, seen, failed] = ["user-1", [] as Seen[], [] as string[]];
    const ask = () => fetch("/v2/models/record/predict", { method: "POST", headers: { "content-type": "application/json", "x-twinfer-key": key }, body: '{"a":1,"b":2}' });
    const revisionOf = (text: string | undefined): number => (JSON.parse(text ?? "{}") as { revision: number }).revision;
    const pause = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));
    const served = async (revision: number): Promise<void> => {
      while (Number((await ask()).headers.get("x-twinfer-deployment")) !== revision) await pause(20);
    };
    const published = [await admin("PUT", "", all("1.0.0"))];
    await served(revisionOf(published[0]));
    let [going, followed, count, moves] = [true, 0, 1, 0];
    const model = await loadModel("/registry/record@stable", { assignmentKey: key, pollSeconds: 0.05, onRelease: ({ status }) => void (moves += status === "updated" ? 1 : NaN) });
    const caller = async (place: string, one: () => Promise<[string, string, string, number, number]>): Promise<void> => {
      while (going) {
        const from = followed;
        try {
          const [digest, version, variant, revision, first] = await one();
          seen.push([place, digest, version, variant, revision, first, from, count - 1]);
        } catch (error) {
          failed.push(`${place}: ${String(error)}`);
        }
        await pause(3);
      }
    };
    const here = async (): Promise<[string, string, string, number, number]> => {
      const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
      return [prediction.digest, prediction.version, prediction.variant ?? "", prediction.revision ?? 0, (doubled as number[][])[0]?.[0] ?? 0];
    };
    const there = async (): Promise<[string, string, string, number, number]> => {
      const response = await ask();
      const { outputs, digest, model_version, error } = (await response.json()) as { outputs: { doubled: number[][] }; digest: string; model_version: string; error?: string };
      if (!response.ok) throw new Error(error);
      const { headers } = response;
      return [digest, model_version, headers.get("x-twinfer-variant") ?? "", Number(headers.get("x-twinfer-deployment")), outputs.doubled[0]?.[0] ?? 0];
    };
    const callers = [caller("page", here), caller("page", here), caller("server", there), caller("server", there)];
    for (let round = 0; round < rounds; round++) {
      for (const spec of [round % 2 === 0 ? all("2.0.0") : halves, undefined]) {
        count++;
        published.push(spec ? await admin("PUT", "", spec) : await admin("POST", "/rollback"));
        const revision = revisionOf(published.at(-1));
        await served(revision);
        while (model.release?.revision !== revision) await pause(10);
        followed = count - 1;
      }
    }
    going = false;
    await Promise.all(callers);
    await model.close();
    return { seen, failed, published, moves };
  }, [ROUNDS, operator] as const);
  assert.deepEqual([failed, complaints, moves], [[], [], 2 * ROUNDS]);
  const documents = published.map((text) => JSON.parse(text) as { revision: number; variants: { name: string; digest: string; version: string }[] });
  assert.equal(documents.length, 1 + 2 * ROUNDS);
  for (const [place, digest, version, variant, revision, first, from, to] of seen) {
    assert.deepEqual([first, version], digest === known.one ? [2, "1.0.0"] : [3, "2.0.0"]);
    const live = documents.slice(from, to + 1).some((document) => document.revision === revision && document.variants.some((one) => one.name === variant && one.digest === digest && one.version === version));
    assert.ok(live, `the ${place} gave ${version} as ${variant} of ${revision} between the documents ${from} and ${to}`);
  }
  for (const place of ["page", "server"]) assert.deepEqual(new Set(seen.filter(([of]) => of === place).map(([, digest]) => digest)), new Set([known.one, known.two]));
  console.log(`${seen.length} predictions during ${documents.length - 1} releases and rollbacks of page and server, 0 failed`);
});
