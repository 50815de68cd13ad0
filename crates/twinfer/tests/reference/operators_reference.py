"""Makes the models of tests/operators.rs, each of an operator or two, and their reference outputs.

    pip install onnx==1.22.0 onnxruntime==1.32.0
    python operators_reference.py

Outputs are those of onnxruntime (CPU). Writes ../data/operators.json, with the models in it. What
is not here, because onnxruntime departs from the specification: TreeEnsemble with SOFTMAX and
LOGISTIC (it has their numbers the other way round), NaN as a key of LabelEncoder, transforms of a
single score in LinearRegressor and TreeEnsembleRegressor, LinearClassifier with one row of
coefficients, and labels of TreeEnsembleClassifier with weights for both of two classes.
"""

import base64
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper

OUT = pathlib.Path(__file__).parent.parent / "data" / "operators.json"
NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int16": "INT16", "bool": "BOOL"}
TYPES = {"FP32": T.FLOAT, "FP64": T.DOUBLE, "INT64": T.INT64, "INT32": T.INT32, "INT16": T.INT16, "BOOL": T.BOOL, "BYTES": T.STRING}
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
cases = []
random = np.random.RandomState(0)


def encode(name, array):
    array = np.asarray(array)
    if array.dtype == object:
        return {"name": name, "dtype": "BYTES", "shape": array.shape, "strings": [str(s) for s in array.ravel()]}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"name": name, "dtype": NAMES[str(array.dtype)], "shape": array.shape, "base64": data}


def case(name, nodes, inputs, outputs, ml=3, init=()):
    def info(key, value):
        return helper.make_tensor_value_info(key, TYPES[encode(key, value)["dtype"]], [None] * value.ndim)

    graph = helper.make_graph(
        nodes, "g", [info(k, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, t, None) for k, t in outputs.items()], initializer=init,
    )
    sets = [helper.make_opsetid(d, v) for d, v in (("", 20), ("ai.onnx.ml", ml), ("com.microsoft", 1))]
    model = helper.make_model(graph, opset_imports=sets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), inputs)
    cases.append({
        "name": name,
        "model": base64.b64encode(model).decode(),
        "inputs": [encode(k, v) for k, v in inputs.items()],
        "outputs": [encode(k, v) for k, v in zip(outputs, results)],
    })


def node(op, ins, outs, domain="", **attributes):
    return helper.make_node(op, ins, outs, name=op, domain=domain, **attributes)


def ml(op, ins, outs, **attributes):
    return node(op, ins, outs, "ai.onnx.ml", **attributes)


def text(*strings):
    return np.array(strings, dtype=object)


def f32(*shape):
    return random.randn(*shape).astype(np.float32)


def numbers(array):
    return np.asarray(array, np.float32).ravel().tolist()


x = f32(5, 4)
words = text(["a", "b", "zz"], ["c", "a", ""])

# Categories.
keys = {
    "int64s": ([1, 2, 3], np.array([[1, 2, 9], [3, 3, 0]])),
    "floats": ([1.5, 2.5, 0.0], np.array([1.5, 2.5, -0.0, 7], np.float32)),
    "strings": (["a", "b", "c"], words),
}
values = {"int64s": ([10, 20, 30], T.INT64), "floats": ([0.5, 1.5, 2.5], T.FLOAT), "strings": (["x", "y", "z"], T.STRING)}
for key, (known, given) in keys.items():
    for value, (made, dtype) in values.items():
        attributes = {f"keys_{key}": known, f"values_{value}": made}
        case(f"LabelEncoder of {key} to {value}", [ml("LabelEncoder", ["x"], ["y"], **attributes)], {"x": given}, {"y": dtype})
