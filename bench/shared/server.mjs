// A static server for the pages: folders under prefixes, with the types and cache fields that a
// good web server gives, and compressed where it is told how.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/**
 * @param {Record<string, string | (() => Uint8Array | string)>} routes Prefix to folder, or path to content.
 * @param {{ press?: (body: Buffer) => Promise<Buffer>, sent?: (path: string, bytes: number) => void }} [options]
 *   `press` compresses with brotli; `sent` is told of every answer with a body.
 * @returns {Promise<{ base: string, close: () => Promise<void> }>}
 */
export async function serve(routes, { press, sent } = {}) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    try {
      let body = await find(routes, path);
      // A page asks again, everything under it is kept: what a site with hashed names does.
      const cache = path.endsWith("/") || path.endsWith(".html") ? "no-cache" : "public, max-age=31536000, immutable";
      const headers = {
        "content-type": TYPES[extname(path)] ?? (path.endsWith("/") ? TYPES[".html"] : "application/octet-stream"),
        "cache-control": cache,
      };
      if (press && /\bbr\b/.test(request.headers["accept-encoding"] ?? "")) {
        const pressed = await press(body);
        if (pressed.length < body.length) {
          body = pressed;
          Object.assign(headers, { "content-encoding": "br", vary: "accept-encoding" });
        }
      }
      sent?.(path, body.length);
      response.writeHead(200, { ...headers, "content-length": body.length });
      response.end(body);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

async function find(routes, path) {
  const exact = routes[path];
  if (typeof exact === "function") return Buffer.from(exact());
  const prefix = Object.keys(routes)
    .filter((prefix) => prefix.endsWith("/") && path.startsWith(prefix) && typeof routes[prefix] === "string")
    .sort((a, b) => b.length - a.length)[0];
  if (prefix === undefined) throw new Error("no such route");
  const rest = path.slice(prefix.length);
  return readFile(join(routes[prefix], rest === "" || rest.endsWith("/") ? `${rest}index.html` : rest));
}
