/** The `twinfer` command, built before these tests: packs the sample models and serves them. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

const ROOT = new URL("../../../../", import.meta.url);
const COMMAND = process.env["TWINFER_COMMAND"] ?? fileURLToPath(new URL(`target/debug/twinfer${process.platform === "win32" ? ".exe" : ""}`, ROOT));
const COMPONENT = process.env["TWINFER_COMPONENT"] ?? fileURLToPath(new URL("target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm", ROOT));

export interface Server {
  readonly origin: string;
  close(): Promise<void>;
}

/** Runs the command, and gives what it prints. */
export function twinfer(args: readonly string[]): string {
  needed(COMMAND);
  const { status, stdout, stderr } = spawnSync(COMMAND, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`twinfer ${args.join(" ")}: ${stderr}`);
  return stdout;
}

export function pack(models: readonly string[], registry: string): void {
  for (const model of models) twinfer(["pack", fileURLToPath(new URL(`models/${model}`, ROOT)), "--registry", registry]);
}

/** Attaches a fused engine to a package of this registry, a folder; gives what the command says of it. */
export function fuse(reference: string, registry: string): { digest: string; size: number; slim: boolean } {
  const npm = fileURLToPath(new URL("web", ROOT));
  return JSON.parse(twinfer(["fuse", reference, "--target", "page", "--attach", "--json", "--registry", registry, "--npm", npm])) as ReturnType<typeof fuse>;
}

/** Starts the server on a free port and waits until it listens. */
export async function serveModels(registry: string, page: string, more: readonly string[] = []): Promise<Server> {
  needed(COMMAND);
  needed(COMPONENT);
  const server = spawn(COMMAND, ["serve", "--listen", "127.0.0.1:0", "--registry", registry, "--component", COMPONENT, "--page", page, ...more], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<void>((resolve) => server.on("exit", () => resolve()));
  const said: string[] = [];
  const address = await new Promise<string>((resolve, reject) => {
    void ended.then(() => reject(new Error(`twinfer serve ended: ${said.join("\n")}`)));
    createInterface(server.stderr).on("line", (line) => {
      said.push(line);
      const { event, address } = JSON.parse(line) as { event?: string; address?: string };
      if (event === "listening" && address) resolve(address);
    });
  });
  const close = async (): Promise<void> => {
    server.kill("SIGTERM");
    await ended;
  };
  return { origin: `http://${address}`, close };
}

function needed(file: string): void {
  if (!existsSync(file)) throw new Error(`${file} is missing: build it first, with cargo xtask build`);
}
