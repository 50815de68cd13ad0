"""Forms of operators that newer versions do not have, each as a model of one node, with what it gives: worked
out with numpy where onnxruntime has no kernel of that age (it begins at operator set 7)."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

RNG = np.random.default_rng(6)


def normal(*shape):
    return RNG.normal(0, 1, shape).astype(np.float32)


def model(opset, operator, inputs, outputs=1, **attributes):
    """A model of a node of this operator; `inputs` are arrays, or nothing for those that are left out."""
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    given = {name: value for name, value in zip(names, inputs) if name}
    outs = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, names, outs, name=operator.lower(), **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()]
    graph = helper.make_graph([node], operator, infos, [onnx.ValueInfoProto(name=o) for o in outs])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if opset < 9 else 8)
    # Types of outputs are wanted; the first input has that of nearly all.
    for out in made.graph.output:
        out.type.tensor_type.elem_type = infos[0].type.tensor_type.elem_type
    return made, given


def one(name, opset, operator, inputs, expected=None, outputs=1, **attributes):
    made, given = model(opset, operator, inputs, outputs, **attributes)
    if expected is not None:
        expected = [np.asarray(e) for e in (expected if isinstance(expected, list) else [expected])]
        for out, value in zip(made.graph.output, expected):
            out.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
    return f"{operator}_{opset}_{name}", made, given, expected


def broadcasts():
    """`broadcast` and `axis` of binary operators before version 7."""
    a, same = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    inner, last, scalar = np.abs(normal(3, 4)) + 0.5, np.abs(normal(5)) + 0.5, np.array([1.5], np.float32)
    numbers = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}
    tests = {"Greater": np.greater, "Less": np.less}
    flags = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
    for name, does in {**numbers, **tests, **flags, "Equal": np.equal}.items():
        def typed(x, name=name):
            if name in flags:
                return x > 0.8
            if name == "Equal":
                return x.astype(np.int32)
            return np.abs(x) + np.float32(0.1) if name == "Pow" else x
        for opset in [1, 6] if name in numbers else [6]:
            first = typed(a)
            yield one("same", opset, name, [first, typed(same)], does(first, typed(same)))
            yield one("axis", opset, name, [first, typed(inner)], does(first, typed(inner)[:, :, None]), broadcast=1, axis=1)
            yield one("last", opset, name, [first, typed(last)], does(first, typed(last)), broadcast=1)
            if name not in ("Equal", *flags):
                yield one("one", opset, name, [first, typed(scalar)], does(first, typed(scalar)), broadcast=1)


def elementwise():
    """`consumed_inputs` of version 1, and attributes that became inputs or changed their defaults."""
    x = normal(2, 3, 4)
    positive = np.abs(x) + np.float32(0.1)
    functions = {
        "Abs": np.abs, "Ceil": np.ceil, "Exp": np.exp, "Floor": np.floor, "Neg": np.negative,
        "Reciprocal": np.reciprocal, "Relu": lambda v: np.maximum(v, 0), "Sigmoid": lambda v: 1 / (1 + np.exp(-v)), "Tanh": np.tanh,
    }
    for name, does in functions.items():
        yield one("consumed", 1, name, [x], does(x).astype(np.float32), consumed_inputs=[0])
        yield one("plain", 6, name, [x], does(x).astype(np.float32))
    for name, does in {"Log": np.log, "Sqrt": np.sqrt}.items():
        yield one("consumed", 1, name, [positive], does(positive), consumed_inputs=[0])
        yield one("plain", 6, name, [positive], does(positive))
    for opset in [1, 6, 10]:
        yield one("both", opset, "Clip", [x], np.clip(x, -0.5, 0.75).astype(np.float32), min=-0.5, max=0.75)
        yield one("low", opset, "Clip", [x], np.maximum(x, np.float32(0.1)), min=0.1)
        yield one("neither", opset, "Clip", [x], x)
    for opset in [1, 6]:
        def elu(v, alpha):
            return np.where(v > 0, v, alpha * (np.exp(v) - 1)).astype(np.float32)
        yield one("default", opset, "Elu", [x], elu(x, 1.0))
        yield one("alpha", opset, "LeakyRelu", [x], np.where(x > 0, x, 0.1 * x).astype(np.float32), alpha=0.1)
        yield one("default", opset, "HardSigmoid", [x], np.clip(0.2 * x + 0.5, 0, 1).astype(np.float32))
        alpha, gamma = (1.6732, 1.0507) if opset == 1 else (1.67326319217681884765625, 1.05070102214813232421875)
        yield one("default", opset, "Selu", [x], (gamma * elu(x, alpha)).astype(np.float32))
        slope = np.abs(normal(3))
        yield one("channels", opset, "PRelu", [x, slope], np.where(x > 0, x, x * slope[:, None]).astype(np.float32))
        yield one("one", opset, "PRelu", [x, slope[:1]], np.where(x > 0, x, x * slope[0]).astype(np.float32))
        several = [x, normal(2, 3, 4), normal(2, 3, 4)]
        yield one("several", opset, "Sum", several, (several[0] + several[1]) + several[2])
        yield one("several", opset, "Mean", several, np.mean(several, axis=0, dtype=np.float32))
        yield one("several", opset, "Max", several, np.max(several, axis=0))
        yield one("several", opset, "Min", several, np.min(several, axis=0))
    for to, dtype in [("FLOAT", np.float32), ("INT64", np.int64), ("DOUBLE", np.float64), ("BOOL", np.bool_)]:
        yield one(f"to_{to.lower()}", 1, "Cast", [x * 3], (x * 3).astype(dtype), to=to)
        yield one(f"to_{to.lower()}", 6, "Cast", [x * 3], (x * 3).astype(dtype), to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    for opset, more in [(1, {"is_test": 1, "consumed_inputs": [0]}), (6, {"is_test": 1}), (7, {}), (10, {})]:
        yield one("test", opset, "Dropout", [x], x, ratio=0.3, **more)


def shapes():
    x = normal(2, 3, 4)
    more = normal(2, 2, 4)
    for opset in [1, 4, 11]:
        yield one("axis", opset, "Concat", [x, more], np.concatenate([x, more], axis=1), axis=1)
    yield one("default", 1, "Concat", [x, x], np.concatenate([x, x], axis=1))
    yield one("attribute", 1, "Reshape", [x], x.reshape(2, 12), shape=[0, -1])
    yield one("attribute", 4, "Reshape", [x], x.reshape(4, 3, 2), shape=[4, 3, 2], consumed_inputs=[0])
    yield one("input", 5, "Reshape", [x, np.array([4, -1], np.int64)], x.reshape(4, 6))
    pads = [0, 1, 0, 1, 0, 2]
    padded = ((0, 1), (1, 0), (0, 2))
    yield one("constant", 1, "Pad", [x], np.pad(x, padded, constant_values=1.5), paddings=pads, value=1.5)
    for mode in ["constant", "reflect", "edge"]:
        yield one(mode, 2, "Pad", [x], np.pad(x, padded, mode=mode), pads=pads, mode=mode)
    yield one("attributes", 1, "Slice", [x], x[:, 1:, :-1], starts=[1, 0], ends=[1000, -1], axes=[1, 2])
    yield one("no_axes", 1, "Slice", [x], x[0:1, 0:2], starts=[0, 0], ends=[1, 2])
    one_wide = normal(1, 3, 1, 4)
    for opset in [1, 11]:
        yield one("all", opset, "Squeeze", [one_wide], one_wide.reshape(3, 4))
        yield one("axes", opset, "Squeeze", [one_wide], one_wide.reshape(1, 3, 4), axes=[2])
        yield one("axes", opset, "Unsqueeze", [x], x.reshape(1, 2, 3, 1, 4), axes=[0, 3])
    yield one("negative", 11, "Unsqueeze", [x], x.reshape(2, 3, 4, 1), axes=[-1])
    thirds = [x[:, :1], x[:, 1:]]
    yield one("attribute", 1, "Split", [x], thirds, outputs=2, axis=1, split=[1, 2])
    yield one("input", 1, "Split", [x, np.array([1, 2], np.float32)], thirds, outputs=2, axis=1)
    for opset in [2, 11]:
        yield one("attribute", opset, "Split", [x], thirds, outputs=2, axis=1, split=[1, 2])
        yield one("equal", opset, "Split", [x], [x[:, :, :2], x[:, :, 2:]], outputs=2, axis=2)
    yield one("axis", 1, "Tile", [x, np.array([3], np.float32), np.array([1], np.float32)], np.tile(x, (1, 3, 1)))
    yield one("repeats", 6, "Tile", [x, np.array([1, 2, 1], np.int64)], np.tile(x, (1, 2, 1)))
    yield one("default", 1, "Flatten", [x], x.reshape(2, 12))
    yield one("zero", 1, "Flatten", [x], x.reshape(1, 24), axis=0)
    yield one("default", 1, "Transpose", [x], x.transpose())
    yield one("axis", 1, "Gather", [x, np.array([[0, 2]], np.int64)], np.take(x, [[0, 2]], axis=1), axis=1)
    values, places = np.sort(x, axis=1)[:, ::-1][:, :2], np.argsort(-x, axis=1)[:, :2]
    yield one("attribute", 1, "TopK", [x], [values, places.astype(np.int64)], outputs=2, axis=1, k=2)
    yield one("input", 10, "TopK", [x, np.array([2], np.int64)], [values, places.astype(np.int64)], outputs=2, axis=1)
    picture = normal(1, 4, 2, 3)
    crd = picture.reshape(1, 2, 2, 1, 2, 3).transpose(0, 3, 4, 1, 5, 2).reshape(1, 1, 4, 6)
    yield one("default", 1, "DepthToSpace", [picture], crd, blocksize=2)
    yield one("nearest", 1, "Upsample", [picture], picture.repeat(2, 2).repeat(3, 3), height_scale=2.0, width_scale=3.0)
    yield one("nearest", 7, "Upsample", [picture], picture.repeat(2, 2).repeat(3, 3), scales=[1.0, 1.0, 2.0, 3.0])
    yield one("linear", 7, "Upsample", [picture], scales=[1.0, 1.0, 2.0, 2.0], mode="linear")
    yield one("nearest", 9, "Upsample", [picture, np.array([1, 1, 2, 3], np.float32)], picture.repeat(2, 2).repeat(3, 3))
    yield one("nearest", 10, "Resize", [picture, np.array([1, 1, 2, 2], np.float32)])
    yield one("linear", 10, "Resize", [picture, np.array([1, 1, 2, 2], np.float32)], mode="linear")


def reductions():
    x = normal(2, 3, 4)
    functions = {
        "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod,
        "ReduceL1": lambda v, **k: np.sum(np.abs(v), **k), "ReduceL2": lambda v, **k: np.sqrt(np.sum(v * v, **k)),
        "ReduceSumSquare": lambda v, **k: np.sum(v * v, **k), "ReduceLogSumExp": lambda v, **k: np.log(np.sum(np.exp(v), **k)),
        "ReduceLogSum": lambda v, **k: np.log(np.sum(v, **k)),
    }
    for name, does in functions.items():
        v = np.abs(x) + np.float32(0.5) if name == "ReduceLogSum" else x
        for opset in [1, 11] if name == "ReduceSum" else [1, 11, 13]:
            yield one("all", opset, name, [v], np.float32(does(v, axis=None, keepdims=True)))
            yield one("axes", opset, name, [v], does(v, axis=(0, 2), keepdims=True), axes=[0, 2])
            yield one("dropped", opset, name, [v], does(v, axis=1), axes=[1], keepdims=0)
    for name, does in {"ArgMax": np.argmax, "ArgMin": np.argmin}.items():
        yield one("kept", 1, name, [x], does(x, axis=1)[:, None].astype(np.int64), axis=1)
        yield one("dropped", 1, name, [x], does(x, axis=2).astype(np.int64), axis=2, keepdims=0)
    for opset in [1, 11]:
        for axis in [0, 1, 2]:
            rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
            power = np.exp(rows - rows.max(axis=1, keepdims=True))
            soft = power / power.sum(axis=1, keepdims=True)
            hard = np.zeros_like(rows)
            hard[np.arange(len(rows)), rows.argmax(axis=1)] = 1
            for name, made in [("Softmax", soft), ("LogSoftmax", np.log(soft)), ("Hardmax", hard)]:
                yield one(f"axis_{axis}", opset, name, [x], made.reshape(x.shape), axis=axis)


def layers():
    a, b, c = normal(3, 4), normal(4, 5), normal(5)
    for opset in [1, 6]:
        yield one("broadcast", opset, "Gemm", [a, b, c], 0.5 * (a @ b) + 2 * c, alpha=0.5, beta=2.0, broadcast=1)
        yield one("transposed", opset, "Gemm", [a.T.copy(), b.T.copy(), normal(3, 5) * 0], a @ b, transA=1, transB=1)
    yield one("broadcast", 7, "Gemm", [a, b, c], a @ b + c)
    yield one("plain", 1, "MatMul", [a, b], a @ b)
    x = normal(2, 3, 4, 5)
    scale, bias, mean, var = normal(3), normal(3), normal(3), np.abs(normal(3)) + np.float32(0.2)
    def along(v):
        return v[:, None, None]
    made = (x - along(mean)) / np.sqrt(along(var) + np.float32(1e-5)) * along(scale) + along(bias)
    for opset, more in [(1, {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]}), (6, {"is_test": 1}), (7, {}), (8, {}), (9, {}), (13, {})]:
        yield one("test", opset, "BatchNormalization", [x, scale, bias, mean, var], made.astype(np.float32), **more)
    own = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    made = (x - own[0]) / np.sqrt(own[1] + np.float32(1e-5)) * along(scale) + along(bias)
    yield one("consumed", 1, "InstanceNormalization", [x, scale, bias], made.astype(np.float32), consumed_inputs=[0])
    yield one("plain", 6, "InstanceNormalization", [x, scale, bias], made.astype(np.float32))
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))[:, :, ::2, ::2]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    for opset in [1, 7]:
        yield one("plain", opset, "AveragePool", [x], windows.mean(axis=(4, 5)), **pool)
        yield one("padded", opset, "AveragePool", [x], None if opset > 6 else _average_padded(x), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for opset in [1, 8]:
        yield one("plain", opset, "MaxPool", [x], windows.max(axis=(4, 5)), **pool)
    yield one("plain", 1, "LpPool", [x], (np.abs(windows) ** 3).sum(axis=(4, 5)) ** np.float32(1 / 3), p=3.0, **pool)
    yield one("plain", 2, "LpPool", [x], (np.abs(windows) ** 3).sum(axis=(4, 5)) ** np.float32(1 / 3), p=3, **pool)
    yield one("default", 1, "GlobalLpPool", [x], np.sqrt((x * x).sum(axis=(2, 3), keepdims=True)))
    yield one("plain", 1, "GlobalAveragePool", [x], own[0])
    yield one("plain", 1, "GlobalMaxPool", [x], x.max(axis=(2, 3), keepdims=True))
    kernel = normal(2, 3, 1, 1)
    yield one("pointwise", 1, "Conv", [x, kernel], np.einsum("nchw,oc->nohw", x, kernel[:, :, 0, 0]))
    yield one("pointwise", 1, "ConvTranspose", [x, kernel.transpose(1, 0, 2, 3).copy()], np.einsum("nchw,oc->nohw", x, kernel[:, :, 0, 0]))


def _average_padded(x):
    inside = np.pad(np.ones_like(x), ((0, 0), (0, 0), (1, 1), (1, 1)))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    def sums(v):
        return np.lib.stride_tricks.sliding_window_view(v, (3, 3), axis=(2, 3)).sum(axis=(4, 5))
    return sums(padded) / sums(inside)


def recurrent():
    """`output_sequence` of version 1; the same numbers as version 7 gives, which onnxruntime has."""
    x, hidden = normal(5, 2, 3), 4
    for name, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
        weights = [normal(1, gates * hidden, 3), normal(1, gates * hidden, hidden), normal(1, 2 * gates * hidden)]
        newer, given = model(7, name, [x, *weights], 2, hidden_size=hidden)
        expected = ort.InferenceSession(newer.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given)
        yield one("both", 1, name, [x, *weights], expected, outputs=2, hidden_size=hidden, output_sequence=1)
        yield one("both", 7, name, [x, *weights], expected, outputs=2, hidden_size=hidden)


def forms():
    """All of them: name, model, what is given, and what is expected where onnxruntime does not say it."""
    for family in [broadcasts, elementwise, shapes, reductions, layers, recurrent]:
        yield from family()
