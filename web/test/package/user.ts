// What a user writes, compiled in strict mode against the installed package; the lines below a
// `@ts-expect-error` must not compile.
import { ERROR_CODES, TwinferError, cache, loadModel, provenanceOf } from "twinfer";
import type { Box, ConsentRequest, ErrorCode, HybridOptions, Model, Prediction, Progress, TensorOutput, UpdateResult } from "twinfer";

export async function good(url: string, signal: AbortSignal): Promise<void> {
  const onProgress = (progress: Progress): string => {
    switch (progress.status) {
      case "download":
        return `${progress.layer}: ${progress.loaded} of ${progress.total}`;
      case "ready":
        return progress.digest;
      default:
        return progress.status;
    }
  };
  const model: Model = await loadModel(url, { onProgress, signal, thread: "main", cache: false });
  const { boxes, prediction } = await model.predict<{ boxes: Box[] }>({ picture: new Uint8Array(3) }, { signal, parameters: { mode: "quick" } });
  const scores: number[] = boxes.map((box) => box.score);
  const untyped: Prediction = await model.predict({ record: { a: 1, b: null, c: NaN, d: undefined, e: "text" } });
  await model.predict({ audio: { sampleRate: 16000, channels: [new Float32Array(9)] } });
  await model.predict({ text: "a text" });
  const tensors: Record<string, TensorOutput> = await model.run({
    a: { shape: [2], data: BigInt64Array.of(1n, 2n) },
    b: { dtype: "INT64", shape: [2], data: [1, 2n] },
    c: { shape: [], data: ["text"] },
  });
  const code: ErrorCode = new TwinferError("wrong_shape", "no").code;
  console.log(scores, prediction.digest, prediction.timing.engine, untyped["x"], tensors["y"]?.dtype, ERROR_CODES[code]);
  const { status, error }: UpdateResult = await model.update({ signal });
  const other = await loadModel(url, { policy: "offline", cache: "opfs", mirrors: [url], quota: 1e9, mustKeep: true, persist: false, engine: "full", onUpdate: ({ digest }) => console.log(digest) });
  const { packages, statistics } = await cache.ls();
  console.log(other.engine.kind, other.engine.missing?.toFixed());
  console.log(status, error?.code, other.source, packages[0]?.pinned, statistics.hits, (await cache.prune(0)).bytes, (await cache.estimate()).persisted);
  const consent = ({ reason, server }: ConsentRequest): boolean => reason === "out_of_memory" && server.startsWith("https:");
  const hybrid: HybridOptions = { server: "https://models.example", consent, latencyBudgetMs: 100, headers: async () => ({ "x-api-key": "7" }) };
  const deployed = await loadModel("/registry/x@stable", { hybrid, assignmentKey: "user-1", pollSeconds: 10, onRelease: ({ release }) => console.log(release?.variant) });
  const { prediction: told } = await deployed.predict({ record: { a: 1 } });
  console.log(told.where === "server", told.why, told.version, told.variant, told.revision?.toFixed(), deployed.release?.header, provenanceOf(tensors)?.where);
  await model.close();
}

export async function bad(model: Model, progress: Progress): Promise<void> {
  // @ts-expect-error a thread that does not exist
  await loadModel("x/y", { thread: "gpu" });
  // @ts-expect-error a policy that does not exist
  await loadModel("x/y", { policy: "sometimes" });
  // @ts-expect-error an engine is chosen by digest, not by name
  await loadModel("x/y", { engine: "slim" });
  // @ts-expect-error the address is required
  await loadModel();
  // @ts-expect-error a code that does not exist
  new TwinferError("no_such_code", "no");
  // @ts-expect-error the digest is fixed
  model.digest = "sha256:00";
  // @ts-expect-error only a download has loaded bytes
  console.log(progress.loaded);
  // @ts-expect-error a function is no input
  await model.predict({ picture: () => 1 });
  // @ts-expect-error a tensor needs a shape
  await model.run({ x: { data: [1] } });
  // @ts-expect-error a data type that does not exist
  await model.run({ x: { dtype: "FP31", shape: [1], data: [1] } });
  // @ts-expect-error boxes are a list
  (await model.predict<{ boxes: Box[] }>({})).boxes.score;
  // @ts-expect-error a server needs consent
  await loadModel("x/y", { hybrid: { server: "https://models.example" } });
  // @ts-expect-error there is no such method
  await model.train();
}
