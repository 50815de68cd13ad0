"""What `twinfer pack` of an MLflow model leaves to Python: converting scikit-learn models, and
the values that the golden examples expect.

Run by twinfer in a temporary folder: reads request.json there, writes answer.json. Needs
scikit-learn and skl2onnx (and cloudpickle or skops, if the model was saved so; pandas for models
that select columns by name) for `convert_sklearn`, onnxruntime for `run_onnx`.
"""

import base64
import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np

DTYPES = {
    "float32": "FP32", "float64": "FP64", "float16": "FP16", "bool": "BOOL",
    "int64": "INT64", "int32": "INT32", "int16": "INT16", "int8": "INT8",
    "uint64": "UINT64", "uint32": "UINT32", "uint16": "UINT16", "uint8": "UINT8",
}


def versions(*packages):
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def to_golden(name, array, keys=None):
    """A tensor as golden.json has it: little-endian, row-major, base64; or strings."""
    array = np.asarray(array)
    if array.dtype.kind in "OUS":
        return {"name": name, "dtype": "BYTES", "shape": list(array.shape),
                "data": {"strings": [str(item) for item in array.ravel()]}}
    dtype = DTYPES[array.dtype.name]
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    tensor = {"name": name, "dtype": dtype, "shape": list(array.shape), "data": {"base64": base64.b64encode(raw).decode()}}
    return tensor if keys is None else tensor | {"keys": [str(key) for key in keys]}


def from_golden(tensor):
    if tensor["dtype"] == "BYTES":
        return np.array(tensor["data"]["strings"], dtype=object).reshape(tensor["shape"])
    names = {value: key for key, value in DTYPES.items()}
    raw = base64.b64decode(tensor["data"]["base64"])
    return np.frombuffer(raw, np.dtype(names[tensor["dtype"]]).newbyteorder("<")).reshape(tensor["shape"])


def run_onnx(request):
    import onnxruntime

    session = onnxruntime.InferenceSession(request["model"], providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    cases = []
    for inputs in request["cases"]:
        values = session.run(names, {tensor["name"]: from_golden(tensor) for tensor in inputs})
        outputs = []
        for name, value in zip(names, values):
            if isinstance(value, list):  # ZipMap: a list of maps with the same keys.
                keys = list(value[0])
                rows = np.array([[row[key] for key in keys] for row in value], dtype=np.float32)
                outputs.append(to_golden(name, rows, keys))
            else:
                outputs.append(to_golden(name, value))
        cases.append(outputs)
    return {"reference": versions("onnxruntime", "numpy"), "cases": cases}


def load_model(request):
    """Unpickling runs code of the model's maker; the user has allowed it with --convert."""
    if request["code"]:
        sys.path.insert(0, request["code"])
    if request["format"] == "skops":
        import skops.io

        return skops.io.load(request["file"], trusted=request["trusted"] or [])
    if request["format"] == "cloudpickle":
        import cloudpickle as pickle
    elif request["format"] == "pickle":
        import pickle
    else:
        raise SystemExit(f"the serialization format {request['format']} is not known")
    with open(request["file"], "rb") as file:
        return pickle.load(file)


def to_onnx(model, columns, width):
    """One matrix of floats where the model takes one, else an input for each column."""
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType

    kinds = {"double": FloatTensorType, "float": FloatTensorType, "long": Int64TensorType,
             "integer": Int64TensorType, "boolean": BooleanTensorType, "string": StringTensorType}
    named = columns and all(column["name"] for column in columns)
    first = None
    if not columns or all(column["type"] in kinds and column["type"] != "string" for column in columns):
        try:
            return convert(model, initial_types=[("X", FloatTensorType([None, width]))], name="model")
        except Exception as error:
            first = error
    if not named:
        raise first or SystemExit("the columns of the signature have no names")
    try:
        types = [(column["name"], kinds[column["type"]]([None, 1])) for column in columns]
        return convert(model, initial_types=types, name="model")
    except KeyError as error:
        raise SystemExit(f"a column of type {error} cannot be converted") from error
    except Exception as error:
        raise first or error


def table(model, columns, rows):
    """The rows as the model was fitted on: a frame where it knows names."""
    named = columns and all(column["name"] for column in columns)
    if named and getattr(model, "feature_names_in_", None) is not None:
        import pandas

        frame = pandas.DataFrame(rows, columns=[column["name"] for column in columns])
        numbers = {column["name"]: "float64" for column in columns if column["type"] in ("double", "float")}
        return frame.astype(numbers)
    texts = columns and any(column["type"] == "string" for column in columns)
    return np.array(rows, dtype=object if texts else np.float64)


def expected(model, onnx_model, data, count):
    """For each row the outputs of the exported model, as scikit-learn itself gives them."""
    from sklearn.base import is_classifier, is_regressor

    classifier = is_classifier(model)
    predicted = np.asarray(model.predict(data)) if hasattr(model, "predict") else None
    probabilities = model.predict_proba(data) if classifier and hasattr(model, "predict_proba") else None
    cases = [[] for _ in range(count)]
    for output in onnx_model.graph.output:
        kind = output.type.tensor_type.elem_type
        maps = output.type.HasField("sequence_type")
        for row, case in enumerate(cases):
            if maps and probabilities is not None:
                case.append(to_golden(output.name, np.asarray(probabilities[row:row + 1], np.float32), model.classes_))
            elif kind in (7, 8) and predicted is not None:  # INT64, STRING: the label
                case.append(to_golden(output.name, predicted[row:row + 1].astype(np.int64 if kind == 7 else object)))
            elif kind == 1 and is_regressor(model):
                case.append(to_golden(output.name, predicted[row:row + 1].reshape(1, -1).astype(np.float32)))
            elif kind == 1 and predicted is None:
                values = np.asarray(model.transform(data), np.float32)
                case.append(to_golden(output.name, values[row:row + 1]))
    if not all(cases):
        raise SystemExit("no output of the exported model is one that scikit-learn can be asked for")
    return cases


def convert_sklearn(request):
    from sklearn.utils import get_tags

    model = load_model(request)
    columns, rows = request["columns"], request["rows"]
    width = len(columns) if columns else request["width"] or int(model.n_features_in_)
    onnx_model = to_onnx(model, columns, width)
    # skl2onnx lists the operator sets in the order of a set, which changes from run to run.
    sets = sorted(onnx_model.opset_import, key=lambda entry: entry.domain)
    del onnx_model.opset_import[:]
    onnx_model.opset_import.extend(sets)
    cases = expected(model, onnx_model, table(model, columns, rows), len(rows)) if rows else []
    Path(request["output"]).write_bytes(onnx_model.SerializeToString(deterministic=True))
    # Of a pipeline its first step decides.
    first = model.steps[0][1] if hasattr(model, "steps") else model
    return {"reference": versions("scikit-learn", "skl2onnx", "onnx", "numpy"), "cases": cases,
            "allow_nan": bool(get_tags(first).input_tags.allow_nan)}


if __name__ == "__main__":
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    answer = {"run_onnx": run_onnx, "convert_sklearn": convert_sklearn}[request["task"]](request)
    Path("answer.json").write_text(json.dumps(answer), encoding="utf-8")
