"""Writes cases of operators in their older forms, in the form of `cases.py`: for each operator of ai.onnx
and each version that it had, models of one node.

    python opsets.py FOLDER

Most are the node tests of ONNX with an older operator set stamped on them: where the checker of ONNX takes
the node so, it means what that version says. Forms that are no more (a `broadcast` of an `axis`, `axes`,
`pads`, `min` as attributes, `to` as text ...) are built in `opset_forms.py`.

The expected values are those of onnxruntime on the same file, else those of ONNX's reference evaluator, where
either knows the version, and those that `opset_forms.py` works out with numpy; where there are two, the
script fails unless they agree. The tolerance is 1e-4 of a number and 1e-5, or 1e-6 of the largest number
that is expected, if that is more: single precision, sums in another order.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

from cases import ordered, typed
from opset_forms import forms

RTOL, ATOL = 1e-4, 1e-5
# Of each version of an operator so many node tests.
MOST = 3
# What has no numbers to compare (random ones), or is of several nodes or graphs in its tests.
LEFT_OUT = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "ImageDecoder"}

# Where the reference is not what ONNX says of that version.
DISPUTED = {
    # Padding is not counted before version 7 either, as onnxruntime and the node test have it of that version;
    # the reference evaluator counts it.
    "AveragePool_1_averagepool_2d_pads",
    # The places are those of the larger output, as in the node test; onnxruntime takes them for the smaller one.
    "MaxUnpool_9_maxunpool_export_with_output_shape", "MaxUnpool_11_maxunpool_export_with_output_shape",
    # Version 9 has no negative places: all of it is off. onnxruntime counts them from the end.
    "OneHot_9_onehot_negative_indices",
    # The corners of the output that the scales give, as in the node test; onnxruntime rounds its size first.
    "Resize_13_resize_downsample_scales_cubic_align_corners", "Resize_18_resize_downsample_scales_cubic_align_corners",
}


def versions():
    """Of each operator: its versions, with the operator set in which each was the last time."""
    newest = onnx.defs.onnx_opset_version()
    known = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and not schema.deprecated:
            known.setdefault(schema.name, set()).add(schema.since_version)
    for name, since in known.items():
        since = sorted(since)
        ends = [*(next_one - 1 for next_one in since[1:]), newest]
        # An operator that was deprecated is looked up in the set in which it came.
        yield name, [(s, e if onnx.defs.get_schema(name, e, "").since_version == s else s) for s, e in zip(since, ends)]


def stamped(model, opset):
    """The model with another operator set; nothing where that has no such node."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.opset_import[:]
    copy.opset_import.append(helper.make_opsetid("", opset))
    del copy.graph.value_info[:]
    copy.ir_version = min(copy.ir_version, 10)
    try:
        onnx.checker.check_model(copy, full_check=True)
    except Exception:
        return None
    return copy


def by_onnxruntime(model, given):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, given)
    except Exception:
        return None


def by_reference(model, given):
    try:
        return ReferenceEvaluator(model).run(None, given)
    except Exception:
        return None


def is_plain(outputs):
    return outputs is not None and all(isinstance(o, (np.ndarray, np.generic)) for o in outputs)


def agree(one, other):
    for a, b in zip(one, other):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind not in "fiub":
            continue
        if not np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=RTOL, atol=ATOL, equal_nan=True):
            return False
    return True


def node_tests():
    """The node tests of one node each, by its operator: the model, and what is given."""
    tests = {}
    for test in sorted(load_model_tests(kind="node"), key=lambda t: t.name):
        path = Path(test.model_dir) / "model.onnx"
        model = onnx.load(path)
        if len(model.graph.node) != 1 or model.graph.node[0].domain or model.graph.node[0].op_type in LEFT_OUT:
            continue
        files = ordered(Path(test.model_dir) / "test_data_set_0", "input")
        if len(files) != len(model.graph.input):
            continue
        if not all(i.type.HasField("tensor_type") for i in [*model.graph.input, *model.graph.output]):
            continue
        tests.setdefault(model.graph.node[0].op_type, []).append((test.name, model, files))
    return tests


def older(tests):
    """Node tests under older operator sets: name, model, given, and the values that are expected."""
    for operator, history in versions():
        for since, opset in history[:-1]:
            count = 0
            for name, model, files in tests.get(operator, []):
                if count == MOST:
                    break
                one = stamped(model, opset)
                if one is None:
                    continue
                protos = [onnx.TensorProto.FromString(file.read_bytes()) for file in files]
                given = {i.name: numpy_helper.to_array(p) for i, p in zip(one.graph.input, protos)}
                expected = by_onnxruntime(one, given)
                if expected is None:
                    expected = by_reference(one, given)
                if not is_plain(expected):
                    continue
                count += 1
                label = f"{operator}_{since}_{name.removeprefix('test_')}"
                if label not in DISPUTED:
                    yield label, one, given, expected


def hand_made():
    for name, model, given, expected in forms():
        kernel = by_onnxruntime(model, given)
        if kernel is not None and expected is not None and not agree(kernel, expected):
            raise AssertionError(f"{name}: onnxruntime {kernel}, the script {expected}")
        expected = kernel if expected is None else expected
        if expected is None:
            raise AssertionError(f"{name}: nobody says what is right")
        for out, value in zip(model.graph.output, expected):
            dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
            out.CopyFrom(helper.make_tensor_value_info(out.name, dtype, value.shape))
        onnx.checker.check_model(model)
        yield f"form_{name}", model, given, expected


def largest(values):
    numbers = [np.abs(v.astype(np.float64)) for v in map(np.asarray, values) if v.dtype.kind in "fiu" and v.size]
    return max((float(n[np.isfinite(n)].max(initial=0)) for n in numbers), default=0.0)


def case(name, model, given, expected, folder):
    file = f"models/opsets/{name}.onnx"
    onnx.save(model, folder / file)

    def named(values):
        return [{"name": n, "value": typed(numpy_helper.from_array(np.asarray(v)).SerializeToString(), helper.make_tensor_type_proto(1, None))}
                for n, v in values]

    outputs = [o.name for o in model.graph.output]
    nodes = sorted({(n.domain or "ai.onnx", n.op_type) for n in model.graph.node})
    return {
        "suite": "opsets", "name": name, "model": file, "rtol": RTOL, "atol": max(ATOL, 1e-6 * largest(expected)),
        "opsets": {o.domain or "ai.onnx": o.version for o in model.opset_import},
        "operators": [f"{d}.{o}" for d, o in nodes],
        "sets": [{"inputs": named(given.items()), "outputs": named(zip(outputs, expected))}],
    }


def main():
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1])
    (folder / "models" / "opsets").mkdir(parents=True, exist_ok=True)
    counts = {"older": 0, "forms": 0}
    covered = set()
    with open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        for kind, made in [("older", older(node_tests())), ("forms", hand_made())]:
            for name, model, given, expected in made:
                out.write(json.dumps(case(name, model, given, expected, folder)) + "\n")
                counts[kind] += 1
                node = model.graph.node[-1]
                opset = model.opset_import[0].version
                covered.add((node.op_type, onnx.defs.get_schema(node.op_type, opset, "").since_version))
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    old = {(name, since) for name, history in versions() for since, _ in history[:-1]}
    missing = sorted(old - covered)
    print("no case: " + ", ".join(f"{name} {since}" for name, since in missing), file=sys.stderr)
    print(json.dumps({**counts, "versions": len(old), "covered": len(old & covered)}))


if __name__ == "__main__":
    main()
