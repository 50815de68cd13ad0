"""Writes cases of models in FP16, BF16 and 8-bit floating point, in the form of `cases.py`.

    python half.py FOLDER

Small networks are built in FP32, and their weights, inputs and types made FP16 or BF16. What is expected:

- FP16: what onnxruntime gives for the same file, its optimisations off. It computes in FP32 and rounds where
  numbers are moved as FP16; the tolerance is two roundings of the largest number that is expected.
- BF16, which onnxruntime has few kernels for: each node by onnxruntime in FP32, and its results rounded to
  BF16, as the types of the file say; the tolerance is one step of BF16, and one of the largest number.
- 8-bit floating point is storage: what onnxruntime gives for the file; 1e-5.
"""

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from cases import tensor

OPSET = 21
HALF = {TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16}
STEP = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
FLOAT8 = {
    "e4m3fn": TensorProto.FLOAT8E4M3FN, "e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "e5m2": TensorProto.FLOAT8E5M2, "e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
}
RNG = np.random.default_rng(16)


def normal(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), name=outputs.split()[0], **attributes)


def networks():
    """Name, nodes, inputs and weights of each; the output is `y`."""
    x = {"x": normal(4, 16)}
    yield "dense", [
        node("Gemm", "x w b", "h", alpha=0.5, beta=2.0), node("Relu", "h", "r"), node("Gemm", "r v", "g", transB=1),
        node("Softmax", "g", "y"),
    ], x, {"w": normal(16, 12), "b": normal(12), "v": normal(5, 12)}
    picture = {"x": normal(1, 3, 9, 9)}
    yield "convolution", [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("BatchNormalization", "c s t m q", "n"),
        node("LeakyRelu", "n", "r", alpha=0.1), node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("ConvTranspose", "p u", "d", strides=[2, 2]), node("AveragePool", "d", "a", kernel_shape=[3, 3]),
        node("GlobalAveragePool", "a", "y"),
    ], picture, {"w": normal(6, 3, 3, 3), "b": normal(6), "s": normal(6), "t": normal(6), "m": normal(6),
                 "q": np.abs(normal(6)) + np.float32(0.1), "u": normal(6, 4, 2, 2)}
    yield "normalised", [
        node("LayerNormalization", "x g b", "l"), node("MatMul", "l w", "h"), node("Gelu", "h", "k"),
        node("Add", "k x", "y"),
    ], x, {"g": normal(16), "b": normal(16), "w": normal(16, 16)}
    yield "attention", [
        node("MatMul", "x q", "a"), node("MatMul", "x k", "b"), node("Transpose", "b", "t", perm=[1, 0]),
        node("MatMul", "a t", "s"), node("Mul", "s scale", "m"), node("Softmax", "m", "p"), node("MatMul", "x v", "c"),
        node("MatMul", "p c", "y"),
    ], x, {"q": normal(16, 8), "k": normal(16, 8), "v": normal(16, 8), "scale": np.float32(0.35)}
    for kind, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
        yield kind.lower(), [node(kind, "x w r b", "y", hidden_size=5)], {"x": normal(6, 2, 4)}, {
            "w": normal(1, gates * 5, 4), "r": normal(1, gates * 5, 5), "b": normal(1, gates * 10),
        }
    positive = {"x": np.abs(normal(3, 8)) + np.float32(0.1)}
    for kind in ["Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Erf", "Softplus", "Softsign", "Elu", "Selu", "HardSwish",
                 "Mish", "Reciprocal", "Abs", "Neg", "Floor", "Ceil", "Round", "Sin", "Cos"]:
        yield kind.lower(), [node(kind, "x", "y")], positive, {}
    for kind in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "PRelu"]:
        yield kind.lower(), [node(kind, "x z", "y")], positive, {"z": np.abs(normal(8)) + np.float32(0.3)}
    for kind in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp", "ReduceProd"]:
        yield kind.lower(), [node(kind, "x axes", "y", keepdims=0)], {"x": normal(5, 40)}, {"axes": np.array([1], np.int64)}
    yield "einsum", [node("Einsum", "x z", "y", equation="ij,kj->ik")], x, {"z": normal(3, 16)}
    yield "moved", [
        node("Reshape", "x shape", "a"), node("Transpose", "a", "b", perm=[1, 0, 2]), node("Slice", "b from to", "c"),
        node("Concat", "c c", "d", axis=0), node("Gather", "d at", "e", axis=2), node("Pad", "e pads", "f"),
        node("Unsqueeze", "f one", "g"), node("Expand", "g wide", "y"),
    ], x, {"shape": np.array([4, 4, 4], np.int64), "from": np.array([1], np.int64), "to": np.array([3], np.int64),
           "at": np.array([3, 0], np.int64), "pads": np.array([0, 1, 0, 0, 0, 1], np.int64),
           "one": np.array([0], np.int64), "wide": np.array([2, 1, 1, 1], np.int64)}
    yield "chosen", [node("Greater", "x z", "c"), node("Where", "c x z", "w"), node("Clip", "w low high", "y")], x, {
        "z": normal(16), "low": np.float32(-0.4), "high": np.float32(0.6),
    }
    yield "resized", [node("Resize", "x  ", "y")], picture, {}
    yield "summed", [node("CumSum", "x at", "y")], x, {"at": np.array(1, np.int64)}
    yield "instances", [node("InstanceNormalization", "x s t", "i"), node("LpNormalization", "i", "y", axis=1)], picture, {
        "s": normal(3), "t": normal(3),
    }


