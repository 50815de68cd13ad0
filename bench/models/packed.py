"""What the measurements get of a model: the `.onnx` file for onnxruntime, a package for Twinfer."""

import base64
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

DTYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "uint8": "UINT8", "bool": "BOOL"}


def without_weight_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime folds no weight that a caller could exchange: so none is an input."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def pack(name: str, path: Path, program: str, registry: Path) -> None:
    command = [program, "pack", str(path), "--name", name, "--model-version", "1.0.0", "--registry", str(registry)]
    packed = subprocess.run(command, capture_output=True, text=True)
    if packed.returncode != 0:
        raise RuntimeError(f"twinfer pack refuses it: {packed.stderr.strip()}")


def prepare(name: str, source: str, model: onnx.ModelProto, tensors: dict, program: str, out: Path) -> dict:
    """Writes the file and the package; gives the sample, with one call of the model."""
    path = out / f"{name}.onnx"
    onnx.save(without_weight_inputs(model), path)
    # It runs with what it will be given, or the measure would be of something else.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, tensors)
    pack(name, path, program, out / "registry")
    given = [
        {"name": key, "dtype": DTYPES[str(value.dtype)], "shape": list(value.shape), "data": {"base64": base64.b64encode(value.tobytes()).decode()}}
        for key, value in tensors.items()
    ]
    # onnxruntime-web gives tensors only.
    outputs = [output.name for output in session.get_outputs() if output.type.startswith("tensor(")]
    return {"reference": f"{name}:1.0.0", "source": source, "onnx": str(path), "bytes": path.stat().st_size, "outputs": outputs, "tensors": given}
