// Brotli as a web server keeps it: pressed once, as hard as it goes. What was pressed is kept in a
// folder by its digest, since 20 MB take half a minute.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";

/**
 * @param {string} folder Where to keep what was pressed.
 * @param {number} quality Of brotli: 11 for what is published, less for a trial.
 * @returns {(body: Buffer) => Promise<Buffer>}
 */
export function presser(folder, quality) {
  mkdirSync(folder, { recursive: true });
  const running = new Map();
  return (body) => {
    const name = `${createHash("sha256").update(body).digest("hex")}.${quality}.br`;
    let made = running.get(name);
    if (!made) running.set(name, (made = press(join(folder, name), body, quality)));
    return made;
  };
}

async function press(path, body, quality) {
  if (existsSync(path)) return readFileSync(path);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
  };
  const pressed = await promisify(brotliCompress)(body, { params });
  writeFileSync(`${path}.part`, pressed);
  renameSync(`${path}.part`, path);
  return pressed;
}