def resized(nodes):
    """Inputs that are left out have no names."""
    for one in nodes:
        if one.op_type == "Resize":
            del one.input[:]
            one.input.extend(["x", "", "scales"])
            one.attribute.append(helper.make_attribute("mode", "linear"))
    return nodes


def made_of(nodes, dtype, inputs, weights, output):
    """The network in a type; what is no FP32 stays what it is."""
    def typed(value):
        return np.asarray(value).astype(HALF[dtype]) if value.dtype == np.float32 else value

    inputs = {name: typed(value) for name, value in inputs.items()}
    # Scales of pictures are FP32 in every model.
    weights = {name: value if name == "scales" else typed(value) for name, value in weights.items()}
    graph = helper.make_graph(
        nodes, "half", [helper.make_tensor_value_info(n, dtype, v.shape) for n, v in inputs.items()],
        [helper.make_tensor_value_info("y", dtype, output.shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), inputs, weights


def session(made):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def node_by_node(nodes, inputs, weights, dtype=None):
    """The output `y`: each node in FP32, its results rounded to a type."""
    values = {name: np.asarray(v).astype(np.float32) if np.asarray(v).dtype in HALF.values() else np.asarray(v)
              for name, v in [*inputs.items(), *weights.items()]}
    for one in nodes:
        given = {name: values[name] for name in one.input if name}
        graph = helper.make_graph(
            [one], "one", [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
            [onnx.ValueInfoProto(name=o) for o in one.output],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        for name, value in zip(one.output, session(onnx.shape_inference.infer_shapes(made)).run(None, given)):
            rounds = dtype is not None and value.dtype == np.float32
            values[name] = value.astype(HALF[dtype]).astype(np.float32) if rounds else value
    return values["y"]


def halves():
    for name, nodes, inputs, weights in networks():
        if name == "resized":
            nodes, weights = resized(nodes), {"scales": np.array([1, 1, 2, 1.5], np.float32)}
        plain = node_by_node(nodes, inputs, weights)
        for dtype, label in [(TensorProto.FLOAT16, "fp16"), (TensorProto.BFLOAT16, "bf16")]:
            made, given, kept = made_of(nodes, dtype, inputs, weights, plain)
            if dtype == TensorProto.FLOAT16:
                expected = session(made).run(None, given)[0]
            else:
                expected = node_by_node(nodes, given, kept, dtype).astype(HALF[dtype])
            largest = float(np.abs(expected.astype(np.float64)).max())
            step = STEP[dtype]
            rtol, atol = (2 * step, 2 * step * largest) if dtype == TensorProto.FLOAT16 else (step, step * largest)
            yield f"{name}_{label}", made, given, [expected], rtol, atol


def stored(name, value, dtype):
    return helper.make_tensor(name, dtype, value.shape, value.ravel().tolist())


def float8():
    """Weights, inputs and outputs of 8 bits."""
    w, x = normal(16, 8), normal(3, 16)
    scale = np.float32(0.125)
    for name, dtype in FLOAT8.items():
        info = helper.make_tensor_value_info
        def model(nodes, inputs, outputs, weights):
            graph = helper.make_graph(nodes, "float8", inputs, outputs, weights)
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

        floats, eights = TensorProto.FLOAT, dtype
        weight = stored("w", w / scale, dtype)
        factor, zero = numpy_helper.from_array(scale, "s"), stored("z", np.zeros((), np.float32), dtype)
        ins, outs = [info("x", floats, x.shape)], [info("y", floats, (3, 8))]
        cast = [node("Cast", "w", "d", to=floats), node("MatMul", "x d", "m"), node("Mul", "m s", "y")]
        yield f"cast_weights_{name}", model(cast, ins, outs, [weight, factor]), {"x": x}
        dequantised = [node("DequantizeLinear", "w s z", "d"), node("MatMul", "x d", "y")]
        yield f"dequantised_weights_{name}", model(dequantised, ins, outs, [weight, factor, zero]), {"x": x}
        channels = numpy_helper.from_array(np.linspace(0.05, 0.2, 8).astype(np.float32), "s")
        zeros = stored("z", np.zeros(8, np.float32), dtype)
        per_channel = [node("DequantizeLinear", "w s z", "d", axis=1), node("MatMul", "x d", "y")]
        yield f"per_channel_{name}", model(per_channel, ins, outs, [weight, channels, zeros]), {"x": x}
        there = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
        yield f"there_and_back_{name}", model(there, ins, [info("y", floats, x.shape)], [factor, zero]), {"x": x * 8}
        out = model([node("QuantizeLinear", "x s z", "y")], ins, [info("y", eights, x.shape)], [factor, zero])
        yield f"output_{name}", out, {"x": x * 8}
        given = model([node("Cast", "x", "y", to=floats)], [info("x", eights, x.shape)], [info("y", floats, x.shape)], [])
        yield f"input_{name}", given, {"x": stored("x", x * 8, dtype)}
        halved = [node("Cast", "w", "d", to=TensorProto.FLOAT16), node("Cast", "d", "f", to=floats), node("MatMul", "x f", "y")]
        yield f"to_fp16_{name}", model(halved, ins, outs, [weight]), {"x": x}


def as_proto(value):
    return value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value))


def by_onnxruntime(made, given):
    """Inputs of 8 bits go in as bytes, and outputs come out as FP32, which holds them exactly: numpy has no
    such types."""
    last = made.graph.output[0].type.tensor_type.elem_type
    if last in FLOAT8.values():
        widened = onnx.ModelProto()
        widened.CopyFrom(made)
        widened.graph.node.append(node("Cast", "y", "wide", to=TensorProto.FLOAT))
        widened.graph.output[0].name = "wide"
        widened.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
        return [stored("y", numpy_helper.to_array(by_onnxruntime(widened, given)[0]), last)]
    run = session(made)
    feeds = {}
    for name, value in given.items():
        if isinstance(value, onnx.TensorProto):
            data = np.frombuffer(numpy_helper.to_array(value).tobytes(), np.uint8).reshape(tuple(value.dims))
            feeds[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(data, value.data_type)
        else:
            feeds[name] = ort.OrtValue.ortvalue_from_numpy(value)
    return [numpy_helper.from_array(output.numpy()) for output in run.run_with_ort_values(None, feeds)]


def case(name, made, given, expected, rtol, atol, folder):
    file = f"models/half/{name}.onnx"
    onnx.checker.check_model(made)
    onnx.save(made, folder / file)
    nodes = sorted({(n.domain or "ai.onnx", n.op_type) for n in made.graph.node})
    return {
        "suite": "half", "name": name, "model": file, "rtol": rtol, "atol": atol,
        "opsets": {o.domain or "ai.onnx": o.version for o in made.opset_import},
        "operators": [f"{d}.{o}" for d, o in nodes],
        "sets": [{
            "inputs": [{"name": n, "value": tensor(as_proto(v))} for n, v in given.items()],
            "outputs": [{"name": o.name, "value": tensor(as_proto(v))} for o, v in zip(made.graph.output, expected)],
        }],
    }


def main():
    folder = Path(sys.argv[1])
    (folder / "models" / "half").mkdir(parents=True, exist_ok=True)
    count, refused = 0, {}
    with open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        for one in halves():
            out.write(json.dumps(case(*one, folder)) + "\n")
            count += 1
        for name, made, given in float8():
            try:
                expected = by_onnxruntime(made, given)
            except Exception as error:
                refused[name] = str(error).splitlines()[0][:160]
                continue
            out.write(json.dumps(case(name, made, given, expected, 1e-5, 1e-5, folder)) + "\n")
            count += 1
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    for name, why in refused.items():
        print(f"no case {name}: {why}", file=sys.stderr)
    print(json.dumps({"half": count, "refused": len(refused)}))


if __name__ == "__main__":
    main()
