"""Writes what scikit-learn, LightGBM and XGBoost answer, beside their models as ONNX.

    python estimators.py FOLDER

Into FOLDER come `cases.jsonl` and the models, in the form of `cases.py`, and `conversions.json`: of each
estimator and variant what became of the conversion (`converted`, `differs`, `refused`, `not-converted`),
and why. Models are exported with the default options of skl2onnx and onnxmltools: classifiers end in `ZipMap`.

Expected values are those of the library that fitted the model, in the types and shapes of the graph's
outputs. A number may be off by 1e-4 of itself, or by 1e-4 of 1 where it is less: the graphs compute in
single precision what the libraries compute in double. Where the graph itself, run by onnxruntime, is further
off, or gives another label, the conversion lost it: then onnxruntime's answers are expected, with the same
tolerance, and `conversions.json` says `differs`. Models that onnxruntime refuses are no cases.
"""

import base64
import json
import sys
import warnings
from pathlib import Path

import google.protobuf
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import scipy.sparse
from skl2onnx import to_onnx
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common import _container
from skl2onnx.common.data_types import (DictionaryType, FloatTensorType, Int64TensorType, StringTensorType)

import boosters
from estimator_data import data_of
from estimator_list import ALL, NOT_ALONE

RTOL = 1e-4
ATOL = 1e-4

NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}


def value(answer):
    """An input or an answer of onnxruntime in the form of the cases."""
    # A map is given as a sequence of one.
    if isinstance(answer, dict):
        answer = [answer]
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        kind = "INT64" if all(isinstance(key, (int, np.integer)) for key in answer[0]) else "BYTES"
        plain = (lambda key: int(key)) if kind == "INT64" else str
        return {"keys": kind, "maps": [[[plain(k), float(np.float32(v))] for k, v in m.items()] for m in answer]}
    if isinstance(answer, list):
        return {"sequence": [value(item) for item in answer]}
    array = np.asarray(answer)
    shape = list(array.shape)
    if array.dtype.kind in "OU":
        return {"dtype": "BYTES", "shape": shape, "strings": [str(s) for s in array.ravel()]}
    array = np.ascontiguousarray(array)
    return {"dtype": NAMES[array.dtype.name], "shape": shape, "data": base64.b64encode(array.tobytes()).decode()}


def dense(x):
    return x.toarray() if scipy.sparse.issparse(x) else np.asarray(x)


def scores(model, rows):
    """Probabilities, or what stands in their place."""
    for method in ("predict_proba", "decision_function"):
        if hasattr(model, method):
            try:
                found = getattr(model, method)(rows)
            except (AttributeError, NotImplementedError):
                continue
            if isinstance(found, list):
                return found
            if found.ndim == 1:
                found = np.stack([-found, found], axis=1)
            return found
    return None


def reference(model, task, rows):
    """What the library answers, in the order in which skl2onnx has the outputs."""
    if task == "classifier":
        return [model.predict(rows), scores(model, rows)]
    if task == "regressor":
        return [model.predict(rows)]
    if task == "cluster":
        return [model.predict(rows), model.transform(rows)]
    if task == "mixture":
        return [model.predict(rows), model.predict_proba(rows)]
    if task == "outlier":
        return [model.predict(rows), model.decision_function(rows)]
    if task == "nearest":
        distances, indices = model.kneighbors(rows)
        return [indices, distances]
    return [dense(model.transform(rows))]


def as_answered(expected, answered):
    """The library's answer in the type and shape of the graph's; `None` where it has none of that size."""
    if expected is None:
        return None
    if isinstance(answered, list) and answered and isinstance(answered[0], dict):
        expected = np.asarray(expected)
        keys = list(answered[0])
        if expected.shape != (len(answered), len(keys)):
            return None
        return [dict(zip(keys, row)) for row in expected]
    if isinstance(answered, list):
        parts = [as_answered(e, a) for e, a in zip(expected, answered)]
        return None if len(expected) != len(answered) or any(p is None for p in parts) else parts
    answered = np.asarray(answered)
    expected = np.asarray(expected)
    if isinstance(expected, np.ndarray) and expected.ndim == 3 and answered.shape == expected.shape[1:]:
        expected = expected[0]
    # A margin in one column, for which `scores` has two.
    if expected.shape == (len(answered), 2) and answered.size == len(answered):
        expected = expected[:, 1]
    if expected.size != answered.size:
        return None
    return expected.reshape(answered.shape).astype(answered.dtype)


