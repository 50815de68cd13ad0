"""Small models of one operator of `com.microsoft` each, for `quantised.py`: every operator that
`onnxruntime.quantization` writes, in its forms, and those that its optimisers fuse beside them.

The expected values are onnxruntime's. A quantised output may be off by one step, no more: onnxruntime
itself rounds in FP32 or in fixed point, as the processor has it. Floating point may be off by 1e-5, where
nothing is said of another tolerance.
"""

from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper, numpy_helper

U8, I8, F32 = np.uint8, np.int8, np.float32
MICROSOFT = "com.microsoft"


@dataclass
class Form:
    """A node and what it is given: `None` is left out, what is in `fixed` is a weight, and the rest comes
    with each run."""

    operator: str
    inputs: list
    fixed: tuple = ()
    outputs: tuple = ("y",)
    attributes: dict = field(default_factory=dict)
    rtol: float = 1e-5
    atol: float = 1e-5
    # What is expected where onnxruntime is not the reference for this form; or a form that is the same.
    answer: object = None
    # Weights of types that numpy has not.
    protos: dict = field(default_factory=dict)

    def model(self):
        names = ["" if given is None and at not in self.protos else f"i{at}" for at, given in enumerate(self.inputs)]
        while names and not names[-1]:
            names.pop()
        node = helper.make_node(self.operator, names, list(self.outputs), "node", domain=MICROSOFT, **self.attributes)
        weights, inputs = list(self.protos.values()), []
        for at, given in enumerate(self.inputs):
            if given is None:
                continue
            if at in self.fixed:
                weights.append(numpy_helper.from_array(given, f"i{at}"))
            else:
                kind = helper.np_dtype_to_tensor_dtype(given.dtype)
                inputs.append(helper.make_tensor_value_info(f"i{at}", kind, given.shape))
        outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in self.outputs if name]
        for output in outputs:
            output.ClearField("type")
        graph = helper.make_graph([node], "contrib", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def feeds(self):
        return {f"i{at}": given for at, given in enumerate(self.inputs) if given is not None and at not in self.fixed}


def forms():
    """Names and forms."""
    rng = np.random.default_rng(21)
    for name, family in [
        ("pairs", pairs), ("maps", maps), ("pools", pools), ("products", products), ("n_bits", n_bits),
        ("convolutions", convolutions), ("recurrent", recurrent), ("linear", linear), ("floats", floats), ("attention", attention),
    ]:
        for label, form in family(rng):
            yield f"contrib_{label}", form


def bytes_of(rng, dtype, *shape):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def point(dtype, scale, zero):
    """A scale and a zero point; that of INT8 lies in the middle of its range."""
    return [np.array(scale, F32), np.array(zero - (128 if dtype == I8 else 0), dtype)]


def floats_of(rng, *shape):
    return rng.normal(0, 1, shape).astype(F32)


def quantised(operator, inputs, **attributes):
    """A form whose output is quantised: scales and zero points are weights."""
    fixed = tuple(at for at, given in enumerate(inputs) if given is not None and np.ndim(given) == 0)
    return Form(operator, inputs, fixed, attributes=attributes, rtol=0.0, atol=1.0)


def pairs(rng):
    shapes = {"": ([2, 3, 5], [2, 3, 5]), "_row": ([2, 3, 5], [5]), "_scalar": ([2, 3, 5], [1]),
              "_column": ([3, 1], [2, 1, 4])}
    for operator in ["QLinearAdd", "QLinearMul"]:
        for dtype in [U8, I8]:
            for label, (a, b) in shapes.items():
                given = [bytes_of(rng, dtype, *a), *point(dtype, 0.02, 120), bytes_of(rng, dtype, *b),
                         *point(dtype, 0.03, 90), *point(dtype, 0.05, 130)]
                yield f"{operator}_{dtype.__name__}{label}", quantised(operator, given)
    for dtype in [U8, I8]:
        given = [np.array([[True], [False]]), bytes_of(rng, dtype, 2, 7), *point(dtype, 0.02, 120),
                 bytes_of(rng, dtype, 7), *point(dtype, 0.03, 90), *point(dtype, 0.04, 125)]
        yield f"QLinearWhere_{dtype.__name__}", quantised("QLinearWhere", given)
        same = point(dtype, 0.04, 125)
        parts = [*same, bytes_of(rng, dtype, 2, 3, 4), *same, bytes_of(rng, dtype, 2, 2, 4), *point(dtype, 0.03, 90)]
        yield f"QLinearConcat_{dtype.__name__}", quantised("QLinearConcat", parts, axis=1)
        yield f"QLinearConcat_{dtype.__name__}_one", quantised("QLinearConcat", parts[:5], axis=-1)


def maps(rng):
    for dtype in [U8, I8]:
        all_of_them = np.arange(256).astype(U8).view(dtype)
        given = [all_of_them, *point(dtype, 0.05, 128), *point(dtype, 1 / 256, 3)]
        yield f"QLinearSigmoid_{dtype.__name__}", quantised("QLinearSigmoid", given)
        given = [all_of_them, *point(dtype, 0.05, 128), *point(dtype, 0.04, 60)]
        yield f"QLinearLeakyRelu_{dtype.__name__}", quantised("QLinearLeakyRelu", given, alpha=0.2)
        yield f"QLinearLeakyRelu_{dtype.__name__}_default", quantised("QLinearLeakyRelu", given)
        for label, shape, attributes in [("last", [3, 10], {"axis": -1, "opset": 13}),
                                         ("middle", [2, 9, 4], {"axis": 1, "opset": 13}),
                                         ("flat", [2, 3, 4], {"axis": 1, "opset": 11})]:
            given = [bytes_of(rng, dtype, *shape), *point(dtype, 0.02, 128), *point(dtype, 1 / 256, 0)]
            yield f"QLinearSoftmax_{dtype.__name__}_{label}", quantised("QLinearSoftmax", given, **attributes)


def pools(rng):
    windows = {
        "plain": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "pads": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        "pads_counted": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        "same": {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    }
    for dtype in [U8, I8]:
        scales = [*point(dtype, 0.02, 120), *point(dtype, 0.015, 128)]
        for label, attributes in windows.items():
            given = [bytes_of(rng, dtype, 2, 3, 8, 8), *scales]
            yield f"QLinearAveragePool_{dtype.__name__}_{label}", quantised("QLinearAveragePool", given, **attributes)
        last = [bytes_of(rng, dtype, 2, 8, 8, 3), *scales]
        yield f"QLinearAveragePool_{dtype.__name__}_channels_last", quantised(
            "QLinearAveragePool", last, channels_last=1, **windows["pads"])
        yield f"QLinearGlobalAveragePool_{dtype.__name__}", quantised("QLinearGlobalAveragePool", given)
        yield f"QLinearGlobalAveragePool_{dtype.__name__}_channels_last", quantised(
            "QLinearGlobalAveragePool", last, channels_last=1)


def products(rng):
    for a_type, b_type in [(U8, U8), (U8, I8), (I8, I8)]:
        label = f"{a_type.__name__}_{b_type.__name__}"
        a, b = bytes_of(rng, a_type, 5, 20), bytes_of(rng, b_type, 20, 9)
        of_a, of_b = point(a_type, 0.02, 120), point(b_type, 0.01, 128)
        bias = rng.integers(-3000, 3000, 9).astype(np.int32)
        fixed = (1, 2, 3, 4, 5, 6, 7, 8)
        exact = {"rtol": 0.0, "atol": 1.0}
        yield f"QGemm_{label}", Form("QGemm", [a, *of_a, b, *of_b, bias, *point(a_type, 0.1, 128)], fixed, **exact)
        yield f"QGemm_{label}_turned", Form(
            "QGemm", [a.T.copy(), *of_a, b.T.copy(), *of_b, bias, *point(a_type, 0.1, 128)], fixed,
            attributes={"transA": 1, "transB": 1, "alpha": 0.7}, **exact)
        yield f"QGemm_{label}_float", Form("QGemm", [a, *of_a, b, *of_b, bias], fixed)
        per_column = [rng.uniform(0.005, 0.02, 9).astype(F32), np.full(9, of_b[1], b_type)]
        yield f"QGemm_{label}_per_column", Form(
            "QGemm", [a, *of_a, b, *per_column, bias, *point(a_type, 0.1, 128)], fixed, **exact)
        batch = bytes_of(rng, a_type, 2, 5, 20)
        added = floats_of(rng, 9)
        fixed = (1, 2, 3, 4, 5, 6)
        yield f"MatMulIntegerToFloat_{label}", Form(
            "MatMulIntegerToFloat", [batch, b, of_a[0], of_b[0], of_a[1], of_b[1], added], fixed)
        yield f"MatMulIntegerToFloat_{label}_per_column", Form(
            "MatMulIntegerToFloat", [batch, b, of_a[0], per_column[0], of_a[1], per_column[1], added], fixed)
        yield f"MatMulIntegerToFloat_{label}_bare", Form(
            "MatMulIntegerToFloat", [batch, b, of_a[0], of_b[0]], fixed)
    for b_type in [U8, I8]:
        b, (scale, zero) = bytes_of(rng, b_type, 20, 9), point(b_type, 0.01, 128)
        per_column = [rng.uniform(0.005, 0.02, 9).astype(F32), np.full(9, zero, b_type)]
        given = floats_of(rng, 3, 4, 20)
        for label, inputs in [("", [given, b, scale, zero, floats_of(rng, 9)]), ("_bare", [given, b, scale]),
                              ("_per_column", [given, b, *per_column])]:
            yield f"DynamicQuantizeMatMul_{b_type.__name__}{label}", Form(
                "DynamicQuantizeMatMul", inputs, (1, 2, 3, 4))


def n_bits(rng):
    """Weights of `bits` in blocks, each column's rounded up to a whole block."""
    for bits in [2, 4, 8]:
        for depth, block in [(64, 32), (40, 16)]:
            columns, blocks = 6, -(-depth // block)
            weights = rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(U8)
            scales = rng.uniform(0.01, 0.1, columns * blocks).astype(F32)
            packed = rng.integers(0, 256, columns * (-(-blocks * bits // 8))).astype(U8)
            numbers = {"K": depth, "N": columns, "bits": bits, "block_size": block}
            label = f"MatMulNBits_{bits}_{depth}"
            for rows, given in [("", floats_of(rng, 1, depth)), ("_rows", floats_of(rng, 2, 5, depth))]:
                yield label + rows, Form("MatMulNBits", [given, weights, scales], (1, 2), attributes=numbers,
                                         rtol=1e-4, atol=1e-4)
                yield f"{label}{rows}_zero_points", Form(
                    "MatMulNBits", [given, weights, scales, packed], (1, 2, 3), attributes=numbers, rtol=1e-4, atol=1e-4)
            zeros = rng.uniform(0, 2**bits, columns * blocks).astype(F32)
            # Those of 8 bits onnxruntime does not run.
            if bits < 8:
                yield f"{label}_float_zero_points", Form(
                    "MatMulNBits", [given, weights, scales, zeros], (1, 2, 3), attributes=numbers, rtol=1e-4, atol=1e-4)
            blockwise = rng.permutation(blocks)[np.arange(depth) // block].astype(np.int32)
            if bits == 4:
                yield f"{label}_groups", Form(
                    "MatMulNBits", [given, weights, scales, None, blockwise], (1, 2, 4), attributes=numbers,
                    rtol=1e-4, atol=1e-4)
            # onnxruntime takes the groups of the first 8 places of a block for all of it, leaves zero points out
            # beside groups, and refuses 8 bits: what is expected here is what the document says.
            scattered = rng.permutation(blockwise)
            yield f"{label}_scattered_groups", Form(
                "MatMulNBits", [given, weights, scales, packed, scattered], (1, 2, 3, 4), attributes=numbers,
                rtol=1e-4, atol=1e-4,
                answer=[given @ unpacked(weights, scales, packed, scattered, bits, columns).T])
            yield f"{label}_bias", Form(
                "MatMulNBits", [given, weights, scales, packed, None, floats_of(rng, columns)], (1, 2, 3, 5),
                attributes=numbers, rtol=1e-4, atol=1e-4)


def codes_of(packed, bits):
    """Some bits of each byte, the first in the lowest, along the last axis."""
    parts = [(packed >> at) & (2**bits - 1) for at in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*packed.shape[:-1], -1)


def unpacked(weights, scales, zeros, groups, bits, columns):
    """The weights that the codes of `MatMulNBits` stand for, `[columns, depth]`."""
    codes = codes_of(weights.reshape(columns, -1), bits)[:, : len(groups)].astype(F32)
    zeros = codes_of(zeros.reshape(columns, -1), bits)
    return (codes - zeros[:, groups]) * scales.reshape(columns, -1)[:, groups]


def convolutions(rng):
    for x_type, w_type in [(U8, U8), (U8, I8), (I8, I8)]:
        x, w = bytes_of(rng, x_type, 2, 7, 7, 4), bytes_of(rng, w_type, 6, 2, 3, 3)
        given = [x, *point(x_type, 0.02, 120), w, *point(w_type, 0.01, 128), *point(x_type, 0.2, 128),
                 rng.integers(-2000, 2000, 6).astype(np.int32)]
        yield f"QLinearConv_{x_type.__name__}_{w_type.__name__}_channels_last", Form(
            "QLinearConv", given, (1, 2, 3, 4, 5, 6, 7, 8), rtol=0.0, atol=1.0,
            attributes={"channels_last": 1, "group": 2, "pads": [1, 1, 1, 1], "strides": [2, 1]})


def recurrent(rng):
    steps, batch, width, hidden = 5, 3, 4, 6
    for dtype in [U8, I8]:
        for direction, count in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
            zero = np.full(count, 128 if dtype == U8 else 0, dtype)
            scale = rng.uniform(0.005, 0.01, count).astype(F32)
            weights = [bytes_of(rng, dtype, count, depth, 4 * hidden) for depth in (width, hidden)]
            inputs = [floats_of(rng, steps, batch, width), *weights, floats_of(rng, count, 8 * hidden), None, None, None,
                      None, scale, zero, scale * 1.5, zero]
            fixed = (1, 2, 3, 8, 9, 10, 11)
            attributes = {"hidden_size": hidden, "direction": direction}
            outputs = ("y", "y_h", "y_c")
            label = f"DynamicQuantizeLSTM_{dtype.__name__}_{direction}"
            yield label, Form("DynamicQuantizeLSTM", inputs, fixed, outputs, attributes, rtol=1e-4)
            if direction == "reverse":
                continue
            lengths = np.array([5, 2, 4], np.int32)
            states = [floats_of(rng, count, batch, hidden) for _ in range(2)]
            peepholes = floats_of(rng, count, 3 * hidden)
            more = inputs[:4] + [lengths, *states, peepholes] + inputs[8:]
            yield f"{label}_everything", Form(
                "DynamicQuantizeLSTM", more, fixed + (7,), outputs,
                {**attributes, "clip": 2.0, "activations": ["HardSigmoid", "ScaledTanh", "Tanh"] * count,
                 "activation_alpha": [0.3, 1.1] * count, "activation_beta": [0.4, 0.9] * count}, rtol=1e-4)
            per_column = [rng.uniform(0.005, 0.01, (count, 4 * hidden)).astype(F32),
                          np.repeat(zero[:, None], 4 * hidden, 1)]
            columns = inputs[:8] + per_column + per_column
            yield f"{label}_per_column", Form("DynamicQuantizeLSTM", columns, fixed, outputs, attributes, rtol=1e-4)
            yield f"{label}_coupled", Form("DynamicQuantizeLSTM", inputs, fixed, ("", "y_h"),
                                           {**attributes, "input_forget": 1}, rtol=1e-4)


def linear(rng):
    """`QuantizeLinear` and `DequantizeLinear` of this domain, with the types that they had first."""
    types = {"uint8": U8, "int8": I8, "uint16": np.uint16, "int16": np.int16}
    for label, dtype in types.items():
        middle = (np.iinfo(dtype).min + np.iinfo(dtype).max + 1) // 2
        zero, zeros = np.array(middle + 3, dtype), np.array([middle, middle + 5, middle - 7], dtype)
        scales = np.array([0.01, 0.02, 0.003], F32)
        x = floats_of(rng, 2, 3, 4)
        yield f"QuantizeLinear_{label}", Form("QuantizeLinear", [x, scales[0].copy(), zero], (1, 2), rtol=0.0, atol=0.0)
        yield f"QuantizeLinear_{label}_per_channel", Form(
            "QuantizeLinear", [x, scales, zeros], (1, 2), attributes={"axis": 1}, rtol=0.0, atol=0.0)
        codes = bytes_of(rng, dtype, 2, 3, 4)
        yield f"DequantizeLinear_{label}", Form("DequantizeLinear", [codes, scales[0].copy(), zero], (1, 2))
        yield f"DequantizeLinear_{label}_per_channel", Form(
            "DequantizeLinear", [codes, scales, zeros], (1, 2), attributes={"axis": 1})
    whole = rng.integers(-(10**6), 10**6, (2, 3, 4)).astype(np.int32)
    yield "DequantizeLinear_int32", Form("DequantizeLinear", [whole, scales[0].copy(), np.array(0, np.int32)], (1, 2))
    for label, kind, least in [("uint4", TensorProto.UINT4, 0), ("int4", TensorProto.INT4, -8)]:
        codes = rng.integers(least, least + 16, (2, 3, 5))
        weights = {0: helper.make_tensor("i0", kind, codes.shape, codes.flatten()),
                   2: helper.make_tensor("i2", kind, [3], [least + 8, least + 6, least + 9])}
        yield f"DequantizeLinear_{label}_per_channel", Form(
            "DequantizeLinear", [None, scales, None], (1,), attributes={"axis": 1}, protos=weights)


def floats(rng):
    """What the optimisers fuse in floating point."""
    x, bias = floats_of(rng, 2, 5, 16) * 2, floats_of(rng, 16)
    yield "Gelu", Form("Gelu", [x])
    yield "BiasGelu", Form("BiasGelu", [x, bias], (1,))
    yield "FastGelu", Form("FastGelu", [x])
    yield "FastGelu_bias", Form("FastGelu", [x, bias], (1,))
    yield "QuickGelu", Form("QuickGelu", [x])
    yield "QuickGelu_alpha", Form("QuickGelu", [x], attributes={"alpha": 1.0})
    skip, gamma, beta = floats_of(rng, 2, 5, 16), floats_of(rng, 16), floats_of(rng, 16)
    for label, given in [("", [x, skip, gamma, beta]), ("_bias", [x, skip, gamma, beta, bias]), ("_bare", [x, skip, gamma])]:
        fixed = (2, 3, 4)
        yield f"SkipLayerNormalization{label}", Form("SkipLayerNormalization", given, fixed)
        yield f"SkipLayerNormalization{label}_sum", Form(
            "SkipLayerNormalization", given, fixed, ("y", "", "", "sum"), {"epsilon": 1e-3})
    for label, given in [("", [x, skip, gamma]), ("_bias", [x, skip, gamma, bias])]:
        yield f"SkipSimplifiedLayerNormalization{label}", Form("SkipSimplifiedLayerNormalization", given, (2, 3))
        yield f"SkipSimplifiedLayerNormalization{label}_sum", Form(
            "SkipSimplifiedLayerNormalization", given, (2, 3), ("y", "", "", "sum"), {"epsilon": 1e-3})
    a, b = floats_of(rng, 3, 4, 6), floats_of(rng, 3, 6, 5)
    yield "FusedMatMul", Form("FusedMatMul", [a, b], (1,), attributes={"alpha": 0.5})
    turned = [a.transpose(0, 2, 1).copy(), b.transpose(0, 2, 1).copy()]
    yield "FusedMatMul_turned", Form("FusedMatMul", turned, (1,), attributes={"alpha": 0.5, "transA": 1, "transB": 1})
    yield "FusedMatMul_plain", Form("FusedMatMul", [a, b])
    batches = [a.transpose(1, 0, 2).copy(), b.transpose(1, 0, 2).copy()]
    yield "FusedMatMul_turned_batch", Form(
        "FusedMatMul", batches, attributes={"transBatchA": 1, "transBatchB": 1})
    activations = [("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.2}), ("Tanh", {}), ("Sigmoid", {}),
                   ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4})]
    for name, attributes in activations:
        yield f"FusedGemm_{name}", Form(
            "FusedGemm", [a[0], b[0].T.copy(), floats_of(rng, 5)], (1, 2),
            attributes={"activation": name, "transB": 1, "alpha": 0.7, "beta": 1.3, **attributes})
        parameters = list(attributes.values())
        image, weights = floats_of(rng, 1, 4, 7, 7), floats_of(rng, 6, 2, 3, 3)
        yield f"FusedConv_{name}", Form(
            "FusedConv", [image, weights, floats_of(rng, 6)], (1, 2),
            attributes={"activation": name, "group": 2, "pads": [1, 1, 1, 1],
                        **({"activation_params": parameters} if parameters else {})})
    yield "FusedConv_Clip", Form("FusedConv", [image, weights], (1,),
                                 attributes={"activation": "Clip", "group": 2, "activation_params": [0.0, 2.0]})
    yield "FusedConv_sum", Form(
        "FusedConv", [image, weights, floats_of(rng, 6), floats_of(rng, 1, 6, 5, 5)], (1, 2),
        attributes={"activation": "Relu", "group": 2})


def attention(rng):
    """Attention as the optimisers write it, and what comes first in such a file."""
    batch, length, heads, size = 2, 5, 3, 4
    wide = heads * size
    x, weights, bias = floats_of(rng, batch, length, wide), floats_of(rng, wide, 3 * wide) / 3, floats_of(rng, 3 * wide)
    past = floats_of(rng, 2, batch, heads, 3, size)
    added = floats_of(rng, batch, heads, length, length)
    ends, spans = np.array([5, 3], np.int32), np.array([5, 4, 1, 0], np.int32)
    keys = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 1, 1]], np.int32)
    every = (rng.random((batch, length, length)) < 0.7).astype(np.int32) | np.eye(length, dtype=np.int32)
    settings = {"num_heads": heads}
    inputs = [x, weights, bias]
    kinds = {"": [], "_ends": [ends], "_spans": [spans], "_keys": [keys], "_every": [every],
             "_past": [None, past], "_added": [None, None, added], "_keys_added": [keys, None, added],
             "_past_keys": [np.array([[1] * 8, [0, 1, 1] + [1] * 5], np.int32), past]}
    near = {"rtol": 1e-4, "atol": 1e-5}
    for label, more in kinds.items():
        outputs = ("y", "present") if "past" in label else ("y",)
        yield f"Attention{label}", Form("Attention", inputs + more, (1, 2), outputs, settings, **near)
        if label in ("", "_keys", "_past"):
            yield f"Attention{label}_causal", Form(
                "Attention", inputs + more, (1, 2), outputs, {**settings, "unidirectional": 1}, **near)
    uneven = [x, floats_of(rng, wide, 2 * wide + 18), floats_of(rng, 2 * wide + 18)]
    yield "Attention_sizes", Form("Attention", uneven, (1, 2), attributes={
        **settings, "qkv_hidden_sizes": [wide, wide, 18], "scale": 0.3}, **near)
    whole = bytes_of(rng, U8, batch, length, wide)
    for dtype in [U8, I8]:
        of_weights, zero = np.array(0.01, F32), point(dtype, 1, 128)[1]
        given = [whole, bytes_of(rng, dtype, wide, 3 * wide), bias, np.array(0.02, F32), of_weights, keys,
                 np.array(120, U8), zero]
        yield f"QAttention_{dtype.__name__}", Form("QAttention", given, (1, 2, 3, 4, 6, 7), attributes=settings, **near)
    q, k, v = floats_of(rng, batch, 4, wide), x, floats_of(rng, batch, length, wide)
    cross = {"": [q, k, v], "_bias": [q, k, v, bias], "_keys": [q, k, v, bias, keys],
             "_ends": [q, k, v, None, ends], "_added": [q, k, v, None, None, floats_of(rng, 1, heads, 4, length)],
             "_past": [x, k, v, None, None, None, past[0].copy(), past[1].copy()]}
    for label, given in cross.items():
        outputs = ("y", "present_key", "present_value") if label in ("_past", "_bias") else ("y",)
        yield f"MultiHeadAttention{label}", Form("MultiHeadAttention", given, (3,), outputs, settings, **near)
    # onnxruntime's CPU provider has no packed forms: those that are packed here.
    stacked = np.stack([part.reshape(batch, length, heads, size) for part in (x, k, v)], 3)
    for label, given, plain in [("packed", [stacked], [x, k, v]), ("packed_keys", [q, stacked[..., 1:, :].copy()], [q, k, v])]:
        yield f"MultiHeadAttention_{label}", Form(
            "MultiHeadAttention", given, attributes=settings, answer=Form("MultiHeadAttention", plain, attributes=settings), **near)
    yield "MultiHeadAttention_causal", Form(
        "MultiHeadAttention", [x, k, v], attributes={**settings, "unidirectional": 1}, **near)
    ids, segments = rng.integers(0, 20, (2, 6)).astype(np.int32), rng.integers(0, 2, (2, 6)).astype(np.int32)
    tables = [floats_of(rng, 20, 8), floats_of(rng, 9, 8), floats_of(rng, 2, 8), floats_of(rng, 8), floats_of(rng, 8)]
    mask = np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32)
    fixed = (2, 3, 4, 5, 6)
    yield "EmbedLayerNormalization", Form(
        "EmbedLayerNormalization", [ids, segments, *tables, mask], fixed, ("y", "lengths"), **near)
    bare = [ids, None, *tables[:2], None, *tables[3:]]
    yield "EmbedLayerNormalization_bare", Form("EmbedLayerNormalization", bare, fixed, ("y", "lengths"), **near)
    places = rng.integers(0, 9, (2, 6)).astype(np.int32)
    yield "EmbedLayerNormalization_positions", Form(
        "EmbedLayerNormalization", [ids, segments, *tables, None, places], fixed, ("y", "", "sum"), **near)


def cases(folder, session, tensor):
    """Each form as a case; what onnxruntime itself does not run is given with the reason instead."""
    import onnx

    for label, form in forms():
        model = form.model()
        path = folder / f"{label}.onnx"
        names = [name for name in form.outputs if name]
        try:
            same = form.answer if isinstance(form.answer, Form) else form
            plain = isinstance(form.answer, list)
            answers = form.answer if plain else session(same.model()).run(names, same.feeds())
        except Exception as error:
            yield label, None, f"{type(error).__name__}: {error}".splitlines()[0][:300]
            continue
        # The types that onnxruntime infers.
        for output, answer in zip(model.graph.output, answers):
            kind = helper.np_dtype_to_tensor_dtype(answer.dtype)
            output.CopyFrom(helper.make_tensor_value_info(output.name, kind, answer.shape))
        onnx.save(model, path)

        def named(values):
            return [{"name": n, "value": tensor(numpy_helper.from_array(np.asarray(v)))} for n, v in values]

        yield label, {
            "suite": "contrib", "name": label, "model": f"{folder.parent.name}/{folder.name}/{path.name}",
            "rtol": form.rtol, "atol": form.atol, "opsets": {"ai.onnx": 17, MICROSOFT: 1},
            "operators": [f"{MICROSOFT}.{form.operator}"],
            "sets": [{"inputs": named(form.feeds().items()), "outputs": named(zip(names, answers))}],
        }, None
