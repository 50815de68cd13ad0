"""Twinfer in a native process beside onnxruntime's CPU provider, with as many threads.

    cargo build --release -p twinfer-tests --bin twinfer-native-turns
    target/python/bin/python bench/native_onnxruntime.py MODEL.onnx... [--threads 1 2]
        [--free N] [--rounds N] [--program FILE] [--out FILE]

Both engines are in processes of their own and take turns of some runs, so that neither gets the
quiet minutes of a machine. With one thread both run once at a time. With more, onnxruntime
splits a run between its threads; Twinfer runs one input in each thread (there are no threads
inside a run). So what is compared is the time for one input when there are many: throughput.

Onnxruntime gets the file with the weights taken out of the inputs of its graph, because it does
not fold what a caller could change. `onnxruntime`, `onnx` and `numpy` are pinned in
`models/requirements.txt`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS_A_TURN_MS = 100.0


def ready(path):
    """The model as bytes, without its weights among its inputs."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model.SerializeToString()


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def inputs(of, free):
    """The same numbers as in `native_turns.rs`."""
    made = {}
    for spec in of.get_inputs():
        shape = [n if isinstance(n, int) and n > 0 else free for n in spec.shape]
        # Scattered: what a processor predicts of one row must not help it with the next.
        steps = np.arange(int(np.prod(shape)), dtype=np.int64) * 40503 % 65521 % 251
        if spec.type == "tensor(float)":
            values = steps.astype(np.float32) / np.float32(251)
        elif spec.type == "tensor(double)":
            values = steps / 251
        else:
            values = (steps % 2).astype({"tensor(int64)": np.int64, "tensor(int32)": np.int32}[spec.type])
        made[spec.name] = values.reshape(shape)
    return made


class Ours:
    def __init__(self, program, path, free):
        command = [str(program), str(path), str(free)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load_ms = json.loads(self.process.stdout.readline())["load_ms"]
        self.outputs = None

    def turn(self, threads, runs):
        self.process.stdin.write(f"{threads} {runs}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.outputs = answer["outputs"]
        return answer["ms"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def theirs(of, given, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        of.run(None, given)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def same(ours, answers):
    """The sums of the outputs, as far as both have them as numbers."""
    for our, answer in zip(ours, answers):
        if isinstance(answer, np.ndarray) and answer.dtype == np.float32:
            total = float(answer.astype(np.float64).sum())
            scale = float(np.abs(answer.astype(np.float64)).sum())
            if abs(our - total) > 1e-4 * max(1.0, scale):
                raise SystemExit(f"the answers differ: {our} and {total}")


def measure(path, options):
    bytes_ = ready(path)
    ours = Ours(options.program, path, options.free)
    results = []
    for threads in options.threads:
        start = time.perf_counter()
        other = session(bytes_, threads)
        their_load = (time.perf_counter() - start) * 1e3
        given = inputs(other, options.free)
        same(ours.turn(1, 1) and ours.outputs, other.run(None, given))
        once = max(0.01, statistics.median(ours.turn(threads, 5)))
        runs = max(3, min(2000, int(RUNS_A_TURN_MS / once)))
        theirs(other, given, runs)
        mine, their = [], []
        for _ in range(options.rounds):
            mine += ours.turn(threads, runs)
            their += theirs(other, given, runs)
        row = {
            "model": pathlib.Path(path).name,
            "threads": threads,
            "twinfer_ms": statistics.median(mine),
            "onnxruntime_ms": statistics.median(their),
            "twinfer_min_ms": min(mine),
            "onnxruntime_min_ms": min(their),
            "load_ms": ours.load_ms,
            "onnxruntime_load_ms": their_load,
        }
        row["ratio"] = row["twinfer_ms"] / row["onnxruntime_ms"]
        row["ratio_min"] = row["twinfer_min_ms"] / row["onnxruntime_min_ms"]
        print(json.dumps(row), flush=True)
        results.append(row)
    ours.end()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--free", type=int, default=1, help="length of axes that have none")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--program", default=ROOT / "target/release/twinfer-native-turns")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    results = [row for path in options.models for row in measure(path, options)]
    if options.out:
        version = onnxruntime.__version__
        options.out.write_text(json.dumps({"onnxruntime": version, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
