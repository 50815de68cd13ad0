"""Makes the recipes of the test models: one that goes through the C math library of every
place, one with untidy names and free axes, one with integers, booleans and doubles.

Models and reference outputs (onnxruntime) are those of
crates/twinfer/tests/reference/session_reference.py: run that first.
"""

import json
import pathlib
import shutil

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent.parent / "crates/twinfer/tests/data"
DESCRIPTIONS = {
    "math_probe": "Every function of the C math library that the engine calls, on a wide grid",
    "untidy": "Names with / and :, a weight listed as input, free axes, integer shapes",
    "types": "Integers, booleans and doubles in and out",
}


def golden_tensor(tensor):
    return {"name": tensor["name"], "dtype": tensor["dtype"], "shape": tensor["shape"],
            "data": {"base64": tensor["base64"]}}


def main():
    cases = {case["model"]: case for case in json.loads((DATA / "cases.json").read_text())}
    for model, description in DESCRIPTIONS.items():
        case = cases[model]
        name = model.replace("_", "-")
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        shutil.copy(DATA / f"{model}.onnx", folder / "model.onnx")
        tolerance = {"relative": case["tolerance"], "absolute": case["tolerance"]}
        golden = {
            "reference": "onnxruntime 1.32.0, by crates/twinfer/tests/reference/session_reference.py",
            "cases": [
                {"name": f"call-{index}",
                 "input": {"tensors": [golden_tensor(t) for t in call["inputs"]]},
                 "expect": {"tensors": [golden_tensor(t) for t in call["outputs"]]},
                 "tolerance": tolerance,
                 "reason": case["reason"] or "relative to 1 + the value, as sums of a few numbers"}
                for index, call in enumerate(case["calls"])
            ],
        }
        (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
        (folder / "twinfer.toml").write_text(f'''[package]
name = "{name}"
version = "1.0.0"
title = "Test model: {name}"
description = "{description}"
license = "MIT OR Apache-2.0"
authors = ["Twinfer"]
created = "2026-11-25T00:00:00Z"

[model]
file = "model.onnx"

[files]
golden = "golden.json"
''')


if __name__ == "__main__":
    main()
