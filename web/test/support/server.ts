/**
 * A web server for tests: the package, the tests' own scripts, a registry, and answers that
 * are wrong on purpose. Every answer has the strict content security policy that the package
 * promises to work under.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Answers a request itself (`true`), or leaves it to the files. */
export type Handler = (request: IncomingMessage, response: ServerResponse, path: string) => boolean | Promise<boolean>;

export interface Site {
  /** `http://127.0.0.1:…`, without a slash at the end. */
  readonly origin: string;
  /** The paths that were asked for, in order. */
  readonly log: string[];
  /** Asked first. */
  handler: Handler | undefined;
  close(): Promise<void>;
}

/** The built package: the folder of `index.js`. */
export const DIST = fileURLToPath(new URL("../../", import.meta.url));

/** Serves these folders by the first part of the path. */
export async function serve(folders: Readonly<Record<string, string>>, handler?: Handler): Promise<Site> {
  const log: string[] = [];
  const site: Site = { origin: "", log, handler, close: async () => undefined };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    log.push(pathname);
    response.setHeader("content-security-policy", POLICY);
    response.setHeader("x-content-type-options", "nosniff");
    if (await site.handler?.(request, response, pathname)) return;
    const [, first = "", ...rest] = pathname.split("/");
    const folder = folders[first];
    if (folder === undefined) return void page(response, pathname);
    await file(response, join(folder, normalize(`/${rest.join("/")}`)));
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return Object.assign(site, { origin: `http://127.0.0.1:${port}`, close });
}

/** An empty page at the root; nothing anywhere else. */
function page(response: ServerResponse, path: string): void {
  if (path === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html><title>test</title>");
  } else if (path === "/favicon.ico") {
    // Browsers ask for it by themselves, and complain.
    response.writeHead(204).end();
  } else {
    response.writeHead(404, { "content-type": "text/plain" }).end("there is nothing here");
  }
}

async function file(response: ServerResponse, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return void response.writeHead(404, { "content-type": "text/plain" }).end("there is no such file");
  response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "content-length": found.size });
  await new Promise((resolve, reject) => createReadStream(path).on("error", reject).pipe(response).on("close", resolve));
}

/** Hands what is below a path on to another server. */
export function proxy(prefix: string, target: string): Handler {
  return async (request, response, path) => {
    if (!path.startsWith(prefix)) return false;
    const body = request.method === "POST" ? new Uint8Array(await new Response(request as never).arrayBuffer()) : undefined;
    const { "content-type": type } = request.headers;
    const got = await fetch(target + (request.url ?? ""), {
      ...(request.method && { method: request.method }),
      ...(body && { body }),
      headers: type ? { "content-type": type } : {},
    });
    response.writeHead(got.status, { "content-type": got.headers.get("content-type") ?? "application/octet-stream" });
    response.end(new Uint8Array(await got.arrayBuffer()));
    return true;
  };
}
