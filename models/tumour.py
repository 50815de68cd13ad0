"""What the three `tumour-risk` models share: data, training, export, evaluation, golden cases.

Each of them is `SimpleImputer -> StandardScaler -> classifier`, trained on the breast-cancer
data that comes with scikit-learn and exported with the defaults of skl2onnx, as users have it:
one float input `X` of shape [None, 30], the outputs `output_label` and `output_probability`
(a ZipMap).
"""

import importlib.resources
import json
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import recipes

# The file inside scikit-learn. Another one would be another model.
DATA_SHA256 = "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
PACKAGES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy")
TOLERANCE = {"relative": 1e-5, "absolute": 2e-6}
REASON = (
    "outputs are scikit-learn's, in double precision from the numbers as they are; the exported model has "
    "weights, inputs and sums in single precision, and one probability is 1 minus the other: {worst:.1e} at "
    "the most in these cases (onnxruntime against scikit-learn)"
)


class Data:
    """The breast-cancer data, with the 30 columns under their names, split once and for all."""

    def __init__(self, text_labels: bool):
        file = importlib.resources.files("sklearn.datasets") / "data" / "breast_cancer.csv"
        found = recipes.sha256(file.read_bytes())
        if found != DATA_SHA256:
            raise SystemExit(f"breast_cancer.csv has sha256 {found}, expected {DATA_SHA256}")
        bunch = load_breast_cancer()
        self.columns = [str(name) for name in bunch.feature_names]
        # 0 is malignant and 1 is benign in this data set.
        target = bunch.target_names[bunch.target].astype(object) if text_labels else bunch.target
        self.malignant = "malignant" if text_labels else 0
        split = train_test_split(bunch.data, target, test_size=0.25, stratify=target, random_state=20261125)
        self.train, self.test, self.train_target, self.test_target = split

    def test_with_gaps(self) -> np.ndarray:
        """The test rows with every tenth value missing, chosen by a fixed seed."""
        rows = self.test.copy()
        rows[np.random.default_rng(7).random(rows.shape) < 0.1] = np.nan
        return rows


def train(data: Data, imputer: SimpleImputer, classifier) -> Pipeline:
    return make_pipeline(imputer, StandardScaler(), classifier).fit(data.train, data.train_target)


def export(pipeline: Pipeline, data: Data, name: str) -> bytes:
    """The model as users export it: only the name of the graph is set, the rest is default."""
    model = to_onnx(pipeline, data.train[:1].astype(np.float32), name=name)
    # skl2onnx lists the operator sets in the order of a Python set of strings, which changes
    # from run to run.
    operator_sets = sorted(model.opset_import, key=lambda entry: entry.domain)
    del model.opset_import[:]
    model.opset_import.extend(operator_sets)
    return model.SerializeToString(deterministic=True)