def far(expected, answered):
    """What is wrong with the graph's answer, as the runner of the cases judges it; `None` if nothing."""
    if isinstance(answered, list) and answered and isinstance(answered[0], dict):
        flat = lambda maps: np.array([list(m.values()) for m in maps], dtype=np.float32)
        return far(flat(expected), flat(answered))
    if isinstance(answered, list):
        found = [far(e, a) for e, a in zip(expected, answered)]
        return next((f for f in found if f), None)
    if answered.dtype.kind == "f":
        near = np.isclose(answered, expected, rtol=RTOL, atol=ATOL, equal_nan=True)
    else:
        near = answered == expected
    if near.all():
        return None
    at = np.unravel_index(np.argmin(near), near.shape)
    return f"{int((~near).sum())} of {near.size} differ, as {answered[at]!s:.24} for {expected[at]!s:.24}"


def typed(rows):
    """The inputs of the graph: names and types, and what is given of some rows."""
    if isinstance(rows, pd.DataFrame):
        kinds = {"f": (FloatTensorType, np.float32), "i": (Int64TensorType, np.int64)}
        inputs, casts = [], {}
        for name in rows.columns:
            kind, dtype = kinds.get(rows[name].dtype.kind, (StringTensorType, object))
            inputs.append((name, kind([None, 1])))
            casts[name] = dtype
        give = lambda part: {n: part[n].to_numpy().astype(t).reshape(-1, 1) for n, t in casts.items()}
        return inputs, give
    if isinstance(rows, list):
        return [("X", DictionaryType(StringTensorType([1]), FloatTensorType([1])))], None
    kinds = {"f": FloatTensorType, "i": Int64TensorType}
    width = [None] if rows.ndim == 1 else [None, rows.shape[1]]
    kind = kinds.get(rows.dtype.kind, StringTensorType)
    # Texts are a column of one.
    if kind is StringTensorType and rows.ndim == 1:
        width = [None, 1]
    give = lambda part: {"X": part.astype(object).reshape(-1, 1) if width == [None, 1] and rows.ndim == 1 else part}
    return [("X", kind(width))], give


class Writer:
    def __init__(self, folder):
        self.folder = folder
        self.file = open(folder / "cases.jsonl.part", "w", encoding="utf-8")
        self.conversions = []

    def note(self, suite, name, estimator, variant, state, reason=""):
        reason = " ".join(str(reason).split())[:300]
        self.conversions.append({"suite": suite, "case": name, "estimator": estimator, "variant": variant,
                                 "state": state, "reason": reason})

    def case(self, suite, estimator, variant, convert, parts):
        """`convert` are ways to get the ONNX, with a remark each, of which the first that works is taken;
        `parts` gives the calls: what is given, and what the library answers."""
        prefix = {"scikit-learn": "sklearn"}.get(suite, suite)
        name = f"{prefix}_{estimator}_{variant}"
        note = lambda *state: self.note(suite, name, estimator, variant, *state)
        problem = None
        for remark, way in convert:
            try:
                exported = way()
            except Exception as error:
                problem = problem or ("not-converted", f"{type(error).__name__}: {error}")
                continue
            try:
                session = onnxruntime.InferenceSession(with_this_locale(exported), providers=["CPUExecutionProvider"])
                calls = [(given, session.run(None, given), expected) for given, expected in parts()]
            except Exception as error:
                # What onnxruntime says of the default export is worth more than that there is none of another.
                problem = ("refused", f"{type(error).__name__}: {error}")
                continue
            break
        else:
            return note(*problem)
        model = exported.SerializeToString()
        wanted = [[as_answered(e, a) for e, a in zip(expected, answers)] for _, answers, expected in calls]
        problems = [f"output `{session.get_outputs()[i].name}`: " + ("not what the library gives" if e is None else far(e, a))
                    for (_, answers, _), row in zip(calls, wanted)
                    for i, (e, a) in enumerate(zip(row, answers)) if e is None or far(e, a)]
        file = f"models/{suite}/{name}.onnx"
        (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / file).write_bytes(model)
        names = [output.name for output in session.get_outputs()]
        sets = []
        for (given, answers, _), row in zip(calls, wanted):
            outputs = answers if problems else row
            sets.append({
                "inputs": [{"name": n, "value": value(v)} for n, v in given.items()],
                "outputs": [{"name": n, "value": value(v)} for n, v in zip(names, outputs)],
            })
        case = {"suite": suite, "name": name, "model": file, "rtol": RTOL, "atol": ATOL,
                "opsets": {o.domain or "ai.onnx": o.version for o in exported.opset_import},
                "operators": sorted({f"{n.domain or 'ai.onnx'}.{n.op_type}" for n in exported.graph.node}), "sets": sets}
        self.file.write(json.dumps(case) + "\n")
        if problems:
            note("differs", "; ".join(filter(None, [remark, problems[0]])))
        else:
            note("converted", remark)

    def finish(self):
        self.file.close()
        (self.folder / "cases.jsonl.part").rename(self.folder / "cases.jsonl")
        text = json.dumps(self.conversions, indent=1, ensure_ascii=False)
        (self.folder / "conversions.json").write_text(text + "\n", encoding="utf-8")


