"""Writes linear models of `ai.onnx.ml` in every form as cases of the suite `linear`.

    python linear.py FOLDER

Into FOLDER come `cases.jsonl` and `models/`, in the form of `cases.py`. What the specification
leaves open (more weights than features) is what the installed onnxruntime makes of it. What is not
here, because onnxruntime departs from the specification: two classes with weights for one, but for
LOGISTIC, and transforms of a single score of a regressor, but for PROBIT. Tolerances are those of a
few sums in FP32.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cases import tensor

SUITE = "linear"
FEATURES = 4
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
RANDOM = np.random.default_rng(20261127)


def weights(rows: int, transform: str, with_offsets: bool) -> dict:
    # PROBIT wants probabilities.
    size, middle = (0.02, 0.5) if transform == "PROBIT" else (1.0, 0.0)
    made = {"coefficients": (size * RANDOM.normal(0, 1, rows * FEATURES)).tolist(), "post_transform": transform}
    if with_offsets or transform == "PROBIT":
        made["intercepts"] = (middle + size * RANDOM.normal(0, 1, rows)).tolist()
    return made


def classifiers():
    # onnxruntime wants intercepts of classifiers.
    for (rows, labels), transform, kind in itertools.product(((1, 2), (2, 2), (3, 3)), TRANSFORMS, ("ints", "strings")):
        if rows == 1 and transform != "LOGISTIC":
            continue
        attributes = weights(rows, transform, with_offsets=True)
        attributes[f"classlabels_{kind}"] = [7 + n for n in range(labels)] if kind == "ints" else [f"c{n}" for n in range(labels)]
        outputs = [("label", TensorProto.INT64 if kind == "ints" else TensorProto.STRING, ["rows"]),
                   ("scores", TensorProto.FLOAT, ["rows", labels])]
        yield "LinearClassifier", f"{rows}-of-{labels}-{transform}-{kind}", attributes, outputs


def regressors():
    for rows, transform, with_offsets in itertools.product((1, 3), TRANSFORMS, (True, False)):
        if rows == 1 and transform not in ("NONE", "PROBIT"):
            continue
        attributes = {**weights(rows, transform, with_offsets), "targets": rows}
        offsets = "with" if with_offsets else "without"
        yield "LinearRegressor", f"{rows}-{transform}-{offsets}", attributes, [("scores", TensorProto.FLOAT, ["rows", rows])]


def case(folder: Path, operator: str, form: str, attributes: dict, outputs: list, columns: int) -> dict:
    values = [helper.make_tensor_value_info(*output) for output in outputs]
    node = helper.make_node(operator, ["x"], [name for name, *_ in outputs], domain="ai.onnx.ml", **attributes)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", columns])
    graph = helper.make_graph([node], operator, [given], values)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString()
    name = f"{operator}-{form}-{columns}"
    path = f"models/{SUITE}/{name}.onnx"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    sets = []
    for rows in (1, 5):
        x = RANDOM.normal(0, 1, (rows, columns)).astype(np.float32)
        given = {"x": x}
        got = zip([name for name, *_ in outputs], session.run(None, given))
        named = lambda pairs: [{"name": key, "value": tensor(numpy_helper.from_array(np.asarray(value)))} for key, value in pairs]
        sets.append({"inputs": named(given.items()), "outputs": named(got)})
    return {"suite": SUITE, "name": name, "model": path, "rtol": 1e-5, "atol": 1e-6, "opsets": {"ai.onnx": 13, "ai.onnx.ml": 1},
            "operators": [f"ai.onnx.ml.{operator}"], "sets": sets}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    part, count = folder / "cases.jsonl.part", 0
    with open(part, "w", encoding="utf-8") as out:
        for form in [*classifiers(), *regressors()]:
            for columns in (FEATURES, FEATURES // 2):
                out.write(json.dumps(case(folder, *form, columns)) + "\n")
                count += 1
    part.rename(folder / "cases.jsonl")
    print(json.dumps({SUITE: count}))


if __name__ == "__main__":
    main()
