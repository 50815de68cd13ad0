import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { complaintsOf, launch } from "../support/browser.js";
import { DIST } from "../support/server.js";
import { pack, serveModels, twinfer } from "../support/twinfer.js";
import type { Server } from "../support/twinfer.js";

/** The page that the component itself brings, on the real host. */
let browser: Browser;
let server: Server;
let folder: string;
let page: Page;
let complaints: string[];

const SOUND = fileURLToPath(new URL("../../../../models/sound-type/sounds/sweep-32-bit.wav", import.meta.url));
const PICTURE = fileURLToPath(new URL("../../../../models/face-detector/pictures/faces.png", import.meta.url));

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-console-"));
  pack(["face-detector", "file-type", "sound-type", "text-language", "tumour-risk"], folder);
  server = await serveModels(folder, join(DIST, "demo"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  page = await (await browser.newContext()).newPage();
  complaints = complaintsOf(page);
  await page.goto(`${server.origin}/console`);
  await page.locator("main .pill.good").waitFor({ timeout: 60_000 });
});

afterEach(() => page.context().close());

async function open(model: string): Promise<void> {
  await page.locator("[data-models]").getByRole("button", { name: model }).click();
  await page.locator("main h2", { hasText: model }).waitFor();
  await page.getByRole("button", { name: "Predict" }).waitFor();
}

/** How often a model was asked, as the page shows it. */
async function countOf(model: string): Promise<number> {
  const row = page.locator("[data-traffic] tbody tr", { hasText: model });
  if ((await row.count()) === 0) return 0;
  const cells = await row.first().locator("td").allInnerTexts();
  return Number(cells[2]) + Number(cells[3]);
}

function key(scopes: readonly string[]): { key: string; settings: unknown } {
  return JSON.parse(twinfer(["api-key", "--id", scopes.join("-"), "--scopes", scopes.join(","), "--json"])) as ReturnType<typeof key>;
}

