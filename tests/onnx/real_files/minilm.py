"""all-MiniLM-L6-v2 as ONNX: the package has its weights as safetensors only.

The graph is the one that the usual exporters write for a BERT encoder (opset 17: LayerNormalization
is an operator, GELU is made of Erf), from token ids, mask and token types to the last hidden state.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def weights(path: Path) -> dict:
    """The tensors of a safetensors file: a length, a JSON header, and the bytes."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(content[start + begin : start + end], np.float32).reshape(entry["shape"])
    return tensors


class Graph:
    """Nodes and initializers under names that count up."""

    def __init__(self, tensors: dict):
        self.tensors, self.nodes, self.initializers = tensors, [], []

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, layer: str) -> str:
        product = self.add("MatMul", x, self.constant(self.tensors[f"{layer}.weight"].T))
        return self.add("Add", product, self.constant(self.tensors[f"{layer}.bias"]))

    def norm(self, x: str, layer: str, epsilon: float) -> str:
        scale, bias = (self.constant(self.tensors[f"{layer}.{name}"]) for name in ("weight", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        erf = self.add("Erf", self.add("Div", x, self.constant(np.float32(2**0.5))))
        half = self.add("Mul", x, self.constant(np.float32(0.5)))
        return self.add("Mul", half, self.add("Add", erf, self.constant(np.float32(1))))


def build(folder: Path) -> onnx.ModelProto:
    """The model of a folder with `config.json` and `model.safetensors`."""
    config = json.loads((folder / "config.json").read_text())
    heads, hidden, epsilon = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    graph = Graph(weights(folder / "model.safetensors"))
    table = lambda name: graph.constant(graph.tensors[f"embeddings.{name}.weight"])
    words = graph.add("Gather", table("word_embeddings"), "input_ids")
    types = graph.add("Gather", table("token_type_embeddings"), "token_type_ids")
    # As many positions as there are tokens.
    length = graph.add("Slice", graph.add("Shape", "input_ids"), *(graph.constant(np.array([n], np.int64)) for n in (1, 2)))
    zero = graph.constant(np.array([0], np.int64))
    positions = graph.add("Slice", table("position_embeddings"), zero, length, zero)
    x = graph.norm(graph.add("Add", graph.add("Add", words, types), positions), "embeddings.LayerNorm", epsilon)
    # 0 where a token counts, far below zero where it does not.
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.add("Sub", graph.constant(np.float32(1)), mask)
    mask = graph.add("Mul", mask, graph.constant(np.float32(-1e9)))
    mask = graph.add("Unsqueeze", mask, graph.constant(np.array([1, 2], np.int64)))
    split = graph.constant(np.array([0, 0, heads, hidden // heads], np.int64))
    joined = graph.constant(np.array([0, 0, hidden], np.int64))
    scale = graph.constant(np.float32((hidden / heads) ** 0.5))
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        head = lambda name, perm: graph.add("Transpose", graph.add("Reshape", graph.linear(x, f"{layer}.attention.self.{name}"), split), perm=perm)
        query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = graph.add("Add", graph.add("Div", graph.add("MatMul", query, key), scale), mask)
        context = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
        context = graph.add("Reshape", graph.add("Transpose", context, perm=[0, 2, 1, 3]), joined)
        x = graph.norm(graph.add("Add", graph.linear(context, f"{layer}.attention.output.dense"), x), f"{layer}.attention.output.LayerNorm", epsilon)
        inner = graph.gelu(graph.linear(x, f"{layer}.intermediate.dense"))
        x = graph.norm(graph.add("Add", graph.linear(inner, f"{layer}.output.dense"), x), f"{layer}.output.LayerNorm", epsilon)
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", hidden])
    made = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", ids, [output], graph.initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model