def plain_numbers(op_type, inputs, outputs, **attributes):
    """`make_node` with numbers of numpy as those of Python."""
    def whole(v):
        return int(v) if isinstance(v, (bool, np.bool_, np.integer)) else v
    attributes = {k: [whole(i) for i in v] if isinstance(v, list) else v for k, v in attributes.items()}
    return onnx.helper.make_node(op_type, inputs, outputs, **attributes)


def of_booleans(model, inputs):
    before = _container.make_node
    _container.make_node = plain_numbers
    try:
        return to_onnx(model, initial_types=inputs)
    finally:
        _container.make_node = before


def conversions_of(model, inputs):
    """Ways to convert, the default one first, each with what there is to say of it."""
    return [
        ("", lambda: to_onnx(model, initial_types=inputs)),
        ("exported with target_opset={'': 18, 'ai.onnx.ml': 3}, which skl2onnx asks for here",
         lambda: to_onnx(model, initial_types=inputs, target_opset={"": 18, "ai.onnx.ml": 3})),
        (f"skl2onnx gives booleans of NumPy for whole numbers here, which protobuf {google.protobuf.__version__} refuses: "
         "made whole numbers before that",
         lambda: of_booleans(model, inputs)),
        ("exported with zipmap=False: ZipMap has no form for several labels of a row",
         lambda: to_onnx(model, initial_types=inputs, options={"zipmap": False})),
    ]


def with_this_locale(model):
    """The model with a locale of this machine for StringNormalizer: onnxruntime refuses one that is not installed,
    and `C.UTF-8` has the same upper and lower case."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type == "StringNormalizer":
            kept = [a for a in node.attribute if a.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("locale", "C.UTF-8")])
    return copy.SerializeToString()


def of_sklearn(writer, spec):
    data = data_of(spec.data)
    model = spec.make()
    model = model.fit(data.x) if data.y is None else model.fit(data.x, data.y)
    task = data.task
    if task == "columns":
        classifies = hasattr(model, "predict_proba")
        task = "classifier" if classifies else "regressor" if hasattr(model, "predict") else "transform"
    if task == "transform" and hasattr(model, "kneighbors_graph") and not hasattr(model, "transform"):
        task = "nearest"
    inputs, give = typed(data.rows)

    convert = conversions_of(model, inputs)

    def parts():
        if give is None:
            return [({"X": row}, reference(model, task, [row])) for row in data.rows]
        slices = [data.rows[:1], data.rows]
        return [(give(part), reference(model, task, part)) for part in slices]

    writer.case("scikit-learn", spec.name, spec.variant, convert, parts)


def main():
    warnings.simplefilter("ignore")
    onnxruntime.set_default_logger_severity(4)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    known = {spec.name for spec in ALL} | set(NOT_ALONE)
    lost = [cls.__name__ for cls in sklearn_operator_name_map if cls.__name__ not in known]
    if lost:
        sys.exit(f"skl2onnx converts these, and estimator_list.py has no case of them: {lost}")
    writer = Writer(folder)
    for spec in ALL:
        of_sklearn(writer, spec)
    boosters.write(writer)
    writer.finish()
    counts = {}
    for entry in writer.conversions:
        key = f"{entry['suite']} {entry['state']}"
        counts[key] = counts.get(key, 0) + 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