case("LabelEncoder 1 of strings", [ml("LabelEncoder", ["x"], ["y"], classes_strings=["a", "b"], default_int64=7)], {"x": words}, {"y": T.INT64}, ml=1)
case("LabelEncoder 1 of integers", [ml("LabelEncoder", ["x"], ["y"], classes_strings=["a", "b"], default_string="?")], {"x": np.arange(4)}, {"y": T.STRING}, ml=1)
tensors = {
    "keys_tensor": helper.make_tensor("k", T.DOUBLE, [2], [1.0, 2.0]),
    "values_tensor": helper.make_tensor("v", T.DOUBLE, [2], [3.0, 4.0]),
    "default_tensor": helper.make_tensor("d", T.DOUBLE, [1], [9.0]),
}
case("LabelEncoder 4 of doubles", [ml("LabelEncoder", ["x"], ["y"], **tensors)], {"x": np.array([1.0, 2.0, 3.0])}, {"y": T.DOUBLE}, ml=4)
categories = {"cats_strings": ["a", "b"], "cats_int64s": [4, 5]}
case("CategoryMapper of strings", [ml("CategoryMapper", ["x"], ["y"], **categories)], {"x": words}, {"y": T.INT64})
case("CategoryMapper of integers", [ml("CategoryMapper", ["x"], ["y"], **categories)], {"x": np.array([4, 5, 6])}, {"y": T.STRING})
case("OneHotEncoder of strings", [ml("OneHotEncoder", ["x"], ["y"], cats_strings=["a", "b", "c"])], {"x": words}, {"y": T.FLOAT})
case("OneHotEncoder of floats", [ml("OneHotEncoder", ["x"], ["y"], cats_int64s=[3, 1, 2])], {"x": np.array([[1, 2.7, 5]], np.float32)}, {"y": T.FLOAT})

# Columns.
case("Binarizer", [ml("Binarizer", ["x"], ["y"], threshold=0.3)], {"x": x}, {"y": T.FLOAT})
for name, sizes in (("fits", [4, 2]), ("cuts and fills", [3, 3])):
    case(f"FeatureVectorizer {name}", [ml("FeatureVectorizer", ["x", "z"], ["y"], inputdimensions=sizes)], {"x": x, "z": x[:, :2].copy()}, {"y": T.FLOAT})
for name, given, dtype in (("floats", x, T.FLOAT), ("strings", words, T.STRING), ("a vector", x[0], T.FLOAT)):
    case(f"ArrayFeatureExtractor of {name}", [ml("ArrayFeatureExtractor", ["x", "i"], ["y"])], {"x": given, "i": np.array([[1, 0]])}, {"y": dtype})

# Linear models and support vector machines.
for transform in TRANSFORMS:
    probit = transform == "PROBIT"
    given = np.abs(x) * np.float32(0.1) if probit else x
    rows = np.abs(f32(3, 4)) * 0.1 if probit else f32(3, 4)
    common = {"post_transform": transform}
    scores = {"l": T.STRING, "y": T.FLOAT}
    labels = {"classlabels_strings": ["a", "b", "c"]}
    linear = {"coefficients": numbers(rows), "intercepts": [0.1, 0.2, 0.3], **common}
    case(f"LinearClassifier {transform}", [ml("LinearClassifier", ["x"], ["l", "y"], **linear, **labels)], {"x": given}, scores)
    case(f"LinearRegressor {transform}", [ml("LinearRegressor", ["x"], ["y"], targets=3, **linear)], {"x": given}, {"y": T.FLOAT})
    case(
        f"SVMClassifier without vectors {transform}",
        [ml("SVMClassifier", ["x"], ["l", "y"], coefficients=numbers(rows), rho=[0.1], kernel_params=[0.1, 0.2, 2.0], **labels, **common)],
        {"x": given}, scores,
    )
    for classes, counts in ((2, [2, 3]), (3, [2, 1, 3])):
        pairs, vectors = classes * (classes - 1) // 2, sum(counts)
        for probabilities in (False, True):
            if probit and classes == 2 and not probabilities:
                continue  # onnxruntime leaves half of the scores unset.
            kernel = ("LINEAR", "POLY", "RBF", "SIGMOID")[len(cases) % 4]
            more = {"prob_a": numbers(-1 - np.abs(f32(pairs))), "prob_b": numbers(f32(pairs))} if probabilities else {}
            machine = ml(
                "SVMClassifier", ["x"], ["l", "y"], coefficients=numbers(f32(classes - 1, vectors)),
                support_vectors=numbers(f32(vectors, 4)), vectors_per_class=counts, rho=numbers(f32(pairs)),
                kernel_params=[0.1, 0.2, 2.0], kernel_type=kernel, classlabels_ints=list(range(classes)), **common, **more,
            )
            case(f"SVMClassifier {kernel} {classes} {transform} {probabilities}", [machine], {"x": given}, {"l": T.INT64, "y": T.FLOAT})