describe("the console", () => {
  test("it shows the models, with nothing to complain about, and nothing is wider than the window", async () => {
    assert.deepEqual(await page.locator("[data-models] button").evaluateAll((all) => all.map((one) => one.firstChild?.textContent)), ["face-detector", "file-type", "sound-type", "text-language", "tumour-risk"]);
    assert.match(await page.locator("[data-digest]").innerText(), /^sha256:[0-9a-f]{64}$/);
    assert.equal(await page.locator("[data-ready]").innerText(), "ready");
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      for (const model of ["face-detector", "sound-type", "text-language", "tumour-risk"]) {
        await open(model);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${model} at ${width}`);
      }
    }
    assert.deepEqual(complaints, []);
  });

  test("a picture is answered, with boxes drawn over it, and counted", async () => {
    await open("face-detector");
    await page.locator("main input[type=file]").setInputFiles(PICTURE);
    await page.locator("[data-big]", { hasText: "6 boxes" }).waitFor({ timeout: 60_000 });
    await page.locator("canvas[data-drawn='6']").waitFor();
    const green = await page.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
      const data = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at] === 34 && data[at + 1] === 197 && data[at + 2] === 94) count += 1;
      return count;
    });
    assert(green > 100, `${green} pixels of boxes`);
    assert.match(await page.locator("[data-fact='answered by']").innerText(), /face-detector 1\.0\.0 sha256:/);
    assert.match((await page.locator("[data-curl]").textContent()) ?? "", /--data-binary '@faces\.png'/);
    assert.deepEqual(complaints, []);
  });

  test("a sound is answered, and what is none has its code", async () => {
    await open("sound-type");
    await page.locator("main input[type=file]").setInputFiles(SOUND);
    await page.locator("[data-big]", { hasText: "sweep" }).waitFor({ timeout: 60_000 });
    assert.match((await page.locator("[data-curl]").textContent()) ?? "", /--data-binary '@sweep-32-bit\.wav'/);
    await page.locator("main input[type=file]").setInputFiles({ name: "a.wav", mimeType: "audio/wav", buffer: Buffer.from("no sound") });
    await page.getByRole("alert").filter({ hasText: "invalid_audio" }).waitFor();
  });

  test("a text is written, and an example is filled in", async () => {
    await open("text-language");
    await page.getByLabel("A text").fill("Where is the station, and what is the time?");
    await page.getByRole("button", { name: "Predict" }).click();
    await page.locator("[data-big]", { hasText: "en" }).waitFor({ timeout: 60_000 });
    await page.getByLabel("Golden example of the package").selectOption({ label: "german" });
    await page.locator("[data-big]", { hasText: "de" }).waitFor();
    assert.match(await page.getByLabel("A text").inputValue(), /^Ich weiß nicht/);
    assert.match((await page.locator("[data-curl]").textContent()) ?? "", /content-type: text\/plain/);
    assert.deepEqual(complaints, []);
  });

  test("a record is filled in, changed and answered as the server does", async () => {
    await open("tumour-risk");
    await page.getByLabel("Golden example of the package").selectOption({ index: 1 });
    await page.locator("[data-big]").waitFor({ timeout: 60_000 });
    await page.getByLabel("worst radius", { exact: true }).fill("");
    await page.getByRole("button", { name: "Predict" }).click();
    const curl = page.locator("[data-curl]");
    await page.waitForFunction(() => document.querySelector("[data-curl]")?.textContent?.includes("worst radius") === false);
    const body = /-d '(.*)'$/s.exec((await curl.textContent()) ?? "")?.[1] ?? "";
    const response = await fetch(`${server.origin}/v2/models/tumour-risk/predict`, { method: "POST", body, headers: { "content-type": "application/json" } });
    const { outputs } = (await response.json()) as { outputs: { label: string } };
    assert.equal(await page.locator("[data-big]").innerText(), outputs.label);
    assert.deepEqual(complaints, []);
  });

  test("what is no number is refused before it is sent, and an error of the server has its code", async () => {
    await open("tumour-risk");
    await page.getByLabel("worst radius", { exact: true }).fill("much");
    await page.getByRole("button", { name: "Predict" }).click();
    await page.getByRole("alert").filter({ hasText: "worst radius: much is no number" }).waitFor();
    await open("face-detector");
    await page.locator("main input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.getByRole("alert").filter({ hasText: "invalid_picture" }).waitFor();
  });

  test("a text with a parameter, and the traffic shows it", async () => {
    await open("file-type");
    await page.getByLabel("or a text").fill("#!/bin/sh\nset -eu\nfor f in *; do\n  echo \"$f\"\ndone\n");
    await page.getByLabel("prediction_mode").selectOption("best_guess");
    await page.getByRole("button", { name: "Predict" }).click();
    await page.locator("[data-big]", { hasText: "shell" }).waitFor({ timeout: 60_000 });
    assert.match((await page.locator("[data-curl]").textContent()) ?? "", /prediction_mode=best_guess/);
    const row = page.locator("[data-traffic] tbody tr", { hasText: "file-type" });
    await row.waitFor({ timeout: 60_000 });
    assert.match(await row.innerText(), /file-type\s+1\.0\.0\s+[1-9]\d*\s+\d+/);
    assert.match(await page.locator("[data-source]").innerText(), /^All requests to this host/);
    assert.deepEqual(complaints, []);
  });

  test("where the server wants a key, it asks for one, and sends it", async () => {
    const key = "a-key-of-the-tests";
    await page.route("**/v2/**", async (route) => {
      if (route.request().headers()["x-api-key"] === key) return route.continue();
      return route.fulfill({ status: 401, json: { error: "this needs credentials", code: "unauthorized" } });
    });
    await page.reload();
    await page.getByRole("alert").filter({ hasText: "this needs credentials" }).waitFor();
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Use it" }).click();
    await page.locator("main .pill.good").waitFor({ timeout: 60_000 });
    assert(await page.locator("[data-failure]").isHidden());
  });

  test("the traffic is that of all instances, whatever protocol was spoken", async () => {
    // More at once than one instance serves, and one in another protocol.
    const body = JSON.stringify({ instances: ["QQ=="].map((b64) => ({ b64 })) });
    const ask = (): Promise<Response> => fetch(`${server.origin}/v1/models/file-type:predict`, { method: "POST", body, headers: { "content-type": "application/json" } });
    const before = await countOf("file-type");
    const answers = await Promise.all(Array.from({ length: 20 }, ask));
    assert.equal(answers.length, 20);
    await page.reload();
    await page.locator("main .pill.good").waitFor({ timeout: 60_000 });
    await page.locator("[data-traffic] tbody tr", { hasText: "file-type" }).waitFor({ timeout: 60_000 });
    assert.equal(await countOf("file-type"), before + 20);
  });

  test("who may not see the metrics is shown one instance's figures, and told so", async () => {
    const [reader, watcher] = [key(["predict"]), key(["predict", "metrics"])];
    const access = join(folder, "access.json");
    writeFileSync(access, JSON.stringify({ open: ["page"], keys: [reader.settings, watcher.settings] }));
    const guarded = await serveModels(folder, join(DIST, "demo"), ["--access", access, "--instances", "1"]);
    try {
      await page.goto(`${guarded.origin}/console`);
      const source = page.locator("[data-source]");
      for (const [{ key: secret }, told] of [[reader, /^(Nothing was asked yet\. )?Requests to the one instance/], [watcher, /^(Nothing was asked yet\. )?All requests to this host/]] as const) {
        await page.getByRole("alert").waitFor();
        await page.getByLabel("API key").fill(secret);
        await page.getByRole("button", { name: "Use it" }).click();
        await page.locator("main .pill.good").waitFor({ timeout: 60_000 });
        await page.waitForFunction((wanted) => new RegExp(wanted).test(document.querySelector("[data-source]")?.textContent ?? ""), told.source);
        assert.match(await source.innerText(), told);
        await page.reload();
      }
    } finally {
      await guarded.close();
    }
  });

  test("every control has a name", async () => {
    for (const model of ["face-detector", "file-type", "tumour-risk"]) {
      await open(model);
      const nameless = await page.evaluate(() => {
        const named = (element: Element): boolean => {
          const { labels } = element as HTMLInputElement;
          return Boolean(element.getAttribute("aria-label") || element.textContent?.trim() || labels?.[0]?.textContent?.trim());
        };
        return [...document.querySelectorAll("button, input, select, textarea, canvas, meter")].filter((element) => !named(element)).map((element) => element.outerHTML);
      });
      assert.deepEqual(nameless, []);
    }
  });
});
