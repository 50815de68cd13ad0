/** The worker: an engine with one model, called by messages. */

import { EngineHost } from "./host.js";
import { glueModule } from "./instance.js";
import { nodeThreads } from "./platform.js";
import type { Reply, Request } from "./wire.js";
import { buffersOf } from "./wire.js";

// Every worker needs it, and soon.
glueModule().catch(() => undefined);

let tell = (_: Reply): void => undefined;
const host = new EngineHost((notice) => tell({ notice }));

async function answer({ id, method, args }: Request, post: (reply: Reply, transfer: ArrayBuffer[]) => void): Promise<void> {
  try {
    const told = (event: unknown): void => post({ id, event }, []);
    // Calls are typed where they are made (`connection.ts`).
    const call = host[method] as (this: EngineHost, args: unknown, tell: (event: unknown) => void) => unknown;
    const result = await call.call(host, args, told);
    post({ id, result }, buffersOf(result));
  } catch (thrown) {
    post({ id, error: host.failure(thrown) }, []);
  }
}

const port = nodeThreads()?.parentPort;
if (port) {
  tell = (reply) => port.postMessage(reply, []);
  port.on("message", (request: Request) => void answer(request, (reply, transfer) => port.postMessage(reply, transfer)));
} else {
  // The lib of this project is that of pages; in a worker `self` posts with a transfer list.
  const scope = globalThis as unknown as {
    postMessage(message: Reply, transfer: ArrayBuffer[]): void;
    onmessage: (event: MessageEvent<Request>) => void;
  };
  tell = (reply) => scope.postMessage(reply, []);
  scope.onmessage = ({ data }) => void answer(data, (reply, transfer) => scope.postMessage(reply, transfer));
}
