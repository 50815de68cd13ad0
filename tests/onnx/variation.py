"""How far onnxruntime's own answers for a file lie apart: what no other engine can be held to.

A quantised model rounds between its operators. Where a number lies next to the middle of two steps,
the last bit of a sum decides to which side it goes, and what follows is computed from another step:
differences of 1e-7 become some steps of the output. The order of sums is nothing that a file says.
onnxruntime itself has several:

- its optimisations put integer operators in the place of `DequantizeLinear`, operator,
  `QuantizeLinear` (`fused`);
- without that (`session.disable_quant_qdq`) they still fuse and lay out operators in floats (`floats`);
- `BatchNormalization` as the nodes of its formula in Operators.md, one after the other, where it folds
  scale and mean into one factor and one term (`formula`).

And an error in the last bit of a number is the same as an input that is another one in its last bit:
`last_bits` are answers to such inputs, of every variant.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper


MOVED = 3


def session(model, options=(), level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    """With one thread: `DynamicQuantizeLSTM` finds the scale of the states of a thread's sequences."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = level
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    for name, value in options:
        settings.add_session_config_entry(name, value)
    return ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def formula(model):
    """The model with each `BatchNormalization` of 4 axes as (x - mean) / sqrt(variance + epsilon) * scale + bias."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    weights = {i.name: numpy_helper.to_array(i) for i in made.graph.initializer}
    nodes = []
    for node in made.graph.node:
        if node.op_type != "BatchNormalization" or any(name not in weights for name in node.input[1:5]):
            nodes.append(node)
            continue
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale, bias, mean, variance = (weights[name] for name in node.input[1:5])
        deviation = np.sqrt(variance + np.float32(epsilon))
        value = node.input[0]
        for kind, operand in [("Sub", mean), ("Div", deviation), ("Mul", scale), ("Add", bias)]:
            out = node.output[0] if kind == "Add" else f"{node.output[0]}_{kind}"
            name = f"{out}_{kind}_by"
            made.graph.initializer.append(numpy_helper.from_array(operand.reshape(-1, 1, 1), name))
            nodes.append(helper.make_node(kind, [value, name], [out]))
            value = out
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def variants(model):
    """Sessions that compute the same otherwise, by their names."""
    everything = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    yield "fused", lambda: session(model, level=everything)
    yield "floats", lambda: session(model, [("session.disable_quant_qdq", "1")], everything)
    if any(n.op_type == "BatchNormalization" for n in model.graph.node):
        yield "formula", lambda: session(formula(model))


def last_bits(rng, given):
    """The same inputs, of each number of floating point the next above or below."""
    def moved(value):
        if not np.issubdtype(value.dtype, np.floating):
            return value
        return np.nextafter(value, np.where(rng.random(value.shape) < 0.5, -np.inf, np.inf).astype(value.dtype))

    return {name: moved(value) for name, value in given.items()}


def spread(model, names, sets):
    """The largest difference of a number of any output between the answers in `sets`, pairs of inputs
    and outputs, and those of the variants; and by variant."""
    rng = np.random.default_rng(5)
    found = {}

    def compare(name, answers, varied):
        for answer, other in zip(answers, varied):
            if np.issubdtype(answer.dtype, np.floating):
                apart = np.max(np.abs(answer.astype(np.float64) - other), initial=0.0)
                found[name] = max(found.get(name, 0.0), float(apart))

    for name, make in [("reference", lambda: session(model)), *variants(model)]:
        try:
            other = make()
        except ort.capi.onnxruntime_pybind11_state.Fail:
            # A file that the optimisations of this version trip over.
            continue
        for given, answers in sets:
            compare(name, answers, other.run(names, given))
            for _ in range(MOVED):
                compare(f"{name}, last bits", answers, other.run(names, last_bits(rng, given)))
    return max(found.values(), default=0.0), found
