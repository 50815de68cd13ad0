// Measures a storage on the page's thread or in a worker, as the address says.
import { measure } from "./measure.mjs";

const query = Object.fromEntries(new URLSearchParams(location.search));

function inWorker(query) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.result));
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(query);
  });
}

window.result = (query.thread === "worker" ? inWorker(query) : measure(query)).then(
  (result) => ({ result }),
  (error) => ({ error: String(error?.stack ?? error) }),
);
