"""Makes the small models of tests/session.rs and their reference outputs.

    pip install onnx==1.22.0 onnxruntime==1.32.0 scikit-learn==1.9.1 skl2onnx==1.20.0
    python session_reference.py

Outputs are those of onnxruntime (CPU). Writes ../data/NAME.onnx and ../data/cases.json.
"""

import base64
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skl2onnx import to_onnx

DATA = pathlib.Path(__file__).parent.parent / "data"
NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}
cases = []


def encode(name, array):
    array = np.asarray(array)
    if array.dtype == object or array.dtype.kind in "US":
        return {"name": name, "dtype": "BYTES", "shape": array.shape, "strings": [str(s) for s in array.ravel()]}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"name": name, "dtype": NAMES[str(array.dtype)], "shape": array.shape, "base64": data}


def add(model, name, inputs, tolerance=1e-5, reason=""):
    """`inputs` is a list of calls, each a dict of arrays."""
    onnx.save(model, DATA / f"{name}.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [o.name for o in session.get_outputs()]
    calls = []
    for given in inputs:
        outputs = []
        for out, value in zip(names, session.run(None, given)):
            if isinstance(value, list):  # a sequence of maps
                keys = list(value[0])
                rows = np.array([[row[k] for k in keys] for row in value], np.float32)
                outputs.append({**encode(out, rows), "keys": keys})
            else:
                outputs.append(encode(out, value))
        calls.append({"inputs": [encode(k, v) for k, v in given.items()], "outputs": outputs})
    cases.append({"model": name, "tolerance": tolerance, "reason": reason, "calls": calls})


def sklearn_models():
    X, y = load_breast_cancer(return_X_y=True)
    words = np.where(y == 0, "malignant", "benign")
    holes = X[:5].astype(np.float32).copy()
    holes[0, 0] = holes[3, 7] = np.nan
    rows = [{"X": X[:40].astype(np.float32)}, {"X": X[40:41].astype(np.float32)}, {"X": holes}]
    X3, y3 = load_iris(return_X_y=True)
    iris = [{"X": X3[::3].astype(np.float32)}, {"X": X3[75:76].astype(np.float32)}]
    Xr, yr = load_diabetes(return_X_y=True)
    diabetes = [{"X": Xr[:30].astype(np.float32)}]

    def fit(name, estimator, X, y, calls):
        pipe = make_pipeline(SimpleImputer(), StandardScaler(), estimator).fit(X, y)
        add(to_onnx(pipe, X[:1].astype(np.float32)), name, calls)

    fit("boosted_binary", GradientBoostingClassifier(n_estimators=10, max_depth=3, random_state=0), X, y, rows)
    fit("forest_binary", RandomForestClassifier(n_estimators=8, max_depth=4, random_state=0), X, words, rows)
    fit("forest_iris", RandomForestClassifier(n_estimators=8, max_depth=4, random_state=0), X3, y3, iris)
    fit("boosted_iris", GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0), X3, y3, iris)
    fit("mlp_binary", MLPClassifier((8,), max_iter=300, random_state=0), X, y, rows)
    fit("forest_regressor", RandomForestRegressor(n_estimators=8, max_depth=4, random_state=0), Xr, yr, diabetes)


def info(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, initializers=(), opset=17):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def math_probe():
    """Every function of the C math library that the engine calls, on a wide grid."""
    ops = ["Exp", "Log", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
           "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Softplus", "Sqrt"]
    nodes = [helper.make_node(op, ["x"], [op.lower()]) for op in ops]
    nodes.append(helper.make_node("Pow", ["base", "x"], ["pow"]))
    nodes.append(helper.make_node("Abs", ["x"], ["base"]))
    nodes.append(helper.make_node("Softmax", ["x"], ["softmax"], axis=1))
    nodes = [nodes[-2]] + nodes[:-2] + [nodes[-1]]
    names = [op.lower() for op in ops] + ["pow", "softmax"]
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-1, 1, 512), np.linspace(-20, 20, 512), rng.normal(size=1024)])
    made = model(nodes, [info("x", TensorProto.FLOAT, ["N", 64])],
                 [info(n, TensorProto.FLOAT, ["N", 64]) for n in names])
    add(made, "math_probe", [{"x": x.astype(np.float32).reshape(-1, 64)}], 2e-5,
        "the engine's tanh, erf and sigmoid are polynomials of its own")


def untidy():
    """Weights listed as inputs, names with / and :, several free axes, int64 arithmetic."""
    w = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "w/0:weight")
    nodes = [
        helper.make_node("MatMul", ["in/x:0", "w/0:weight"], ["m:0"], name="dense/MatMul"),
        helper.make_node("Relu", ["m:0"], ["out/y:0"]),
        helper.make_node("Shape", ["m:0"], ["shape:0"]),
        helper.make_node("ReduceSum", ["m:0"], ["sum"], keepdims=0),
    ]
    made = model(nodes,
                 [info("in/x:0", TensorProto.FLOAT, ["batch", None, 2]), info("w/0:weight", TensorProto.FLOAT, [2, 3])],
                 [info("out/y:0", TensorProto.FLOAT, ["batch", None, 3]), info("shape:0", TensorProto.INT64, [3]),
                  info("sum", TensorProto.FLOAT, [])], [w])
    rng = np.random.default_rng(1)
    shapes = [(1, 1, 2), (3, 5, 2), (2, 1, 2), (3, 5, 2), (7, 2, 2), (8, 2, 2), (9, 2, 2), (1, 1, 2), (0, 4, 2)]
    add(made, "untidy", [{"in/x:0": rng.normal(size=s).astype(np.float32)} for s in shapes])


def types():
    """Integers, booleans and doubles in and out."""
    nodes = [
        helper.make_node("Add", ["i", "i"], ["i2"]),
        helper.make_node("Not", ["b"], ["nb"]),
        helper.make_node("Mul", ["d", "d"], ["d2"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
    ]
    made = model(nodes,
                 [info("i", TensorProto.INT64, [3]), info("b", TensorProto.BOOL, [2]), info("d", TensorProto.DOUBLE, [1])],
                 [info("i2", TensorProto.INT64, [3]), info("nb", TensorProto.BOOL, [2]),
                  info("d2", TensorProto.DOUBLE, [1]), info("f", TensorProto.FLOAT, [3])])
    add(made, "types", [{"i": np.array([1, -2, 2**40]), "b": np.array([True, False]), "d": np.array([1e200])}])


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    sklearn_models()
    math_probe()
    untidy()
    types()
    (DATA / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    print(f"{len(cases)} models, onnxruntime {onnxruntime.__version__}")
