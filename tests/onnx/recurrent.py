"""Writes cases of RNN, GRU and LSTM in the forms that their attributes and inputs allow, in the form of
`cases.py`.

    python recurrent.py FOLDER

The expected values are those of onnxruntime on the same file, its optimisations off; the tolerance is 1e-4 of a
number and 1e-5: single precision, sums in another order, and other approximations of `Sigmoid` and `Tanh`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from cases import tensor

STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {
    "RNN": [["Relu"], ["Sigmoid"], ["Affine"], ["LeakyRelu"], ["ThresholdedRelu"], ["ScaledTanh"], ["HardSigmoid"],
            ["Elu"], ["Softsign"], ["Softplus"]],
    "GRU": [["HardSigmoid", "Relu"], ["Sigmoid", "Softsign"]],
    "LSTM": [["HardSigmoid", "Tanh", "Relu"], ["Sigmoid", "Softsign", "ScaledTanh"]],
}
PARAMETERS = {"Affine": (0.5, 0.1), "LeakyRelu": (0.2, None), "ThresholdedRelu": (0.3, None), "ScaledTanh": (0.9, 0.8),
              "HardSigmoid": (0.3, 0.4), "Elu": (0.7, None)}
RNG = np.random.default_rng(22)


def normal(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def model(kind, direction="forward", lengths=None, states=False, peepholes=False, opset=14, changing=False, **attributes):
    """A model of one node, and what is given. With `changing` the weights are inputs too."""
    directions, rows = 2 if direction == "bidirectional" else 1, GATES[kind] * HIDDEN
    values = {
        "x": normal(STEPS, BATCH, WIDTH), "w": normal(directions, rows, WIDTH), "r": normal(directions, rows, HIDDEN),
        "b": normal(directions, 2 * rows), "lengths": None if lengths is None else np.array(lengths, np.int32),
        "h": normal(directions, BATCH, HIDDEN) if states else None,
    }
    if kind == "LSTM":
        values["c"] = normal(directions, BATCH, HIDDEN) if states else None
        values["p"] = normal(directions, 3 * HIDDEN) if peepholes else None
    names = [name if value is not None else "" for name, value in values.items()]
    while names and not names[-1]:
        names.pop()
    outputs = ["y", "y_h", "y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, names, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    weights = {} if changing else {n: values[n] for n in ["w", "r", "b"]}
    given = {n: v for n, v in values.items() if v is not None and n not in weights}
    graph = helper.make_graph(
        [node], kind, [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made), given


def without(made, *outputs):
    """The same without some outputs."""
    made, given = made
    node = made.graph.node[0]
    names = ["" if name in outputs else name for name in node.output]
    while not names[-1]:
        names.pop()
    del node.output[:]
    node.output.extend(names)
    kept = [o for o in made.graph.output if o.name not in outputs]
    del made.graph.output[:]
    made.graph.output.extend(kept)
    return made, given


def variants():
    for kind in GATES:
        for direction in ["forward", "reverse", "bidirectional"]:
            label = f"{kind.lower()}_{direction}"
            yield label, model(kind, direction)
            yield f"{label}_opset_9", model(kind, direction, opset=9)
            yield f"{label}_changing", model(kind, direction, changing=True)
            yield f"{label}_states", model(kind, direction, states=True)
            yield f"{label}_all_steps", model(kind, direction, lengths=[STEPS] * BATCH)
            yield f"{label}_lengths", model(kind, direction, lengths=[2, 5, 1], states=True)
            yield f"{label}_some_empty", model(kind, direction, lengths=[0, 5, 3], states=True)
            yield f"{label}_clip", model(kind, direction, clip=0.3)
            sides = 2 if direction == "bidirectional" else 1
            for number, names in enumerate(ACTIVATIONS[kind]):
                # All parameters are 0 there that are not given; ONNX says that they are those of the operators.
                if not {"Affine", "ScaledTanh", "ThresholdedRelu"} & set(names):
                    yield f"{label}_activations_{number}", model(kind, direction, activations=names * sides)
                known = [PARAMETERS.get(name, (None, None)) for name in names * sides]
                alphas, betas = [a for a, _ in known if a is not None], [b for _, b in known if b is not None]
                more = {**({"activation_alpha": alphas} if alphas else {}), **({"activation_beta": betas} if betas else {})}
                if more:
                    yield f"{label}_parameters_{number}", model(kind, direction, activations=names * sides, **more)
            if kind == "LSTM":
                yield f"{label}_y", without(model(kind, direction), "y_h", "y_c")
                yield f"{label}_y_h", without(model(kind, direction), "y", "y_c")
            if kind == "GRU":
                yield f"{label}_after", model(kind, direction, linear_before_reset=1)
                yield f"{label}_after_lengths", model(kind, direction, linear_before_reset=1, lengths=[4, 1, 5])
            if kind == "LSTM":
                yield f"{label}_peepholes", model(kind, direction, peepholes=True, states=True)
                yield f"{label}_peepholes_lengths", model(kind, direction, peepholes=True, lengths=[3, 5, 2])
                yield f"{label}_coupled", model(kind, direction, input_forget=1)


def case(name, made, given, folder):
    file = f"models/recurrent/{name}.onnx"
    onnx.checker.check_model(made)
    onnx.save(made, folder / file)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])

    def named(values):
        return [{"name": n, "value": tensor(numpy_helper.from_array(v))} for n, v in values]

    outputs = [o.name for o in made.graph.output]
    return {
        "suite": "recurrent", "name": name, "model": file, "rtol": 1e-4, "atol": 1e-5,
        "opsets": {"ai.onnx": made.opset_import[0].version}, "operators": [f"ai.onnx.{made.graph.node[0].op_type}"],
        "sets": [{"inputs": named(given.items()), "outputs": named(zip(outputs, session.run(outputs, given)))}],
    }


def main():
    folder = Path(sys.argv[1])
    (folder / "models" / "recurrent").mkdir(parents=True, exist_ok=True)
    count = 0
    with open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        for name, (made, given) in variants():
            out.write(json.dumps(case(name, made, given, folder)) + "\n")
            count += 1
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    print(json.dumps({"recurrent": count}))


if __name__ == "__main__":
    main()
