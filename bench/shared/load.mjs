// A load generator that costs little: one core of two is the server's. Raw sockets that are kept,
// requests that are bytes already, and just enough of HTTP/1.1 to find the end of an answer.
import { connect } from "node:net";
import { summarise } from "./statistics.mjs";

/** The bytes of a POST request. */
export function post(path, type, body) {
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
}

/** One connection: `ask(bytes)` gives status and body of the answer. */
export function client(port) {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  let got = Buffer.alloc(0);
  let waiting;
  const fail = (error) => {
    waiting?.reject(error);
    waiting = undefined;
  };
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the server closed the connection")));
  socket.on("data", (part) => {
    got = got.length === 0 ? part : Buffer.concat([got, part]);
    const answer = parse(got);
    if (!answer || !waiting) return;
    got = got.subarray(answer.end);
    const { resolve } = waiting;
    waiting = undefined;
    resolve(answer);
  });
  return {
    ask(request) {
      return new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error("the connection is closed"));
        waiting = { resolve, reject };
        socket.write(request);
      });
    },
    close: () => socket.destroy(),
  };
}

/** One request on a connection of its own. */
export async function call({ port, request }) {
  const one = client(port);
  try {
    return await one.ask(request);
  } finally {
    one.close();
  }
}

/** The answer at the start of these bytes, once all of it is there. */
export function parse(bytes) {
  const head = bytes.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const text = bytes.toString("latin1", 0, head);
  const status = Number(text.slice(9, 12));
  const length = /\r\ncontent-length: *(\d+)/i.exec(text);
  if (length) {
    const end = head + 4 + Number(length[1]);
    return bytes.length < end ? undefined : { status, body: bytes.subarray(head + 4, end), end };
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(text)) return { status, body: Buffer.alloc(0), end: head + 4 };
  const parts = [];
  for (let at = head + 4; ; ) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, line), 16);
    const end = line + 2 + size + 2;
    if (bytes.length < end) return undefined;
    if (size === 0) return { status, body: Buffer.concat(parts), end };
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = end;
  }
}

/**
 * Keeps so many connections busy, each of which asks again as soon as it has its answer.
 * @param {{ port: number, request: Buffer, connections: number, milliseconds: number, requests?: number, counted?: boolean }} what
 *   `counted`: an answer that is not 200 and a broken connection are counted (`errors`, by status or `connection`), and
 *   no reason to stop; they are not among the times.
 * @returns {Promise<{ rate: number, latency: object, times: number[], errors: Record<string, number> }>} Requests a second; ms.
 */
export async function load({ port, request, connections, milliseconds, requests = Infinity, counted = false }) {
  const times = [];
  const errors = {};
  let left = requests;
  const clients = Array.from({ length: connections }, () => client(port));
  const begun = performance.now();
  const failed = (at, kind, error) => {
    if (!counted) throw error;
    errors[kind] = (errors[kind] ?? 0) + 1;
    if (kind !== "connection") return undefined;
    clients[at].close();
    clients[at] = client(port);
    // A server that is gone is not asked a thousand times a second.
    return new Promise((resolve) => setTimeout(resolve, 50));
  };
  const busy = async (_, at) => {
    while (left > 0 && performance.now() - begun < milliseconds) {
      left--;
      const start = performance.now();
      try {
        const { status, body } = await clients[at].ask(request);
        const took = performance.now() - start;
        if (status === 200) times.push(took);
        else await failed(at, status, new Error(`answer ${status}: ${body.toString("utf8", 0, 300)}`));
      } catch (error) {
        if (!counted) throw error;
        await failed(at, "connection", error);
      }
    }
  };
  try {
    await Promise.all(clients.map(busy));
  } finally {
    clients.forEach((one) => one.close());
  }
  return { rate: (times.length * 1000) / (performance.now() - begun), latency: summarise(times), times, errors };
}