for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
    for one in (0, 1):
        machine = ml(
            "SVMRegressor", ["x"], ["y"], coefficients=numbers(f32(5)), support_vectors=numbers(f32(5, 4)), n_supports=5,
            rho=[0.3], kernel_params=[0.1, 0.2, 3.0], kernel_type=kernel, one_class=one,
        )
        case(f"SVMRegressor {kernel} {one}", [machine], {"x": x}, {"y": T.FLOAT})


# Trees.
def trees(kind, targets, double, base):
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
    table = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids")}
    splits, weights = [], []
    for tree in range(3):
        for at in range(7):
            leaf = at >= 3
            row = (tree, at, 0 if leaf else random.randint(4), "LEAF" if leaf else modes[(tree + at) % 6], 0 if leaf else 2 * at + 1, 0 if leaf else 2 * at + 2, random.randint(2))
            for column, entry in zip(table.values(), row):
                column.append(entry)
            splits.append(0.0 if leaf else random.randn() / 3)
            for target in range(targets if leaf else 0):
                for column, entry in zip(leaves.values(), (tree, at, target)):
                    column.append(entry)
                weights.append(random.randn())
    attributes = {**{f"nodes_{k}": v for k, v in table.items()}, **{f"{kind}_{k}": v for k, v in leaves.items()}}
    lists = {"nodes_values": splits, f"{kind}_weights": weights, "base_values": [0.1] * targets if base else []}
    for name, numbers_of in lists.items():
        if numbers_of and double:
            attributes[f"{name}_as_tensor"] = helper.make_tensor(name, T.DOUBLE, [len(numbers_of)], numbers_of)
        elif numbers_of:
            attributes[name] = numbers(numbers_of)
    return attributes


holes = x.copy()
holes[1, :] = np.nan
for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
    for width in (np.float32, np.float64):
        double = width == np.float64
        given = {"x": holes.astype(width)}
        for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
            forest = ml("TreeEnsembleRegressor", ["x"], ["y"], n_targets=2, aggregate_function=aggregate, post_transform=transform, **trees("target", 2, double, aggregate < "B"))
            case(f"TreeEnsembleRegressor {transform} {aggregate} {width.__name__}", [forest], given, {"y": T.FLOAT})
        forest = ml("TreeEnsembleClassifier", ["x"], ["l", "y"], classlabels_int64s=[3, 5, 7], post_transform=transform, **trees("class", 3, double, True))
        case(f"TreeEnsembleClassifier {transform} {width.__name__}", [forest], given, {"l": T.INT64, "y": T.FLOAT})
