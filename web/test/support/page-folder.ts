/** A page folder for `twinfer serve`: an empty page, and the npm package under `/twinfer/`. */
import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DIST } from "./server.js";

const SCRIPTS = ["index.js", "worker.js", "glue.js", "hybrid.js", "twinfer_web_bg.wasm", "engines.json"];

/** `files` are further files by their path in the folder. */
export function pageFolder(folder: string, files: Readonly<Record<string, Uint8Array>> = {}): string {
  const own = join(folder, "twinfer");
  mkdirSync(own, { recursive: true });
  for (const name of SCRIPTS) linkOrCopy(join(DIST, name), join(own, name));
  if (existsSync(join(DIST, "engines"))) cpSync(join(DIST, "engines"), join(own, "engines"), { recursive: true });
  writeFileSync(join(folder, "index.html"), '<!doctype html><title>test</title><link rel="icon" href="data:,">');
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

/** The engine has some 20 MB: a link where the file system has them. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
