"""The rival in the native process: onnxruntime's CPU provider on one sample.

    python bench/rivals/native.py --model FILE --tensors FILE --threads N [--quick]

Prints milliseconds as JSON: `load` and `run`, medians and alike.
"""

import argparse
import base64
import json
import time

import numpy as np
import onnxruntime

DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8, "BOOL": np.bool_}


def summarise(values: list) -> dict:
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return {"median": at(0.5), "p95": at(0.95), "p99": at(0.99), "min": ordered[0], "max": ordered[-1], "count": len(ordered)}


def repeat(seconds: float, call) -> dict:
    call()
    times, start = [], time.perf_counter()
    while len(times) < 10 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return summarise(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--model", "--tensors", "--threads"):
        parser.add_argument(name, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(options.threads)
    settings.inter_op_num_threads = 1
    make = lambda: onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
    with open(options.tensors) as file:
        tensors = json.load(file)
    feeds = {t["name"]: np.frombuffer(base64.b64decode(t["data"]["base64"]), DTYPES[t["dtype"]]).reshape(t["shape"]) for t in tensors}
    seconds = 0.3 if options.quick else 3.0
    session = make()
    print(json.dumps({"load": repeat(seconds, make), "run": repeat(seconds, lambda: session.run(None, feeds))}))


main()
