// Turns the glue of wasm-bindgen (`--target web`) into a factory.
//
// The glue keeps one instance in module variables. Every model here has an instance of its
// own, so that its memory goes back when it is closed and a stopped instance can be replaced
// without reloading the page; so the whole module becomes the body of a function.

const FETCHES = "module_or_path = new URL('twinfer_web_bg.wasm', import.meta.url);";

/** The imports of the module: a slim or fused engine has one more. */
const IMPORTS = /^(\s*)"\.\/twinfer_web_bg\.js": import0,$/m;

/**
 * An engine that stops in a task, in the middle of something asynchronous, never settles its
 * promises: nobody would hear of it. Nor would they of a function that a slim engine lacks, where
 * JavaScript between two calls of the engine catches what is thrown. So both are told, and what
 * has stopped does nothing more: nor is anything freed in it when garbage is collected, for its
 * memory may be in disorder, and nobody would catch what that throws.
 */
const TASKS = `let stopped = false;
const stop = (error) => {
  stopped = true;
  trapped(error);
};
const queueMicrotask = (task) => globalThis.queueMicrotask(() => {
  if (stopped) return;
  try {
    task();
  } catch (error) {
    stop(error);
  }
});
const FinalizationRegistry = globalThis.FinalizationRegistry && class extends globalThis.FinalizationRegistry {
  constructor(free) {
    super((held) => {
      if (stopped) return;
      try {
        free(held);
      } catch {
        stopped = true;
      }
    });
  }
};
const missing = (index) => {
  const error = Object.assign(new Error(\`this engine lacks function \${index}\`), { missing: index });
  stop(error);
  throw error;
};
`;

/** @param {string} source @returns {string} */
export function toFactory(source) {
  const names = [];
  let body = source.replace(/^export (class|function) (\w+)/gm, (_, kind, name) => {
    names.push(name);
    return `${kind} ${name}`;
  });
  // The address is always given; left in, bundlers would copy the file for this line too.
  body = replaceOnce(body, FETCHES, 'throw new Error("the engine is always given");');
  body = replaceOnce(body, "export { initSync, __wbg_init as default };\n", `return { init: __wbg_init, ${names.join(", ")} };\n`);
  if (!IMPORTS.test(body)) throw new Error("the glue of wasm-bindgen has another form than this script knows: its imports");
  body = body.replace(IMPORTS, (line, indent) => `${line}\n${indent}twinfer: { missing },`);
  body = body.replace(/^\/\* @ts-self-types=.*\*\/\n/, "");
  const left = /^\s*(export|import)\b|import\.meta/m.exec(body);
  if (left || names.length === 0) {
    throw new Error(`the glue of wasm-bindgen has another form than this script knows: ${left?.[0] ?? "no exports"}`);
  }
  if (!/^\s*queueMicrotask\(arg0\);$/m.test(body)) throw new Error("the glue of wasm-bindgen does not run its tasks as this script knows");
  return `// Made by scripts/glue.mjs from the glue of wasm-bindgen.\nexport function createGlue(trapped) {\n${TASKS}${body}}\n`;
}

function replaceOnce(text, what, by) {
  if (text.split(what).length !== 2) throw new Error(`the glue of wasm-bindgen has another form than this script knows: ${what}`);
  return text.replace(what, () => by);
}
