"""Writes cases of quantised models, in the form of `cases.py`.

    python quantised.py FOLDER

The models are small ones that are built here and sample models of `models/`, quantised by
`onnxruntime.quantization` or made FP16 by `onnxruntime.transformers.float16`; and single operators
(`contrib.py`). The expected values are those of onnxruntime on the same file. Its optimisations are off: they
would put fused integer operators in the place of `DequantizeLinear`, operator, `QuantizeLinear`, which round
elsewhere than the file says.

A quantised output may be off by one step where a sum lies in the middle between two: the tolerance is
one step of the output, as it is found in the file, or 1e-5 where the output is not quantised; and where
onnxruntime's own answers lie farther apart than that, as far as these do (`variation.py`).
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

import contrib
from cases import tensor
from variation import session, spread

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ["face-detector/version-RFB-320.onnx", "tumour-risk-mlp/model.onnx", "file-type/model.onnx"]
TYPES = {
    "u8u8": (QuantType.QUInt8, QuantType.QUInt8), "u8s8": (QuantType.QUInt8, QuantType.QInt8),
    "s8s8": (QuantType.QInt8, QuantType.QInt8), "u16u8": (QuantType.QUInt16, QuantType.QUInt8),
    "s16s8": (QuantType.QInt16, QuantType.QInt8), "u8u4": (QuantType.QUInt8, QuantType.QUInt4),
    "s8s4": (QuantType.QInt8, QuantType.QInt4),
}
SETS = 2


class Reader(CalibrationDataReader):
    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def model(nodes, shape, weights):
    """A graph of one input `x` and one output `y`; the shape of `y` is inferred."""
    graph = helper.make_graph(
        nodes, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


def built():
    """The models that are built here, by their names."""
    rng = np.random.default_rng(8)

    def weight(*shape):
        return rng.normal(0, 0.4, shape).astype(np.float32)

    node = helper.make_node
    conv = node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="conv")
    kernel = {"w": weight(6, 3, 3, 3), "b": weight(6)}
    picture = [1, 3, 8, 8]
    yield "conv_relu", model([conv, node("Relu", ["c"], ["y"], name="relu")], picture, kernel)
    for kind, attributes in [("Sigmoid", {}), ("LeakyRelu", {"alpha": 0.1}), ("GlobalAveragePool", {}),
                             ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
                             ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Softmax", {"axis": 1})]:
        yield f"conv_{kind.lower()}", model([conv, node(kind, ["c"], ["y"], name=kind, **attributes)], picture, kernel)
    for kind in ["Add", "Mul", "Concat"]:
        second = node("Conv", ["x", "v", "b"], ["d"], pads=[1, 1, 1, 1], name="second")
        attributes = {"axis": 1} if kind == "Concat" else {}
        last = node(kind, ["c", "d"], ["y"], name=kind, **attributes)
        yield f"conv_{kind.lower()}", model([conv, second, last], picture, {**kernel, "v": weight(6, 3, 3, 3)})
    dense = [node("MatMul", ["x", "w"], ["h"], name="matmul"), node("Add", ["h", "b"], ["y"], name="add")]
    yield "matmul", model(dense, [4, 16], {"w": weight(16, 10), "b": weight(10)})
    gemm = [node("Gemm", ["x", "w", "b"], ["y"], name="gemm", transB=1)]
    yield "gemm", model(gemm, [4, 16], {"w": weight(10, 16), "b": weight(10)})
    lstm = [node("LSTM", ["x", "w", "r", "b"], ["y"], name="lstm", hidden_size=5)]
    yield "lstm", model(lstm, [6, 2, 4], {"w": weight(1, 20, 4), "r": weight(1, 20, 5), "b": weight(1, 40)})


def feeds(source, count, seed):
    """Inputs as the model declares them; an open axis is 1."""
    rng = np.random.default_rng(seed)
    weights = {i.name for i in source.graph.initializer}
    inputs = [i for i in source.graph.input if i.name not in weights]

    def one(declared):
        kind = declared.type.tensor_type
        shape = [d.dim_value or 1 for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if np.issubdtype(dtype, np.integer):
            return rng.integers(0, 128, shape).astype(dtype)
        return rng.normal(0, 1, shape).astype(dtype)

    return [{i.name: one(i) for i in inputs} for _ in range(count)]


def forms(name, path, source, folder):
    """Each form of a model, with how it was made: pairs of its name and its path."""
    def calibrated():
        return Reader(feeds(source, 4, 1))

    for types, (activation, weight) in TYPES.items():
        for per_channel in [False, True]:
            for layout in [QuantFormat.QDQ, QuantFormat.QOperator]:
                if layout == QuantFormat.QOperator and types not in ("u8u8", "u8s8", "s8s8"):
                    continue
                label = f"{name}_{layout.name.lower()}_{types}{'_per_channel' if per_channel else ''}"
                symmetric = {"ActivationSymmetric": types == "s8s8", "WeightSymmetric": True}
                yield label, folder / f"{label}.onnx", lambda to, a=activation, w=weight, p=per_channel, f=layout, s=symmetric: (
                    quantize_static(path, to, calibrated(), quant_format=f, per_channel=p, activation_type=a,
                                    weight_type=w, extra_options=s))
    for types, weight in [("u8", QuantType.QUInt8), ("s8", QuantType.QInt8)]:
        label = f"{name}_dynamic_{types}"
        yield label, folder / f"{label}.onnx", lambda to, w=weight: quantize_dynamic(path, to, weight_type=w)
    label = f"{name}_fp16"
    yield label, folder / f"{label}.onnx", lambda to: onnx.save(
        convert_float_to_float16(onnx.load(path), keep_io_types=True), to)


def step_of(made):
    """One step of the first output where it comes out of `DequantizeLinear`, and otherwise nothing."""
    weights = {i.name: numpy_helper.to_array(i) for i in made.graph.initializer}
    makers = {out: node for node in made.graph.node for out in node.output}
    last = makers.get(made.graph.output[0].name)
    if last is None or last.op_type != "DequantizeLinear" or last.input[1] not in weights:
        return 0.0
    return float(np.max(weights[last.input[1]]))


def case(label, file, folder):
    made = onnx.load(file)
    reference = session(made)
    # Maps (ZipMap) are looked at in the suite of estimators.
    names = [o.name for o in reference.get_outputs() if o.type.startswith("tensor")]

    def named(values):
        return [{"name": n, "value": tensor(numpy_helper.from_array(np.asarray(v)))} for n, v in values]

    answers = [(given, reference.run(names, given)) for given in feeds(made, SETS, 2)]
    sets = [{"inputs": named(given.items()), "outputs": named(zip(names, answer))} for given, answer in answers]
    nodes = sorted({(n.domain or "ai.onnx", n.op_type) for n in made.graph.node})
    is_half = label.endswith("_fp16")
    apart = 0.0 if is_half else spread(made, names, answers)[0]
    return {
        "suite": "quantised", "name": label, "model": str(file.relative_to(folder)),
        "rtol": 1e-2 if is_half else 1e-4, "atol": 1e-3 if is_half else max(1e-5, 1.01 * step_of(made), apart),
        "opsets": {o.domain or "ai.onnx": o.version for o in made.opset_import},
        "operators": [f"{d}.{o}" for d, o in nodes], "sets": sets,
    }


def main():
    folder = Path(sys.argv[1])
    models = folder / "models" / "quantised"
    models.mkdir(parents=True, exist_ok=True)
    count, refused = 0, {}
    with tempfile.TemporaryDirectory() as temporary, \
            open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        sources = []
        for name, source in built():
            path = Path(temporary) / f"{name}.onnx"
            onnx.save(source, path)
            sources.append((name, path, source))
        for sample in SAMPLES:
            path = ROOT / "models" / sample
            sources.append((path.parent.name.replace("-", "_"), path, onnx.load(path)))
        for name, path, source in sources:
            for label, file, make in forms(name, path, source, models):
                # What the tools themselves refuse, or onnxruntime has no kernel for, has no right answer: it is said, and no case.
                try:
                    make(file)
                    line = json.dumps(case(label, file, folder))
                except Exception as error:
                    refused[label] = f"{type(error).__name__}: {error}".splitlines()[0][:160]
                    file.unlink(missing_ok=True)
                    continue
                out.write(line + "\n")
                count += 1
        # Operators one by one.
        (folder / "models" / "contrib").mkdir(exist_ok=True)
        for label, one, why in contrib.cases(folder / "models" / "contrib", session, tensor):
            if why:
                refused[label] = why
                continue
            out.write(json.dumps(one) + "\n")
            count += 1
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    for label, why in refused.items():
        print(f"no case {label}: {why}", file=sys.stderr)
    print(json.dumps({"quantised": count, "refused": len(refused)}))


if __name__ == "__main__":
    main()
