"""Sample models in the forms that quantisation gives them: bytes of the file, and a run natively beside
onnxruntime's CPU provider.

    cargo build --release -p twinfer-tests --bin twinfer-native-turns
    target/python/bin/python bench/quantisation.py [--rounds N] [--program FILE] [--out FILE] [--only TEXT] [--commit ID]

The forms are made by `onnxruntime.quantization` (and `onnxruntime.transformers.float16`) as the suite
`quantised` makes them (`tests/onnx/quantised.py`), into a folder that is gone at the end. Both engines run one
input at a time on one thread, in processes of their own that take turns (`native_onnxruntime.py`).
onnxruntime has its optimisations on: it is compared as it is fastest.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from native_onnxruntime import ROOT, RUNS_A_TURN_MS, Ours, inputs, ready, session, theirs

sys.path.insert(0, str(ROOT / "tests/onnx"))

from quantised import SAMPLES, forms  # noqa: E402

# Of the forms of the suite those that people ship: what each is for is in the document.
CHOSEN = ["qdq_u8u8", "qdq_u8s8_per_channel", "qoperator_u8u8", "dynamic_u8", "qdq_u8u4", "fp16"]
# How far the mean of an output may be from onnxruntime's, of its mean magnitude: the two round elsewhere.
APART = 0.05


def blocks(source, to):
    """Constant weights of products in blocks of 32 numbers of 4 bits (`MatMulNBits`), as
    `onnxruntime.quantization.matmul_nbits_quantizer` writes them without zero points."""
    size = 32
    made = onnx.load(source)
    weights = {i.name: numpy_helper.to_array(i) for i in made.graph.initializer}
    read = [name for node in made.graph.node for name in node.input]
    for node in made.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != 2:
            continue
        depth, columns = weight.shape
        rows = np.zeros((columns, -(-depth // size) * size), np.float32)
        rows[:, :depth] = weight.T
        rows = rows.reshape(columns, -1, size)
        farthest = np.take_along_axis(rows, np.abs(rows).argmax(-1)[..., None], -1)
        scales = np.where(farthest == 0, 1, farthest / -8).astype(np.float32)
        codes = np.clip(np.rint(rows / scales) + 8, 0, 15).astype(np.uint8)
        name = node.input[1]
        for suffix, array in [("packed", codes[..., ::2] | codes[..., 1::2] << 4), ("scales", scales.reshape(-1))]:
            if f"{name}_{suffix}" not in weights:
                weights[f"{name}_{suffix}"] = array
                made.graph.initializer.append(numpy_helper.from_array(array, f"{name}_{suffix}"))
        if read.count(name) == 1:
            made.graph.initializer.remove(next(i for i in made.graph.initializer if i.name == name))
        node.op_type, node.domain = "MatMulNBits", "com.microsoft"
        node.input[1:] = [f"{name}_packed", f"{name}_scales"]
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in
                              [("K", depth), ("N", columns), ("bits", 4), ("block_size", size)])
    if not any(node.op_type == "MatMulNBits" for node in made.graph.node):
        raise ValueError("there are no products with constant weights")
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(made, to)


def files(folder, only):
    """Name of the model, of its form, and the file of it; or why there is none."""
    for sample in SAMPLES:
        path = ROOT / "models" / sample
        model = path.parent.name
        if only and only not in model:
            continue
        yield model, "fp32", path, None
        made = [(label, file, make) for label, file, make in forms(model, path, onnx.load(path), folder)
                if label.removeprefix(f"{model}_") in CHOSEN]
        made.append((f"{model}_matmul_4_bits", folder / f"{model}_matmul_4_bits.onnx", lambda to, path=path: blocks(path, to)))
        for label, file, make in made:
            form = label.removeprefix(f"{model}_")
            try:
                make(file)
                yield model, form, file, None
            except Exception as error:
                yield model, form, None, f"{type(error).__name__}: {error}".splitlines()[0][:160]


def apart(sums, answers):
    """How far the sums of the outputs are apart, of the sum of magnitudes."""
    pairs = [(our, answer) for our, answer in zip(sums, answers)
             if isinstance(answer, np.ndarray) and np.issubdtype(answer.dtype, np.floating)]
    return max((abs(our - float(answer.astype(np.float64).sum())) / max(1e-9, float(np.abs(answer.astype(np.float64)).sum()))
                for our, answer in pairs), default=0.0)


def measure(path, program, rounds):
    ours = Ours(program, path, 1)
    try:
        other = session(ready(path), 1)
        given = inputs(other, 1)
        once = max(0.01, statistics.median(ours.turn(1, 3)))
        far = apart(ours.outputs, other.run(None, given))
        runs = max(2, min(2000, int(RUNS_A_TURN_MS / once)))
        theirs(other, given, min(runs, 50))
        mine, their = [], []
        for _ in range(rounds):
            mine += ours.turn(1, runs)
            their += theirs(other, given, runs)
    finally:
        ours.end()
    row = {"twinfer_ms": statistics.median(mine), "onnxruntime_ms": statistics.median(their), "apart": far}
    return {**row, "ratio": row["twinfer_ms"] / row["onnxruntime_ms"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--program", default=ROOT / "target/release/twinfer-native-turns")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/quantised.json")
    parser.add_argument("--only", help="models whose name has this in it")
    parser.add_argument("--commit", help="that the program was built from [default: the present one]")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for model, form, file, why in files(pathlib.Path(folder), options.only):
            row = {"model": model, "form": form}
            if file is None:
                row["skipped"] = why
            else:
                row["bytes"] = file.stat().st_size
                try:
                    row |= measure(file, options.program, options.rounds)
                except Exception as error:
                    row["skipped"] = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            if row.get("apart", 0.0) > APART:
                raise SystemExit(f"the answers differ: {row}")
            print(json.dumps(row), flush=True)
            results.append(row)
    machine = {"system": f"{platform.system()} {platform.machine()}", "processors": os.cpu_count(),
               "load_at_end": os.getloadavg()[0]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    commit = options.commit or subprocess.check_output(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    options.out.write_text(json.dumps(
        {"commit": commit, "when": datetime.date.today().isoformat(),
         "onnxruntime": onnxruntime.__version__, "rounds": options.rounds, "machine": machine, "results": results},
        indent=2) + "\n")


if __name__ == "__main__":
    main()
