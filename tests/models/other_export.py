"""Writes tests/models/other-export/model.onnx: the weights of models/tumour-risk-mlp as another
exporter could write them, with the sigmoid as 1 / (1 + exp(-x)) (onnx 1.22.0).

A slim engine that was made for the one lacks functions that the other needs.
"""

import pathlib

import onnx
from onnx import helper

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "models/tumour-risk-mlp/model.onnx"


def main():
    model = onnx.load(MODEL)
    graph = model.graph
    nodes = []
    for node in graph.node:
        if node.op_type != "Sigmoid":
            nodes.append(node)
            continue
        (source,), (result,) = node.input, node.output
        graph.initializer.append(helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0]))
        nodes += [
            helper.make_node("Neg", [source], ["negative"]),
            helper.make_node("Exp", ["negative"], ["power"]),
            helper.make_node("Add", ["power", "one"], ["sum"]),
            helper.make_node("Div", ["one", "sum"], [result]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    folder = HERE / "other-export"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