forest = ml("TreeEnsembleRegressor", ["x"], ["y"], **{"n_targets": 1, **trees("target", 1, False, False)})
case("TreeEnsembleRegressor of doubles with floats in it", [forest], {"x": holes.astype(np.float64)}, {"y": T.FLOAT})
rows = np.array([[0.1, 1, 0, 5], [0.2, 3, 0, 0], [0.5, 1, 0, 7], [0.5, 0, 3, 5], [np.nan, 2, 0, np.nan]])
for width, dtype in ((np.float32, T.FLOAT), (np.float64, T.DOUBLE)):
    for aggregate in range(4):
        forest = ml(
            "TreeEnsemble", ["x"], ["y"], n_targets=2, aggregate_function=aggregate, post_transform=0, tree_roots=[0, 3],
            nodes_featureids=[0, 1, 2, 3], nodes_modes=helper.make_tensor("m", T.UINT8, [4], [0, 6, 4, 6]),
            nodes_splits=helper.make_tensor("s", dtype, [4], [0.3, 0, 0, 0]), nodes_truenodeids=[1, 0, 2, 4],
            nodes_trueleafs=[0, 1, 1, 1], nodes_falsenodeids=[2, 1, 3, 5], nodes_falseleafs=[0, 1, 1, 1],
            nodes_missing_value_tracks_true=[1, 0, 1, 0],
            membership_values=helper.make_tensor("v", dtype, [6], [1, 2, np.nan, 0, 5, np.nan]),
            leaf_targetids=[0, 1, 0, 1, 0, 1], leaf_weights=helper.make_tensor("w", dtype, [6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        )
        case(f"TreeEnsemble {aggregate} {width.__name__}", [forest], {"x": rows.astype(width)}, {"y": dtype}, ml=5)

# Strings. A StringConcat in front has the rest run node by node.
empty = helper.make_tensor("e", T.STRING, [1], [b""])
front = node("StringConcat", ["x", "e"], ["p"])


def ints(name, *given):
    return helper.make_tensor(name, T.INT64, [len(given)], given)


letters = text(["a", "b", "c"], ["d", "é", " "])
for name, nodes, init, dtype in (
    ("Equal", [node("Equal", ["p", "x"], ["y"])], [], T.BOOL),
    ("Concat", [node("Concat", ["p", "p"], ["y"], axis=1)], [], T.STRING),
    ("Gather", [node("Gather", ["p", "i"], ["y"], axis=1)], [ints("i", 2, 0)], T.STRING),
    ("Reshape", [node("Reshape", ["p", "i"], ["y"])], [ints("i", 3, -1)], T.STRING),
    ("Tile", [node("Tile", ["p", "i"], ["y"])], [ints("i", 2, 1)], T.STRING),
    ("Identity", [node("Identity", ["p"], ["y"])], [], T.STRING),
    ("Transpose", [node("Transpose", ["p"], ["y"], perm=[1, 0])], [], T.STRING),
    ("Split", [node("SplitToSequence", ["p"], ["s"], axis=1), node("ConcatFromSequence", ["s"], ["y"], axis=0)], [], T.STRING),
):
    case(f"{name} of strings", [front, *nodes], {"x": letters}, {"y": dtype}, init=[empty, *init])
for mode in ("TF", "IDF", "TFIDF"):
    grams = node(
        "TfIdfVectorizer", ["x"], ["y"], mode=mode, min_gram_length=1, max_gram_length=2, max_skip_count=2,
        ngram_counts=[0, 3], ngram_indexes=[3, 0, 1, 6, 5, 2, 4],
        pool_strings=["a", "b", "c", "a", "b", "b", "c", "c", "a", "b", "a"], weights=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    )
    case(f"TfIdfVectorizer {mode}", [grams], {"x": text(["a", "b", "c", "a"], ["b", "a", "q", "a"])}, {"y": T.FLOAT})
for name, attributes in (
    ("characters", {"separators": [""]}), ("separators", {"separators": [" ", ","]}),
    ("long ones", {"separators": ["[ ,]+"], "mincharnum": 2}), ("an expression", {"tokenexp": "[a-z]+"}),
):
    for mark in (0, 1):
        cut = node("Tokenizer", ["x"], ["y"], "com.microsoft", mark=mark, pad_value="#", **{"mincharnum": 1, **attributes})
        case(f"Tokenizer {name} {mark}", [cut], {"x": text(["ab cd", "x"], ["hello, wörld", ""])}, {"y": T.STRING})

OUT.write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
print(len(cases), "cases,", OUT.stat().st_size, "bytes")
