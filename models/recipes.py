"""What the scripts of the sample models share: golden.json, tensors in it, and comparing.

A script of a model has a function `golden()` that returns the content of golden.json, made
afresh by the reference libraries. `python models/<name>/<script>.py` writes it;
`python models/check.py` makes it again and compares.
"""

import base64
import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np

# The data types of ONNX tensors as the Open Inference Protocol names them.
DTYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def versions(*packages: str) -> str:
    """`onnxruntime 1.32.0, numpy 2.4.6`: what the reference values were made with."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def tensor(name: str, array: np.ndarray) -> dict:
    """A tensor for golden.json: strings as they are, numbers little-endian in base64."""
    if array.dtype.kind in "OUS":
        data = {"strings": [str(item) for item in array.ravel()]}
        return {"name": name, "dtype": "BYTES", "shape": list(array.shape), "data": data}
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    data = {"base64": base64.b64encode(raw.tobytes()).decode()}
    return {"name": name, "dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data": data}


def maps(name: str, rows: list[dict]) -> dict:
    """The output of a ZipMap (a list of maps with the same keys) for golden.json."""
    keys = list(rows[0])
    values = np.array([[row[key] for key in keys] for row in rows], dtype=np.float32)
    return tensor(name, values) | {"keys": [str(key) for key in keys]}


def write_json(path: Path, value: dict) -> None:
    """Writes a JSON object, its lists one element a line: a change of one case is one line."""
    def member(key: str, item: object) -> str:
        if isinstance(item, list):
            return f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in item) + "\n]"
        return f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}"

    text = ",\n".join(member(key, item) for key, item in value.items())
    path.write_text("{\n" + text + "\n}\n", encoding="utf-8")


def differences(expected: object, actual: object, tolerance: dict, path: str = "") -> list[str]:
    """Where two JSON values differ: floats by more than `absolute + relative * |expected|`,
    everything else at all."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [f"{path}: keys {list(expected)} and {list(actual)}"] if expected.keys() != actual.keys() else []
        if {"name", "dtype", "shape", "data"} <= expected.keys() == actual.keys() and "base64" in expected["data"]:
            return found + _tensor_differences(expected, actual, tolerance, path)
        both = [key for key in expected if key in actual]
        return found + [d for key in both for d in differences(expected[key], actual[key], tolerance, f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path}: {len(expected)} and {len(actual)} elements"]
        pairs = enumerate(zip(expected, actual))
        return [d for i, (a, b) in pairs for d in differences(a, b, tolerance, f"{path}[{i}]")]
    if isinstance(expected, float) and isinstance(actual, float):
        if abs(expected - actual) <= tolerance["absolute"] + tolerance["relative"] * abs(expected):
            return []
    elif type(expected) is type(actual) and expected == actual:
        return []
    return [f"{path}: {expected!r} and {actual!r}"]


def _tensor_differences(expected: dict, actual: dict, tolerance: dict, path: str) -> list[str]:
    form = ("name", "dtype", "shape", "keys")
    if any(expected.get(key) != actual.get(key) for key in form):
        return [f"{path}: another form of tensor"]
    names = {name: kind for kind, name in DTYPES.items()}
    a, b = (np.frombuffer(base64.b64decode(t["data"]["base64"]), names[t["dtype"]]) for t in (expected, actual))
    far = ~np.isclose(b, a, rtol=tolerance["relative"], atol=tolerance["absolute"], equal_nan=True)
    return [f"{path}: {int(far.sum())} of {a.size} elements differ"] if far.any() else []


def largest(expected: object, actual: object) -> float:
    """The largest relative difference (absolute below 1) between floats of two JSON values."""
    if isinstance(expected, dict):
        return max((largest(expected[key], actual[key]) for key in expected), default=0.0)
    if isinstance(expected, list):
        return max((largest(a, b) for a, b in zip(expected, actual, strict=True)), default=0.0)
    return abs(expected - actual) / max(1.0, abs(expected)) if isinstance(expected, float) else 0.0
