"""How far single-precision implementations of `file-type` are from each other: the reason for the
tolerance in golden.json.

Runs the published examples through onnxruntime, through the reference evaluator of the package
`onnx` (numpy) in single precision, and through the same in double precision; prints the largest
differences of any probability, and how near the decisions are to tipping over.

Run: python models/file-type/spread.py     (takes about 20 seconds; needs the package onnx)
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference  # noqa: E402


class GlobalMaxPool(OpRun):
    """The one of onnx 1.22 drops the pooled axes."""

    def _run(self, x):
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def in_double_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    def widen(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if attribute.HasField("t"):
                widen(attribute.t)
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


def main() -> None:
    magika = reference.Magika(reference.FOLDER)
    path = reference.FOLDER / "model.onnx"
    single = ReferenceEvaluator(onnx.load(path), new_ops=[GlobalMaxPool])
    double = ReferenceEvaluator(in_double_precision(onnx.load(path)), new_ops=[GlobalMaxPool])
    worst = {"numpy single - onnxruntime": 0.0, "onnxruntime - numpy double": 0.0}
    lead = edge = 1.0
    for mode, content, _ in reference.published():
        scores = magika.scores(content)
        if mode != "high_confidence" or scores is None:
            continue
        tokens = {"bytes": np.array([magika.features(content)], dtype=np.int32)}
        for (name, worst_yet), other in zip(worst.items(), (single, double), strict=True):
            worst[name] = max(worst_yet, float(np.abs(other.run(None, tokens)[0] - scores).max()))
        order = np.argsort(scores[0])
        label, score = magika.config["target_labels_space"][order[-1]], float(scores[0, order[-1]])
        medium = magika.config["medium_confidence_threshold"]
        lead = min(lead, score - float(scores[0, order[-2]]))
        edge = min(edge, abs(score - medium), abs(score - magika.config["thresholds"].get(label, medium)))
    for name, value in worst.items():
        print(f"largest |{name}|: {value:.1e}")
    print(f"smallest lead of the best class: {lead:.1e}; smallest distance of a score from a threshold: {edge:.1e}")


if __name__ == "__main__":
    main()
