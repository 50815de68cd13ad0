"""Writes models that are no tidy exports, and what onnxruntime says they give, as `cases.py` does.

    python untidy.py FOLDER

Into FOLDER come `cases.jsonl` (suite `untidy`) and the models. Expected values are onnxruntime's; where
it refuses a model, those of onnx's ReferenceEvaluator, and `reference` of the case says which of the two.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cases import tensor

F, I = TensorProto.FLOAT, TensorProto.INT64
CASES = []


def info(name, shape, kind=F):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def const(name, value, dtype=None):
    return numpy_helper.from_array(np.array(value, dtype=dtype), name)


def floats(*shape):
    """Numbers that differ, and are the same in every run."""
    count = int(np.prod(shape))
    return (((np.arange(count) * 37) % 23) / 4 - 2.5).astype(np.float32).reshape(shape)


def case(name, nodes, inputs, outputs, sets, initializers=(), opset=17, ir=8, functions=(), imports=(),
         change=None, rtol=1e-5, atol=1e-6):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in imports)]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    model.ir_version = ir
    data = model.SerializeToString()
    if change is not None:
        data = change(data)
    CASES.append((name, data, sets, rtol, atol))


def lists():
    x, w = info("x", ["n", 3]), info("w", [3])
    add = [node("Add", ["x", "w"], ["y"])]
    y = [info("y", ["n", 3])]
    weights = const("w", [1, 2, 3], np.float32)
    given = [{"x": floats(2, 3)}, {"x": floats(5, 3)}, {"x": floats(0, 3)}]
    case("initializer_as_input", add, [x, w], y, given, [weights], ir=3, opset=7)
    case("initializer_first_input", add, [w, x], y, given, [weights])
    both = [{"x": floats(2, 3), "w": floats(3)}, {"x": floats(2, 3)}]
    case("initializer_overridden", add, [x, w], y, both, [weights])
    whole = [{"x": floats(4), "s": np.array(s, np.int64)} for s in ([4], [1, 4], [4, 1])] + [{"x": floats(4)}]
    case("initializer_overridden_shape", [node("Reshape", ["x", "s"], ["y"])], [info("s", [None], I), info("x", [4])],
         [info("y", None)], whole, [const("s", [2, 2], np.int64)])
    many = [const(f"w{at}", floats(3) + at) for at in range(20)]
    sums = [node("Add", [f"x{at}" if at else "x", f"w{at}"], [f"x{at + 1}" if at < 19 else "y"]) for at in range(20)]
    case("initializers_all_listed", sums, [x, *(info(w.name, [3]) for w in many)], y, given, many)
    case("output_is_input", add, [x], [*y, info("x", ["n", 3])], given, [weights])
    case("output_is_initializer", add, [x], [*y, info("w", [3])], given, [weights])
    case("output_twice_used", [*add, node("Neg", ["y"], ["z"])], [x], [*y, info("z", ["n", 3])], given, [weights])


def names():
    for label, a, b in [
        ("slashes", "/model/layer.0/in:0", "/model/out:0"), ("spaces", "my input", " out put "),
        ("unicode", "eingabe_ä", "出力"), ("numbers", "0", "1"), ("dots", "..", "a.b.c"),
    ]:
        nodes = [node("Relu", [a], [a + "/t"]), node("Abs", [a + "/t"], [b])]
        case(f"names_{label}", nodes, [info(a, ["n"])], [info(b, ["n"])], [{a: floats(4)}, {a: floats(7)}])
    twice = [helper.make_node("Relu", ["x"], ["t"], name="same"), helper.make_node("Abs", ["t"], ["y"], name="same")]
    case("nodes_of_one_name", twice, [info("x", ["n"])], [info("y", ["n"])], [{"x": floats(4)}])


def axes():
    nodes = [node("MatMul", ["a", "b"], ["y"])]
    a, b = floats(3, 3), floats(3, 3) + 1
    case("axes_repeated", nodes, [info("a", ["n", "n"]), info("b", ["n", "n"])], [info("y", ["n", "n"])],
         [{"a": a, "b": b}, {"a": a[:2, :2], "b": b[:2, :2]}])
    case("axes_unnamed", nodes, [info("a", [None, None]), info("b", ["", ""])], [info("y", [None, "?"])],
         [{"a": floats(2, 4), "b": floats(4, 5)}, {"a": floats(1, 1), "b": floats(1, 3)}])
    case("axes_wrong_in_output", nodes, [info("a", ["n", 3]), info("b", [3, "m"])], [info("y", ["k", "k"])],
         [{"a": floats(2, 3), "b": floats(3, 4)}])
    case("rank_unknown", [node("Relu", ["a"], ["y"])], [info("a", None)], [info("y", None)],
         [{"a": floats(2, 3)}, {"a": floats(2, 1, 2)}, {"a": floats(1).reshape(())}])


def computed():
    x = info("x", ["n", 3, 4])
    reshape = [
        node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "first"], ["n1"]), node("Concat", ["n1", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["y"]),
    ]
    weights = [const("zero", 0, np.int64), const("first", [0], np.int64), const("rest", [-1], np.int64)]
    sets = [{"x": floats(n, 3, 4)} for n in (1, 2, 5)]
    case("reshape_computed", reshape, [x], [info("y", ["n", 12])], sets, weights)
    case("reshape_out_of_order", reshape[::-1], [x], [info("y", ["n", 12])], sets, weights)
    given = [info("x", [None]), info("s", [None], I)]
    case("reshape_given", [node("Reshape", ["x", "s"], ["y"])], given, [info("y", None)],
         [{"x": floats(6), "s": np.array(s, np.int64)} for s in ([2, 3], [-1, 2], [6], [1, 1, 6, 1])])
    case("expand_given", [node("Expand", ["x", "s"], ["y"])], given, [info("y", None)],
         [{"x": floats(3), "s": np.array(s, np.int64)} for s in ([2, 3], [1], [2, 0, 3][:1] + [3], [2, 2, 3])])
    case("constant_of_shape", [node("ConstantOfShape", ["s"], ["y"])], given[1:], [info("y", None)],
         [{"s": np.array(s, np.int64)} for s in ([2, 3], [0], [], [1, 0, 2])])
    ends = [info(n, [], I) for n in "abc"]
    case("range_given", [node("Range", ["a", "b", "c"], ["y"])], ends, [info("y", [None], I)],
         [{n: np.array(v, np.int64) for n, v in zip("abc", t)} for t in ((0, 5, 2), (5, 0, -2), (3, 3, 1), (2, 1, 1))])
    arange = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]),
              node("Range", ["zero", "n", "one"], ["r"]), node("Gather", ["x", "r"], ["y"])]
    case("range_of_shape", arange, [x], [info("y", None)], sets, [weights[0], const("one", 1, np.int64)])


def functions():
    x, y = [info("x", ["n", 3])], [info("y", ["n", 3])]
    sets = [{"x": floats(2, 3)}, {"x": floats(1, 3)}]
    ops = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]

    def referring(operator, inputs, outputs, **names):
        made = node(operator, inputs, outputs)
        for name, (of, kind) in names.items():
            made.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=of, type=kind))
        return made

    leak = helper.make_function("local", "leak", ["a"], ["b"],
                                [referring("LeakyRelu", ["a"], ["b"], alpha=("slope", onnx.AttributeProto.FLOAT))],
                                ops, attributes=["slope"])
    with_default = helper.make_function("local", "leak", ["a"], ["b"], leak.node, ops, attributes=[],
                                        attribute_protos=[helper.make_attribute("slope", 0.25)])
    outer = helper.make_function("local", "outer", ["p"], ["q"], [
        helper.make_node("leak", ["p"], ["t"], domain="local", slope=0.5),
        referring("Softmax", ["t"], ["q"], axis=("axis", onnx.AttributeProto.INT)),
    ], ops, attributes=["axis"])
    local = [("local", 1)]
    call = lambda name, **attributes: [helper.make_node(name, ["x"], ["y"], domain="local", **attributes)]  # noqa: E731
    case("function_attribute", call("leak", slope=0.1), x, y, sets, functions=[leak], imports=local)
    case("function_nested", call("outer", axis=1), x, y, sets, functions=[leak, outer], imports=local)
    case("function_default", call("leak"), x, y, sets, functions=[with_default], imports=local)
    case("function_default_given", call("leak", slope=0.75), x, y, sets, functions=[with_default], imports=local)
    inner = helper.make_function("local", "twice", ["p"], ["q"], [
        helper.make_node("leak", ["p"], ["t"], domain="local"),
        helper.make_node("leak", ["t"], ["q"], domain="local", slope=0.5),
    ], ops)
    case("function_default_nested", call("twice"), x, y, sets, functions=[with_default, inner], imports=local)


def headers():
    x, y = [info("x", ["n", 3])], [info("y", ["n", 3])]
    nodes, sets = [node("Sigmoid", ["x"], ["y"])], [{"x": floats(2, 3)}]
    case("domains_unused", nodes, x, y, sets, imports=[("ai.onnx.ml", 3), ("com.microsoft", 1), ("org.nobody", 7)])
    for opset in range(7, 26):
        case(f"opset_{opset}", [node("Gemm", ["x", "w", "b"], ["t"]), node("Softmax", ["t"], ["y"], axis=1)],
             x, y, sets, [const("w", floats(3, 3)), const("b", floats(3))], opset=opset, ir=8 if opset < 21 else 10)
    for ir in range(4, 14):
        case(f"ir_{ir}", nodes, x, y, sets, ir=ir, opset=17)
    # metadata_props of one entry whose value is no UTF-8 (field 14: key 1, value 2).
    case("metadata_not_utf8", nodes, x, y, sets, change=lambda data: data + b"\x72\x07\x0a\x01k\x12\x02\xff\xfe")
    case("doc_not_utf8", nodes, x, y, sets, change=lambda data: data + b"\x32\x02\xff\xfe")
    case("producer_not_utf8", nodes, x, y, sets, change=lambda data: data + b"\x12\x02\xff\xfe")
    case("field_unknown", nodes, x, y, sets, change=lambda data: data + b"\xfa\x3e\x02hi")


def ranks():
    for rank in range(9):
        shape = [1, 2, 3, 1, 2, 2, 1, 2][:rank]
        x = [info("x", shape)]
        full = {"x": floats(*shape)}
        case(f"elementwise_{rank}d", [node("Mul", ["x", "x"], ["t"]), node("Sub", ["t", "x"], ["y"])], x, [info("y", shape)], [full])
        case(f"reduce_{rank}d", [node("ReduceSum", ["x"], ["y"], keepdims=0)], x, [info("y", [])], [full])
        case(f"transpose_{rank}d", [node("Transpose", ["x"], ["y"])], x, [info("y", shape[::-1])], [full])
        if rank:
            case(f"gather_{rank}d", [node("Gather", ["x", "i"], ["y"], axis=-1)], x, [info("y", None)], [full],
                 [const("i", [0, -1], np.int64)])
            for axis in {0, rank - 1}:
                empty = [*shape]
                empty[axis] = 0
                free = [info("x", [None] * rank)]
                case(f"empty_{rank}d_{axis}", [node("Exp", ["x"], ["t"]), node("Concat", ["t", "x"], ["u"], axis=axis),
                     node("ReduceSum", ["u"], ["z"], keepdims=1), node("Add", ["z", "u"], ["y"])],
                     free, [info("y", [None] * rank)], [{"x": floats(*empty)}, full])
        if rank > 1:
            case(f"matmul_{rank}d", [node("Transpose", ["x"], ["t"], perm=[*range(rank - 2), rank - 1, rank - 2]),
                 node("MatMul", ["x", "t"], ["y"])], x, [info("y", None)], [full])


def nothing():
    """Reductions of axes without elements."""
    dtypes = [(F, np.float32), (I, np.int64), (TensorProto.DOUBLE, np.float64), (TensorProto.INT32, np.int32)]
    for operator in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"):
        for kind, dtype in dtypes:
            axes = [const("a", [1], np.int64), const("b", [0, 1], np.int64)]
            nodes = [node("Reduce" + operator, ["x", "a"], ["y"], keepdims=0), node("Reduce" + operator, ["x", "b"], ["z"]),
                     node("Reduce" + operator, ["x"], ["w"])]
            outputs = [info(name, None, kind) for name in "yzw"]
            sets = [{"x": np.zeros(shape, dtype)} for shape in ((2, 0), (0, 3), (0, 0))]
            name = f"nothing_{operator.lower()}_{dtype.__name__}"
            case(name, nodes, [info("x", [None, None], kind)], outputs, sets, axes, opset=18)
    x = [info("x", [None, None])]
    sets = [{"x": floats(2, 0)}, {"x": floats(0, 3)}]
    for operator in ("Softmax", "LogSoftmax"):
        case(f"nothing_{operator.lower()}", [node(operator, ["x"], ["y"], axis=1)], x, [info("y", None)], sets)
    case("nothing_layernormalization", [node("LayerNormalization", ["x", "s"], ["y"])], x, [info("y", None)], sets[1:],
         [const("s", floats(3))])
    # Not of Einsum: onnxruntime 1.32 divides by zero in it, and ends the process.
    case("nothing_matmul", [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])], x, [info("y", None)], sets)


def gaps():
    x = [info("x", ["n"])]
    case("clip_without_min", [node("Clip", ["x", "", "most"], ["y"])], x, [info("y", ["n"])],
         [{"x": floats(5)}], [const("most", 1, np.float32)])
    case("resize_without_roi", [node("Resize", ["i", "", "", "to"], ["y"], mode="nearest")], [info("i", [1, 1, "h", "w"])],
         [info("y", None)], [{"i": floats(1, 1, 2, 3)}, {"i": floats(1, 1, 3, 2)}], [const("to", [1, 1, 4, 6], np.int64)])
    case("output_left_out", [node("Dropout", ["x"], ["y", ""])], x, [info("y", ["n"])], [{"x": floats(5)}])
    case("trailing_empty_input", [node("Clip", ["x", "least", ""], ["y"])], x, [info("y", ["n"])],
         [{"x": floats(5)}], [const("least", 0, np.float32)])
    slices = [node("Slice", ["x", "a", "b", "", "s"], ["y"])]
    case("slice_without_axes", slices, x, [info("y", None)], [{"x": floats(7)}],
         [const("a", [0], np.int64), const("b", [6], np.int64), const("s", [2], np.int64)])


def expected(data, inputs):
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return names, session.run(None, inputs), "onnxruntime"
    except Exception:  # noqa: BLE001: whatever it has against the model
        model = onnx.load_from_string(data)
        names = [o.name for o in model.graph.output]
        return names, ReferenceEvaluator(model).run(None, inputs), "onnx"


def named(names, arrays):
    return [{"name": n, "value": tensor(numpy_helper.from_array(np.asarray(a)))} for n, a in zip(names, arrays)]


def main():
    folder = Path(sys.argv[1])
    (folder / "models/untidy").mkdir(parents=True, exist_ok=True)
    for part in (lists, names, axes, computed, functions, headers, ranks, nothing, gaps):
        part()
    with open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        for name, data, sets, rtol, atol in CASES:
            path = f"models/untidy/{name}.onnx"
            (folder / path).write_bytes(data)
            made, reference = [], None
            for inputs in sets:
                outputs, arrays, reference = expected(data, inputs)
                made.append({"inputs": named(inputs, inputs.values()), "outputs": named(outputs, arrays)})
            out.write(json.dumps({
                "suite": "untidy", "name": name, "model": path, "rtol": rtol, "atol": atol, "opsets": {},
                "operators": [], "reference": reference, "sets": made,
            }) + "\n")
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    print(json.dumps({"untidy": len(CASES)}))


if __name__ == "__main__":
    main()
