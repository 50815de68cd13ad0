import { TwinferError, internal } from "./index.js";
import type { Keep, KeepAnswer } from "./service-worker.js";

const { defaultEngineUrl, describe, enginesInUse } = internal;

export interface KeepOfflineOptions {
  /** Address of the page's service worker, which calls `serveOffline`. */
  serviceWorker: string | URL;
  /** More addresses to keep, beside what the page has loaded and what its scripts import. */
  files?: readonly (string | URL)[];
  /**
   * Keep the full engine as well where a smaller one runs: without it, what that one lacks is the
   * error `engine_function_missing` while there is no network. `false` by default.
   */
  fullEngine?: boolean;
  /** Loaded addresses that are not kept. */
  except?: (url: URL) => boolean;
}

/** What is there for when the network is not. */
export interface KeptOffline {
  /** Files of the page. */
  readonly files: number;
  /** Their bytes. */
  readonly bytes: number;
}

/**
 * Keeps this page for use without a network: itself, what it has loaded from its own origin, what
 * its scripts import, and the engines that run here. Packages, and engines of a registry, are in the versioned cache from their first load.
 * Call it when the page has what it needs, after `loadModel` for instance; one visit is enough.
 *
 * @throws TwinferError `storage` where the browser has no service workers (plain HTTP, private
 *   windows), `network` for a worker or file that cannot be fetched, `out_of_space`.
 */
export async function keepOffline(options: KeepOfflineOptions): Promise<KeptOffline> {
  const { serviceWorker, files = [], fullEngine = false, except = () => false } = options;
  if (!globalThis.navigator?.serviceWorker) {
    throw new TwinferError("storage", "this browser keeps no page: service workers need HTTPS (or this machine) and no private window");
  }
  const worker = await register(serviceWorker);
  const wanted = [document.baseURI, ...files].map((url) => new URL(url, document.baseURI).href);
  const { addresses, derived } = enginesInUse();
  const own = addresses.filter((url) => new URL(url).origin === location.origin);
  const full = defaultEngineUrl().href;
  // It is in the text of the scripts, and larger than all the rest.
  const skip = derived && !fullEngine && !own.includes(full) ? [full] : [];
  if (fullEngine) own.push(full);
  const message: Keep = { type: "twinfer-keep", files: [...wanted, ...own], perhaps: loaded(except), skip };
  const answer = await ask(worker, message);
  if ("error" in answer) throw new TwinferError(answer.error.code, `the page is not kept for use without a network: ${answer.error.message}`);
  return answer.kept;
}

async function register(address: string | URL): Promise<ServiceWorker> {
  try {
    await navigator.serviceWorker.register(address, { type: "module" });
    const { active } = await navigator.serviceWorker.ready;
    if (active) return active;
  } catch (error) {
    throw new TwinferError("network", `the service worker ${address} could not be started: ${describe(error)}`, { cause: error });
  }
  throw new TwinferError("storage", `the service worker ${address} did not start`);
}

/** What the page has loaded from its own origin. */
function loaded(except: (url: URL) => boolean): string[] {
  const entries = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
  const kinds = new Set(["script", "link", "css", "img", "other"]);
  return entries
    .filter(({ initiatorType }) => kinds.has(initiatorType))
    .map(({ name }) => new URL(name, document.baseURI))
    .filter((url) => url.origin === location.origin && !except(url))
    .map((url) => url.href);
}

function ask(worker: ServiceWorker, message: Keep): Promise<KeepAnswer> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }: MessageEvent<KeepAnswer>) => {
      port1.close();
      resolve(data);
    };
    worker.postMessage(message, [port2]);
  });
}
