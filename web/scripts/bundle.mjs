// Makes one file of each script that a page or a program names, with all that it imports. As the
// compiler leaves them there are thirty, one importing the next: in a page each step of that way is
// a round trip. The others stay where they are: the tests look at them one by one.
import { renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** What is bundled, and what a bundle leaves to be loaded: by a page that needs it, or once for all. */
const BUNDLED = {
  "index.js": ["./glue.js", "./hybrid.js"],
  "worker.js": ["./glue.js"],
  // They ask `index.js`, which has the rest.
  "offline.js": ["./index.js"],
  "hybrid.js": ["./index.js"],
  "service-worker.js": [],
  // `twinfer slim` runs engines with it.
  "origin.js": [],
};

/** Every script of the package. */
export const SCRIPTS = [...Object.keys(BUNDLED), "glue.js"];

/** @param {URL} dist Of compiled scripts. */
export async function bundle(dist) {
  const made = new URL("bundled/", dist);
  for (const [name, external] of Object.entries(BUNDLED)) {
    await build({
      entryPoints: [fileURLToPath(new URL(name, dist))],
      outfile: fileURLToPath(new URL(name, made)),
      external,
      plugins: name === "hybrid.js" ? [ofIndex(Object.keys(await import(new URL("shared.js", dist).href)))] : [],
      bundle: true,
      format: "esm",
      target: "es2022",
      platform: "neutral",
      // Names stay, for those who read a stack.
      minifyWhitespace: true,
      minifySyntax: true,
      logLevel: "warning",
    });
  }
  // Only now: each was made from what the compiler left of the others.
  for (const name of Object.keys(BUNDLED)) renameSync(new URL(name, made), new URL(name, dist));
  rmSync(made, { recursive: true });
}

/**
 * What the files of `hybrid/` import from the folder above is in `index.js` already, under the name `internal`. A name that
 * is not there is an error of the build.
 * @param {string[]} names
 */
function ofIndex(names) {
  return {
    name: "of-index",
    setup(build) {
      build.onResolve({ filter: /^\.\.\// }, () => ({ path: "internal", namespace: "of-index" }));
      build.onResolve({ filter: /^\.\/index\.js$/ }, ({ path }) => ({ path, external: true }));
      build.onLoad({ filter: /.*/, namespace: "of-index" }, () => ({
        contents: `import { internal } from "./index.js";\nexport const { ${names.join(", ")} } = internal;\n`,
      }));
    },
  };
}
