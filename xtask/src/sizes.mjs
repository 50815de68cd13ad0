// Raw, gzip -9 and brotli -11 bytes of the files given, as JSON. Run by `cargo xtask sizes`:
// Node has both compressions, so that no crate is needed for them.
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } };

const sizes = await Promise.all(
  process.argv.slice(2).map(async (file) => {
    const bytes = await readFile(file);
    const [zipped, pressed] = await Promise.all([
      promisify(gzip)(bytes, { level: 9 }),
      promisify(brotliCompress)(bytes, { params: { ...brotli.params, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
    ]);
    return { file, raw: bytes.length, gzip: zipped.length, brotli: pressed.length };
  }),
);
console.log(JSON.stringify(sizes));
