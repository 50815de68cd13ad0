"""Models of 1, 10 and 100 MB: stacks of 512 x 512 layers, with a golden example each.

    python bench/models/sized.py --program twinfer --out target/bench/sized

Every run reads every weight once, as classifiers and encoders of that size do.
"""

import argparse
import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH = 512
SIZES = [1, 10, 100]
RECIPE = """[package]
name = "{name}"
version = "1.0.0"
title = "{layers} layers of {width} x {width}"
description = "For measurements of size: random weights"
license = "MIT OR Apache-2.0"
authors = ["The Twinfer authors"]
created = "2026-11-26T00:00:00Z"

[model]
file = "model.onnx"

[files]
golden = "golden.json"
"""


def build(layers: int) -> onnx.ModelProto:
    random = np.random.default_rng(layers)
    nodes, initializers, x = [], [], "x"
    for number in range(layers):
        # As large as keeps the values as they are from layer to layer.
        weights = random.normal(0, WIDTH**-0.5 * 2**0.5, (WIDTH, WIDTH)).astype(np.float32)
        initializers.append(numpy_helper.from_array(weights, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{number}"], [f"m{number}"]))
        x = f"r{number}" if number < layers - 1 else "y"
        nodes.append(helper.make_node("Relu", [f"m{number}"], [x]))
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, WIDTH])
    graph = helper.make_graph(nodes, f"sized-{layers}", [value("x")], [value("y")], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tensor(name: str, value: np.ndarray) -> dict:
    return {"name": name, "dtype": "FP32", "shape": list(value.shape), "data": {"base64": base64.b64encode(value.tobytes()).decode()}}


def prepare(layers: int, program: str, out: Path) -> dict:
    name = f"sized-{layers}"
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(build(layers), folder / "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (1, WIDTH)).astype(np.float32)
    (y,) = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": x})
    # Sums of 512 products in another order, over and over.
    tolerance = {"relative": 1e-3, "absolute": 1e-4}
    reason = "random weights in many layers: sums in another order drift apart"
    case = {"name": "one", "input": {"tensors": [tensor("x", x)]}, "expect": {"tensors": [tensor("y", y)]}, "tolerance": tolerance, "reason": reason}
    (folder / "golden.json").write_text(json.dumps({"reference": f"onnxruntime {onnxruntime.__version__}", "cases": [case]}))
    (folder / "twinfer.toml").write_text(RECIPE.format(name=name, layers=layers, width=WIDTH))
    subprocess.run([program, "pack", str(folder), "--registry", str(out / "registry"), "--force"], check=True, stdout=subprocess.DEVNULL)
    return {"reference": f"{name}:1.0.0", "onnx": str(folder / "model.onnx"), "bytes": (folder / "model.onnx").stat().st_size,
            "infer": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [round(float(v), 4) for v in x[0]]}]}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True)
    options = parser.parse_args()
    samples = [prepare(layers, options.program, options.out) for layers in SIZES]
    (options.out / "samples.json").write_text(json.dumps({"samples": samples}))


main()
