import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DOUBLED, LIMIT, MODEL, PREFIX, TRIPLED, gone, known, page, server } from "../support/kept.js";
import { send } from "../support/site.js";

/** A model that follows its tag, in a real browser. */

describe("following a tag", () => {
  for (const thread of ["worker", "main"] as const) {
    test(`a moved tag is taken over, and no call is lost: ${thread}`, LIMIT, async () => {
      server.intercept = (_, response, path) => {
        if (path !== "/move") return false;
        known.registry.point("record:stable", known.two);
        response.end("moved");
        return true;
      };
      const evaluated = page.evaluate(async (thread) => {
        const { loadModel } = await window.twinfer;
        const model = await loadModel("/registry/record:stable", { thread });
        const before = await model.update();
        await fetch("/move");
        const answers: [digest: string, first: unknown][] = [];
        let going = true;
        let failed = 0;
        const one = async (): Promise<string | undefined> => {
          try {
            const answer = await model.predict({ record: { a: 1, b: 2 } });
            answers.push([answer.prediction.digest, answer["doubled"]]);
            return answer.prediction.digest;
          } catch {
            failed++;
            return undefined;
          }
        };
        const caller = async (): Promise<void> => {
          while (going) {
            await Promise.all([one(), one(), one()]);
            // On the page's own thread nothing else would have its turn.
            await new Promise((resolve) => setTimeout(resolve));
          }
        };
        const callers = [caller(), caller()];
        const after = await model.update();
        const { digest, version, layers, config } = model;
        const last = await one();
        going = false;
        await Promise.all(callers);
        const { passed } = await model.selfTest();
        await model.close();
        return { before, after, digest, version, config: config.version, layers: layers.length, failed, answers, last, passed };
      }, thread);
      const seen = await evaluated;
      assert.deepEqual(seen.before, { status: "current", digest: known.one, version: "1.0.0" });
      assert.deepEqual(seen.after, { status: "updated", digest: known.two, version: "2.0.0", previous: known.one });
      assert.deepEqual([seen.digest, seen.version, seen.config, seen.failed, seen.passed], [known.two, "2.0.0", "2.0.0", 0, 1]);
      // Each answer is of the package that it names.
      for (const [digest, doubled] of seen.answers) assert.deepEqual(doubled, digest === known.one ? DOUBLED : TRIPLED);
      assert.deepEqual(new Set(seen.answers.map(([digest]) => digest)), new Set([known.one, known.two]));
      assert.equal(seen.last, known.two);
      for (let tries = 0; page.workers().length > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(page.workers().length, 0);
      // What rollback needs is not removed to make room.
      const kept = await page.evaluate(async () => {
        const { cache } = await window.twinfer;
        await cache.prune(0);
        return (await cache.ls()).packages.map(({ digest, pinned }) => [digest, pinned]);
      });
      assert.deepEqual(new Map(kept as [string, boolean][]), new Map([[known.one, true], [known.two, true]]));
    });
  }

  test("a package whose golden examples fail is refused, and the old one stays", LIMIT, async () => {
    server.intercept = (_, response, path) => {
      if (path !== "/move") return false;
      known.registry.point("record:stable", known.bad);
      response.end("moved");
      return true;
    };
    const seen = page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record:stable");
      await fetch("/move");
      const update = await model.update();
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      const { digest } = model;
      await model.close();
      // Nor does a later load take it, whatever the index says.
      const heard: string[] = [];
      const later = await loadModel("/registry/record:stable", { policy: "online", onProgress: ({ status }) => heard.push(status) });
      const loadedLater = { digest: later.digest, heldBack: heard.includes("held-back") };
      await later.close();
      return { update, doubled, digest, loadedLater };
    });
    const { update, doubled, digest, loadedLater } = await seen;
    assert.deepEqual(loadedLater, { digest: known.one, heldBack: true });
    assert.deepEqual([update.status, update.error?.code, update.digest], ["refused", "self_test_failed", known.one]);
    assert.match(update.error?.message ?? "", /1 of 1 golden examples.*`small`/);
    assert.deepEqual([doubled, digest], [DOUBLED, known.one]);
  });

  test("nobody to ask, and a newer package that is not whole", LIMIT, async () => {
    let mode = "";
    server.intercept = (request, response, path) => {
      if (path === "/gone" || path === "/damaged") {
        mode = path;
        known.registry.point("record:stable", known.two);
        response.end("now");
        return true;
      }
      if (mode === "/gone") return gone(request, response, path);
      if (mode !== "/damaged" || path !== MODEL(known.two)) return false;
      send(response, new Uint8Array(known.registry.files.get(path.slice(PREFIX.length))?.length ?? 0));
      return true;
    };
    const made = page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const model = await loadModel("/registry/record:stable");
      await fetch("/gone");
      const unreachable = await model.update();
      await fetch("/damaged");
      const refused = await model.update();
      const aborted = await model.update({ signal: AbortSignal.abort() }).catch((error: { code: string }) => error.code);
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      await model.close();
      const closed = await model.update().catch((error: { code: string }) => error.code);
      return { unreachable, refused, aborted, doubled, closed };
    });
    const { unreachable, refused, aborted, doubled, closed } = await made;
    assert.deepEqual([unreachable.status, unreachable.error?.code, unreachable.digest], ["unreachable", "network", known.one]);
    assert.deepEqual([refused.status, refused.error?.code, refused.digest], ["refused", "digest_mismatch", known.one]);
    assert.deepEqual([aborted, doubled, closed], ["aborted", DOUBLED, "closed"]);
  });
});
