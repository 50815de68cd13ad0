// Raw, gzip -9 and brotli bytes, as JSON. Run by `cargo xtask sizes`: Node has both compressions,
// so that no crate is needed for them.
// The arguments are a list of {name, files} and the quality of brotli; the sizes of the files of a
// name are added up.
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const quality = Number(process.argv[3]);

async function sizeOf(file) {
  const bytes = await readFile(file);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  const [zipped, pressed] = await Promise.all([promisify(gzip)(bytes, { level: 9 }), promisify(brotliCompress)(bytes, { params })]);
  return [bytes.length, zipped.length, pressed.length];
}

const artifacts = JSON.parse(process.argv[2]).map(async ({ name, files }) => {
  const sizes = await Promise.all(files.map(sizeOf));
  const [raw, gzip, brotli] = [0, 1, 2].map((column) => sizes.reduce((sum, size) => sum + size[column], 0));
  return { file: name, raw, gzip, brotli };
});
console.log(JSON.stringify(await Promise.all(artifacts)));
