// A registry as a static host serves it, behind `fetch`: without a network, so that the same is
// done in each run, and the same functions are entered.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Lengths of the pieces in which contents arrive, in turns: below, at and above those of a hash. */
const PIECES = [1, 55, 64, 65, 4096, 65536, 1 << 20];

export class StaticHost {
  address = "https://registry.invalid/";
  /** Statuses of the next answers that are not the index; `undefined` for a good one. */
  answers = [];
  /** The registry has other packages too, and engines are attached to all. */
  crowded = false;
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  /** In place of `globalThis.fetch`. */
  fetch = async (url, init = {}) => {
    const { href, pathname } = new URL(url);
    if (!href.startsWith(this.address)) throw new TypeError("fetch failed");
    const isIndex = pathname === "/index.json";
    const fault = isIndex ? undefined : this.answers.shift();
    if (fault) return new Response(null, { status: fault });
    let content;
    try {
      content = readFileSync(`${this.#folder}${decodeURIComponent(pathname)}`);
    } catch {
      return new Response(null, { status: 404 });
    }
    if (isIndex && this.crowded) content = crowd(content);
    return answer(content, new Headers(init.headers));
  };
}

function answer(content, asked) {
  const etag = `"${createHash("sha256").update(content).digest("hex")}"`;
  const headers = { etag, "cache-control": "max-age=0", date: new Date(Date.now()).toUTCString() };
  if (asked.get("if-none-match") === etag) return new Response(null, { status: 304, headers });
  const from = /^bytes=(\d+)-$/.exec(asked.get("range") ?? "");
  if (!from) return new Response(inPieces(content), { status: 200, headers });
  headers["content-range"] = `bytes ${from[1]}-${content.length - 1}/${content.length}`;
  return new Response(inPieces(content.subarray(Number(from[1]))), { status: 206, headers });
}

function inPieces(content) {
  let [at, turn] = [0, 0];
  return new ReadableStream({
    pull(controller) {
      if (at === content.length) return controller.close();
      const piece = content.subarray(at, at + PIECES[Math.min(turn++, PIECES.length - 1)]);
      at += piece.length;
      controller.enqueue(new Uint8Array(piece));
    },
  });
}

/** The index of a registry with many packages, aliases and candidates, and with attached engines: JSON in a string of JSON. */
function crowd(content) {
  const index = JSON.parse(content);
  const engines = JSON.stringify([{ kind: "slim", target: "page", digest: `sha256:${"0".repeat(64)}`, size: 1 }]);
  const NAME = "org.opencontainers.image.ref.name";
  const [first] = index.manifests;
  const entry = (name, at) => ({ ...first, digest: `sha256:${createHash("sha256").update(name).digest("hex")}`, size: 1000 + at, annotations: { [NAME]: name } });
  const tags = ["0.9.0", "1.0.0", "1.10.0", "2.0.0-rc.1", "stable", "candidate", "latest"];
  const others = ["a", "face", "other-model", "zz-last"].flatMap((name) => tags.map((tag) => `${name}:${tag}`));
  const [own] = (first.annotations[NAME] ?? "").split(":");
  const older = ["0.0.1", "0.9.0", "0.10.0-beta.2"].map((tag) => `${own}:${tag}`);
  index.manifests = [...others, ...older].map(entry).concat(index.manifests);
  for (const one of index.manifests) one.annotations = { ...one.annotations, "ai.twinfer.engines": engines };
  return Buffer.from(JSON.stringify(index));
}
