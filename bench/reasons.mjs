// Why a goal is missed, by the goal's id in `goals.mjs`. Shown only where it is missed; written by
// whoever looked into it, and taken out when it is no longer so.

/** @type {Record<string, string>} */
export const reasons = {
  "bytes-slim":
    "A load goes through protobuf, shape inference, optimisation, pictures, JSON, signatures and the cache, and all of it is in there: 2,237 of 14,322 functions. " +
    "About a fifth of the file are constants of the whole engine: a linked module does not say where one ends, so none can be dropped.",
  "bytes-fused":
    "1.04 of the 1.5 MB are the model's weights, floats that brotli hardly shrinks and that the rival has to fetch too. The goal leaves 0.3 MB for all else; code (0.22), constants of the whole engine (0.18) and scripts (0.05) are more.",
  "first-cold":
    "The bytes alone are 0.45 of the rival's, most of them weights, and Chromium's 20 Mbit/s deliver about 14.5. Then there are the navigation, 40 ms for each question that waits for another (page, scripts, index, engine), and the first run, in code that V8 has not optimised yet. With a slim engine the model is fetched only when the engine has started.",
  "first-warm":
    "Of the fused engine's time the navigation takes 60 to 70 ms and the first run, in code that V8 compiles at its first call and has not optimised yet, 85 to 100; the rest are scripts, hashing, compiling and filling memory. V8 keeps compiled code only of what came over HTTP, and used none of it here in seven visits. A slim engine also verifies, parses and optimises the model at each visit.",
  "median-strict":
    "The tabular models run for less than 25 microseconds, most of which is the way from JavaScript into the engine and back. In MiniLM the products of two activations, softmax and normalisations are still tract's.",
  "median-fast":
    "There is no fast engine, so the strict one is compared: relaxed SIMD would give inner loops 17 % at best on this processor, and whole models, by estimate, less than a tenth, in a module that some browsers refuse (docs/engine-notes.md).",
  "fresh-latency":
    "A fresh instance costs 0.2 ms whatever the model: it is set up, what it changed is put back, and each does once what a kept one did at its first request (hash seeds, settings, the registry's index). That is as much as the whole of a tabular request. With 100 MB it is 2.4 ms, most likely for pages that are copied at their first change.",
  "fresh-p99": "See the median.",
  throughput:
    "HTTP, the hand-over to the component and back, and JSON take many times as long as the model, and on two cores the load generator takes its share. A fresh instance costs as much again as the request. Instances that are kept are as quick as two workers of FastAPI, and three times to four times as quick as one.",
  "idle-memory":
    "What instances and wasmtime keep is given back ten seconds after the last request. What is left are mostly free pages at the ends of glibc's arenas (each thread has one, and only the main one's end can be given back on demand): with one arena (`MALLOC_ARENA_MAX=1`) tumour-risk's 560 KiB were 180 in one try. Tables and stacks of the pools are the rest.",
  "load-memory":
    "Not taken apart for each model. Natively it is the resident set, which counts what the allocator keeps of freed memory; weights are there twice while they are packed for the kernels. rapidocr-det is over the limit in the page, too.",
  native:
    "Natively tract's kernels run, on one thread whatever the number: its convolutions gather their windows value by value and lay channels out anew (docs/engine-notes.md), where onnxruntime has blocked layouts and AVX-512 kernels. Our own convolutions are for wasm only. The MLP's 20 microseconds were measured while tests ran.",
};
