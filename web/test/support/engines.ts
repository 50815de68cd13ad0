/** Slim engines for the sample packages: what is entered while each does what its name says. */
import { loadModel } from "twinfer";
import type { Model } from "twinfer";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { DerivedEngine } from "../../generated/types.js";
import { DIST } from "./server.js";
import { profile, slim } from "./slim.js";

/** The 2 x 2 pixels [255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30] as PNG. */
export const PHOTO = Uint8Array.from(
  Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAYAAABytg0kAAAAFUlEQVR42mP4z8DwHwyB9H8uEbn/AEFxBzZAqSAaAAAAAElFTkSuQmCC", "base64"),
);

/** An engine that can do this with the package at this address, and little else. */
export async function slimFor(address: string, work: (model: Model) => Promise<unknown>): Promise<Uint8Array<ArrayBuffer>> {
  const entered = await profile(async (engineUrl) => {
    const model = await loadModel(address, { thread: "main", engineUrl });
    await work(model);
    await model.close();
  });
  return slim(entered);
}

/** A copy of the package, with its own list of slim engines: it has compiled nothing yet. */
export async function freshPackage(own: readonly { wasm: Uint8Array; says: DerivedEngine }[] = []): Promise<{ loadModel: typeof loadModel; close(): void }> {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-copy-"));
  cpSync(DIST, folder, { recursive: true, filter: (from) => !/[/\\](demo|test)$|\.wasm$|\.d\.ts$/.test(from) });
  symlinkSync(join(DIST, "twinfer_web_bg.wasm"), join(folder, "twinfer_web_bg.wasm"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  mkdirSync(join(folder, "engines"), { recursive: true });
  own.forEach(({ wasm }, at) => writeFileSync(join(folder, `engines/${at}.wasm`), wasm));
  writeFileSync(join(folder, "engines.json"), JSON.stringify(own.map(({ says }, at) => ({ ...says, file: `engines/${at}.wasm` }))));
  const copy = (await import(pathToFileURL(join(folder, "index.js")).href)) as { loadModel: typeof loadModel };
  return { loadModel: copy.loadModel, close: () => rmSync(folder, { recursive: true }) };
}
