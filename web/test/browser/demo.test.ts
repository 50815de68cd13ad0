import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { DIST } from "../support/server.js";
import { pack, serveModels } from "../support/twinfer.js";
import type { Server } from "../support/twinfer.js";

/** The page, the component on its host, and the real packages: as a visitor has them. */
let browser: Browser;
let server: Server;
let folder: string;
let page: Page;
let complaints: string[];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-demo-"));
  pack(["face-detector", "file-type", "tumour-risk"], folder);
  server = await serveModels(folder, join(DIST, "demo"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  ({ page, complaints } = await openPage(browser, `${server.origin}/`));
});

afterEach(() => page.context().close());

const verdict = (id: string): string => `#${id} [data-verdict]`;

/** Waits until a panel says what the server said. */
async function compared(id: string, expected = "yes, to the last bit"): Promise<void> {
  await page.locator(verdict(id), { hasText: expected }).waitFor({ timeout: 60_000 });
}

describe("the demo page", () => {
  test("every model answers as the server does, at both widths, and nothing is wider than the window", async () => {
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      for (const [tab, id] of [["Faces", "faces"], ["File type", "files"], ["Tumour risk", "tumour"]] as const) {
        await page.getByRole("tab", { name: tab }).click();
        await compared(id);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${tab} at ${width}`);
        assert.match(await page.locator(`#${id} [data-digest]`).innerText(), /^sha256:[0-9a-f]{64}$/);
      }
    }
    assert.deepEqual(complaints, []);
  });

  test("samples are one click away", async () => {
    await compared("faces");
    await page.getByRole("button", { name: "no face" }).click();
    await page.getByText("No face found.").waitFor();
    await compared("faces");
    await page.getByRole("tab", { name: "File type" }).click();
    await page.getByRole("button", { name: "CSV" }).click();
    await page.locator("#files .big", { hasText: "csv" }).waitFor();
    await compared("files");
    await page.getByRole("tab", { name: "Tumour risk" }).click();
    await page.getByRole("button", { name: "surely malignant" }).click();
    await page.locator("#tumour .big", { hasText: "malignant" }).waitFor();
    await compared("tumour");
  });

  test("all of it works by keyboard", async () => {
    await compared("faces");
    await page.getByRole("tab", { name: "Faces" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await compared("tumour");
    // Into the panel, to the first sample.
    const sample = page.getByRole("button", { name: "surely benign" });
    for (let steps = 0; steps < 5; steps++) {
      if (await sample.evaluate((element) => element === document.activeElement)) break;
      await page.keyboard.press("Tab");
    }
    assert(await sample.evaluate((element) => element === document.activeElement), "the first sample is within five steps");
    await page.keyboard.press("Enter");
    await page.locator("#tumour .big", { hasText: "benign" }).waitFor();
    const outline = await sample.evaluate((element) => getComputedStyle(element).outlineStyle);
    assert.equal(outline, "solid", "where the focus is can be seen");
  });

  test("a dropped file is looked at", async () => {
    await page.getByRole("tab", { name: "File type" }).click();
    await compared("files");
    await page.locator("#files [data-drop]").evaluate((zone) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["fn main() {\n    let v: Vec<u8> = Vec::new();\n    println!(\"{}\", v.len());\n}\n".repeat(8)], "main.rs"));
      zone.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
    });
    await page.getByText("main.rs,").waitFor();
    await page.locator("#files .big", { hasText: "rust" }).waitFor();
    await compared("files");
  });

  test("what is no picture gets its code, and the next picture its answer", async () => {
    await compared("faces");
    await page.locator("#faces [data-file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.locator("#faces [data-error]", { hasText: "invalid_picture" }).waitFor();
    await page.getByRole("button", { name: "six faces" }).click();
    await page.getByText("6 faces found").waitFor();
    await compared("faces");
    assert(await page.locator("#faces [data-error]").isHidden());
  });

  test("the server is asked only where the visitor wants it", async () => {
    await compared("faces");
    const asked: string[] = [];
    page.on("request", (request) => request.method() === "POST" && asked.push(request.url()));
    await page.locator("#faces [data-ask]").uncheck();
    await page.getByRole("button", { name: "six faces" }).click();
    await page.getByText("6 faces found").waitFor();
    await compared("faces", "not asked");
    assert.deepEqual(asked, []);
  });

  test("without a server the page still answers, and says that nobody else did", async () => {
    await compared("faces");
    await page.route("**/v2/**", (route) => route.abort());
    await page.getByRole("button", { name: "six faces" }).click();
    await page.getByText("6 faces found").waitFor();
    await compared("faces", "no answer");
  });

  test("an answer of the server that differs in the last bit is seen", async () => {
    await compared("faces");
    await page.route("**/v2/**", async (route) => {
      const response = await route.fetch();
      const body = (await response.json()) as { outputs: { boxes: { score: number }[] } };
      const first = body.outputs.boxes[0];
      if (first) first.score += 2 ** -53;
      await route.fulfill({ response, json: body });
    });
    await page.getByRole("button", { name: "six faces" }).click();
    await page.locator(verdict("faces"), { hasText: /^no$/ }).waitFor();
  });

  test("its golden examples come out right in the page", async () => {
    await page.getByRole("tab", { name: "Tumour risk" }).click();
    await compared("tumour");
    await page.locator("#tumour").getByRole("button", { name: "golden examples" }).click();
    const result = page.locator("#tumour [data-self-result]", { hasText: "as they should be" });
    await result.waitFor();
    const [passed, , all] = (await result.innerText()).split(" ");
    assert.equal(passed, all);
  });

  test("every control has a name", async () => {
    await page.getByRole("tab", { name: "Tumour risk" }).click();
    await compared("tumour");
    const nameless = await page.evaluate(() => {
      const named = (element: Element): boolean => {
        const { labels } = element as HTMLInputElement;
        return Boolean(element.getAttribute("aria-label") || element.textContent?.trim() || labels?.[0]?.textContent?.trim());
      };
      return [...document.querySelectorAll("button, input, select, textarea, canvas, meter, progress")].filter((element) => !named(element)).map((element) => element.outerHTML);
    });
    assert.deepEqual(nameless, []);
  });
});
