/** The server and the page of the tests of what a page keeps, and what they do again and again. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { after, afterEach, before, beforeEach } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { LoadOptions, Place, Progress } from "twinfer";
import { launch, openPage } from "./browser.js";
import type { Handler, Site } from "./server.js";
import { DIST, serve } from "./server.js";
import type { Versions } from "./versions.js";
import { host, versions } from "./versions.js";

export let known: Versions;
let browser: Browser;
export let site: Site;
export let page: Page;
export let complaints: string[];
/** Of the requests for the index. */
export let conditions: (string | undefined)[] = [];
/** How the server answers: `intercept` is asked before the registry. */
export const server: { intercept: Handler | undefined; indexHeaders: Record<string, string> } = { intercept: undefined, indexHeaders: {} };

export const PREFIX = "/registry/";
/** A promise that nobody settles would wait for ever. */
export const LIMIT = { timeout: 60_000 };
export const MODEL = (digest: string): string => PREFIX + known.registry.layer(digest, "model.onnx");

before(async () => {
  site = await serve({ twinfer: DIST }, async (request, response, path) => {
    if (await server.intercept?.(request, response, path)) return true;
    const bytes = path.startsWith(PREFIX) ? known.registry.files.get(path.slice(PREFIX.length)) : undefined;
    if (!bytes) return false;
    const index = path.endsWith("/index.json");
    const pointer = index || path.startsWith(`${PREFIX}deployments/`);
    if (index) conditions.push(request.headers["if-none-match"]);
    host(request, response, bytes, pointer ? server.indexHeaders : {});
    return true;
  });
  browser = await launch();
});

after(async () => {
  await browser.close();
  await site.close();
});

beforeEach(async () => {
  known = versions();
  Object.assign(server, { intercept: undefined, indexHeaders: {} });
  ({ page, complaints } = await openPage(browser, `${site.origin}/`));
  forget();
});

afterEach(() => page.context().close());

export function forget(): void {
  site.log.length = 0;
  conditions = [];
}

export const asked = (): string[] => site.log.filter((path) => path.startsWith(PREFIX));
export const blobsAsked = (): string[] => asked().filter((path) => path.startsWith(`${PREFIX}blobs/`));
export const indexAsked = (): number => asked().filter((path) => path.endsWith("/index.json")).length;

/** Nobody answers any more. */
export const gone = (_: IncomingMessage, response: ServerResponse, path: string): boolean => {
  if (path.startsWith(PREFIX)) response.destroy();
  return path.startsWith(PREFIX);
};

export type Options = Omit<LoadOptions, "onProgress" | "onUpdate" | "signal">;

/** Loads, predicts, closes, and says what was seen. With `linger` it waits for the update that follows in the background, with `stay` so many milliseconds. */
export const load = (reference: string, options: Options = {}, { on = page, linger = false, stay = 0 } = {}) =>
  on.evaluate(
    async ([reference, options, linger, stay]) => {
      const { loadModel } = await window.twinfer;
      const seen: import("twinfer").Progress[] = [];
      let told: (update: import("twinfer").Update) => void = () => undefined;
      const updated = new Promise<import("twinfer").Update>((resolve) => (told = resolve));
      const model = await loadModel(`/registry/${reference}`, { ...options, onProgress: (step) => void seen.push(step), onUpdate: told });
      const { doubled } = await model.predict({ record: { a: 1, b: 2 } });
      const { digest, source, version, trust } = model;
      const update = linger ? await updated : undefined;
      await new Promise((resolve) => setTimeout(resolve, stay));
      await model.close();
      const cached = [...new Set(seen.flatMap((step) => (step.status === "download" ? [step.cached] : [])))];
      return { doubled, digest, source, version, trust, cached, seen, update };
    },
    [reference, options, linger, stay] as const,
  );

/** The code with which a load fails. */
export const fails = (reference: string, options: Options = {}, on = page) =>
  on.evaluate(
    async ([reference, options]) => {
      const { loadModel } = await window.twinfer;
      return loadModel(`/registry/${reference}`, options).then((model) => model.close().then(() => "loaded"), (error: { code: string }) => error.code);
    },
    [reference, options] as const,
  );

export const DOUBLED = [[2, 4]];
export const TRIPLED = [[3, 6]];
export const statuses = (seen: Progress[]): string[] => [...new Set(seen.map(({ status }) => status))];

/** Changes a byte of what is kept. */
export const flip = (place: Place, hex: string) =>
  page.evaluate(
    async ([place, hex]) => {
      if (place === "opfs") {
        const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("twinfer");
        const blobs = await (await root.getDirectoryHandle("blobs")).getDirectoryHandle("sha256");
        const handle = await blobs.getFileHandle(hex);
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        bytes[9] = (bytes[9] ?? 0) ^ 1;
        const stream = await handle.createWritable();
        await stream.write(bytes);
        await stream.close();
        return;
      }
      const cache = await caches.open("twinfer-blobs-v2");
      const url = `/.twinfer/blobs/sha256/${hex}`;
      const found = await cache.match(url);
      if (!found) throw new Error("it is not there");
      const bytes = new Uint8Array(await found.arrayBuffer());
      bytes[9] = (bytes[9] ?? 0) ^ 1;
      await cache.put(url, new Response(bytes, { headers: found.headers }));
    },
    [place, hex] as const,
  );
