/** The server of most tests: the package, and a registry in memory. */
import type { ServerResponse } from "node:http";
import type { Registry } from "./fixture.js";
import type { Handler, Site } from "./server.js";
import { DIST, serve } from "./server.js";

/** Serves the registry under `/registry/`; `before` is asked first. */
export function serveRegistry(registry: Registry, before?: Handler): Promise<Site> {
  const prefix = "/registry/";
  return serve({ twinfer: DIST }, async (request, response, path) => {
    if (await before?.(request, response, path)) return true;
    if (!path.startsWith(prefix)) return false;
    const bytes = registry.files.get(path.slice(prefix.length));
    if (bytes) send(response, bytes);
    else response.writeHead(404).end("no such file");
    return true;
  });
}

export function send(response: ServerResponse, bytes: Uint8Array, type = "application/octet-stream"): void {
  response.writeHead(200, { "content-type": type, "content-length": bytes.length }).end(bytes);
}

/** What servers answer that send every unknown address to their page. */
export const HTML = new TextEncoder().encode("<!doctype html>\n<html><title>My page</title><div id=root></div></html>");
