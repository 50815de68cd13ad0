import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch } from "../support/browser.js";
import { DIST } from "../support/server.js";
import { pack, serveModels } from "../support/twinfer.js";
import type { Server } from "../support/twinfer.js";

/** The demo page with its service worker, and a server that is there for the first visit only. */
let browser: Browser;
let folder: string;
let server: Server;
let page: Page;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-offline-"));
  pack(["face-detector", "tumour-risk"], folder);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  server = await serveModels(folder, join(DIST, "demo"));
  page = await (await browser.newContext()).newPage();
  await page.goto(`${server.origin}/`);
});

afterEach(async () => {
  await page.context().close();
  await server.close();
});

const kept = (): Promise<void> => page.locator("[data-offline]", { hasText: "Works without a network" }).waitFor({ timeout: 60_000 });
const verdict = (id: string, text: string): Promise<void> => page.locator(`#${id} [data-verdict]`, { hasText: text }).waitFor({ timeout: 60_000 });

describe("without a network", () => {
  test("after one visit the page, the engine and the package are there, and give the same answer", async () => {
    await verdict("faces", "yes, to the last bit");
    const answer = await page.locator("#faces [data-answer]").innerText();
    const digest = await page.locator("#faces [data-digest]").innerText();
    await kept();
    await server.close();

    await page.reload();
    await verdict("faces", "no answer");
    assert.equal(await page.locator("#faces [data-answer]").innerText(), answer);
    assert.equal(await page.locator("#faces [data-digest]").innerText(), digest);
    await page.getByRole("button", { name: "six faces" }).click();
    await page.getByText("6 faces found").waitFor();
  });

  test("a model that was never loaded says what is missing", async () => {
    await kept();
    await server.close();
    await page.goto(`${server.origin}/#tumour`);
    await page.reload();
    await page.locator("#tumour [data-error]", { hasText: "network" }).waitFor();
  });

  test("a visit that was cut off leaves the last whole copy", async () => {
    await kept();
    // The next copy lacks a file that must be there.
    const failure = await page.evaluate(async () => {
      const { keepOffline } = (await import(`${location.origin}/twinfer/offline.js`)) as typeof import("../../offline.js");
      return keepOffline({ serviceWorker: "/sw.js", files: ["/no-such-file"] }).then(
        () => "kept",
        (error: { code: string }) => error.code,
      );
    });
    assert.equal(failure, "network");
    await server.close();
    await page.reload();
    await verdict("faces", "no answer");
  });

  test("with a network the page is the server's, not the copy", async () => {
    await kept();
    const asked: string[] = [];
    page.on("response", (response) => asked.push(new URL(response.url()).pathname));
    await page.reload();
    await verdict("faces", "yes, to the last bit");
    assert(asked.includes("/") && asked.includes("/demo.js"), asked.join(" "));
    const copies = await page.evaluate(async () => (await caches.keys()).filter((name) => name.startsWith("twinfer-page-")));
    assert(copies.length <= 2, copies.join(" "));
  });
});
