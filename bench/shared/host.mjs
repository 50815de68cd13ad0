// Servers beside us: `twinfer serve`, or the rival. Each ends with us, by its own process id.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { call } from "./load.mjs";
import { processTree } from "./processes.mjs";

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** A loopback port that is free now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Starts a server and waits until `ready` (a path) is answered with 200, or until `ready(port)` says so.
 * @param {{ program: string, args: (port: number) => string[], ready: string | ((port: number) => Promise<boolean>), logs: string,
 *   name: string, env?: object | ((port: number) => object), seconds?: number }} what
 * @returns {Promise<{ port: number, pid: number, startMs: number, stop: () => Promise<void> }>} `startMs`: until it was ready.
 */
export async function start({ program, args, ready, logs, name, env = {}, seconds = 900 }) {
  const port = await freePort();
  mkdirSync(logs, { recursive: true });
  const path = join(logs, `${name}.log`);
  const log = openSync(path, "w");
  const begun = performance.now();
  // In a folder without a build in it: `twinfer serve` would find the full component there, and
  // compile it beside a slim one, which is measured alone.
  const child = spawn(program, args(port), { cwd: logs, stdio: ["ignore", log, log], env: { ...process.env, ...(typeof env === "function" ? env(port) : env) } });
  closeSync(log);
  running.add(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.once("error", () => undefined);
  const stop = async () => {
    running.delete(child);
    const all = processTree(child.pid);
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(timer);
    // Workers of workers that their parent forgot.
    for (const pid of all.slice(1)) if (processTree(pid).length > 0) kill(pid);
  };
  const answers = typeof ready === "function" ? ready : (at) => call({ port: at, request: get(ready, at) }).then(({ status }) => status === 200, () => false);
  for (;;) {
    if (await answers(port)) break;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      throw new Error(`${name} ended:\n${readFileSync(path, "utf8").slice(-2_000)}`);
    }
    if (performance.now() - begun > seconds * 1000) {
      await stop();
      throw new Error(`${name} does not answer after ${seconds} s; see ${path}`);
    }
    // Often while it may be a start with everything kept; a compilation takes long, and is not to be disturbed.
    const pause = performance.now() - begun < 2_000 ? 5 : 50;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return { port, pid: child.pid, startMs: performance.now() - begun, stop };
}

function kill(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended in between.
  }
}

function get(path, port) {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
}