def run(onnx: bytes, rows: np.ndarray):
    """Labels and maps of probabilities, by onnxruntime."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(["output_label", "output_probability"], {"X": rows.astype(np.float32)})


def metrics(pipeline: Pipeline, onnx: bytes, data: Data) -> dict:
    """Quality on the rows kept back, and how far the exported model is from scikit-learn."""
    classes = list(pipeline.classes_)
    truth = np.asarray(data.test_target == data.malignant, dtype=int)
    result = {"data_sha256": DATA_SHA256, "rows": {"train": len(data.train), "test": len(data.test)}}
    for kind, rows in (("test", data.test), ("test_with_a_tenth_missing", data.test_with_gaps())):
        probabilities = pipeline.predict_proba(rows)
        malignant = probabilities[:, classes.index(data.malignant)]
        label, mapped = run(onnx, rows)
        exported = np.array([[row[key] for key in classes] for row in mapped])
        result[kind] = {
            "accuracy": round(float(accuracy_score(truth, malignant > 0.5)), 4),
            "roc_auc": round(float(roc_auc_score(truth, malignant)), 4),
            "brier": round(float(brier_score_loss(truth, malignant)), 4),
            "malignant_found": round(float((malignant > 0.5)[truth == 1].mean()), 4),
            "benign_found": round(float((malignant <= 0.5)[truth == 0].mean()), 4),
            "labels_equal_after_export": int((label == pipeline.predict(rows)).sum()),
            # Two digits say what matters, and do not change with the processor.
            "largest_difference_after_export": float(f"{np.abs(exported - probabilities).max():.1e}"),
        }
    return result


def record(data: Data, row: np.ndarray, nulls: bool) -> dict:
    """A row by column name. A missing value is null, or not there at all."""
    named = {name: None if np.isnan(value) else float(value) for name, value in zip(data.columns, row)}
    return named if nulls else {name: value for name, value in named.items() if value is not None}


def golden(pipeline: Pipeline, onnx: bytes, data: Data) -> dict:
    """Answers of scikit-learn (`outputs`) and raw tensors of onnxruntime (`tensors`)."""
    malignant = pipeline.predict_proba(data.test)[:, list(pipeline.classes_).index(data.malignant)]
    order = np.argsort(malignant, kind="stable")
    some = data.test[order[7]].copy()
    some[[0, 3, 20, 29]] = np.nan
    many = data.test[order[-9]].copy()
    many[::2] = np.nan
    rows = {
        "surely-benign": (data.test[order[0]], True),
        "surely-malignant": (data.test[order[-1]], True),
        # The row with the least certain answer: where a wrong threshold shows first.
        "uncertain": (data.test[np.argsort(np.abs(malignant - 0.5), kind="stable")[0]], True),
        "four-missing-as-null": (some, True),
        "half-missing-left-out": (many, False),
        "all-missing": (np.full(len(data.columns), np.nan), False),
        "outside-the-training-data": (data.train.max(axis=0) * 4, True),
        "zeros": (np.zeros(len(data.columns)), True),
    }
    cases, worst = [], 0.0
    for name, (row, nulls) in rows.items():
        case, difference = _case(pipeline, onnx, name, row, record(data, row, nulls))
        cases.append(case)
        worst = max(worst, difference)
    cases.append(_batch(onnx, data.test_with_gaps()[order[::12]]))
    for case in cases:
        case["tolerance"] = TOLERANCE
        case["reason"] = REASON.format(worst=worst)
    return {"reference": recipes.versions(*PACKAGES), "cases": cases}


def _case(pipeline: Pipeline, onnx: bytes, name: str, row: np.ndarray, given: dict) -> tuple[dict, float]:
    probabilities = pipeline.predict_proba(row[None])[0]
    label = pipeline.predict(row[None])[0]
    label = label if isinstance(label, str) else int(label)
    labels, mapped = run(onnx, row[None])
    if labels[0] != label:
        raise SystemExit(f"{name}: scikit-learn says {label}, the exported model {labels[0]}: choose another row")
    named = {str(key): float(value) for key, value in zip(pipeline.classes_, probabilities)}
    exported = {str(key): float(value) for key, value in mapped[0].items()}
    expect = {"outputs": {"label": label, "probabilities": named},
              "tensors": [recipes.tensor("output_label", labels), recipes.maps("output_probability", mapped)]}
    return {"name": name, "input": {"record": given}, "expect": expect}, recipes.largest(named, exported)


def _batch(onnx: bytes, rows: np.ndarray) -> dict:
    """Several rows at once, as plain tensors, a tenth of the values missing."""
    labels, mapped = run(onnx, rows)
    given = [recipes.tensor("X", rows.astype(np.float32))]
    expect = {"tensors": [recipes.tensor("output_label", labels), recipes.maps("output_probability", mapped)]}
    return {"name": f"batch-of-{len(rows)}", "input": {"tensors": given}, "expect": expect}


def write(folder: Path, pipeline: Pipeline, onnx: bytes, data: Data) -> None:
    (folder / "model.onnx").write_bytes(onnx)
    recipes.write_json(folder / "metrics.json", metrics(pipeline, onnx, data))
    recipes.write_json(folder / "golden.json", golden(pipeline, onnx, data))
    print(f"{folder.name}: model.onnx {len(onnx)} bytes, sha256 {recipes.sha256(onnx)}")
    print(json.dumps(json.loads((folder / "metrics.json").read_text())["test"]))
