// Prints the size of what a page fetches: raw, gzip, brotli.
import { readFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const NAMES = ["twinfer_web_bg.wasm", "glue.js"];

/** @param {URL} dist @param {{ quick?: boolean }} options */
export function printSizes(dist, { quick = false } = {}) {
  for (const name of NAMES) {
    const bytes = readFileSync(new URL(name, dist));
    // The best brotli takes a minute for the engine: only where it is asked for.
    const params = { [constants.BROTLI_PARAM_QUALITY]: quick ? 4 : 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    const sizes = { raw: bytes.length, gzip: gzipSync(bytes, { level: quick ? 1 : 9 }).length, brotli: brotliCompressSync(bytes, { params }).length };
    const text = Object.entries(sizes).map(([kind, size]) => `${kind} ${(size / 1e6).toFixed(2)} MB`);
    console.log(`${name}: ${text.join(", ")}${quick ? " (quick compression)" : ""}`);
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) printSizes(new URL("../dist/", import.meta.url));
