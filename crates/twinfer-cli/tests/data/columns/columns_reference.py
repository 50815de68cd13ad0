"""Writes `model.onnx` and `answers.json`: a pipeline with a ColumnTransformer, and what scikit-learn says.

    python columns_reference.py          (scikit-learn, skl2onnx and pandas of tests/python/requirements.txt)

The model takes an input [N, 1] for each column, as skl2onnx exports it by default: floats of which some are
missing, words, and whole numbers. The answers are scikit-learn's; the graph computes in single precision.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent

random = np.random.default_rng(0)
COUNT = 80
table = pd.DataFrame({
    "age": random.integers(1, 80, COUNT).astype(np.float32),
    "fare": random.gamma(2.0, 20.0, COUNT).astype(np.float32),
    "city": random.choice(["Bern", "Genève", "Zürich"], COUNT),
    "children": random.integers(0, 4, COUNT),
})
table.loc[random.random(COUNT) < 0.2, "fare"] = np.nan
labels = np.where(table["age"] + 20 * (table["city"] == "Bern") + random.normal(0, 10, COUNT) > 45, "yes", "no")

imputed = make_pipeline(SimpleImputer(), StandardScaler())
columns = ColumnTransformer([
    ("fare", imputed, ["fare"]),
    ("age", StandardScaler(), ["age"]),
    ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
    ("rest", "passthrough", ["children"]),
])
model = make_pipeline(columns, LogisticRegression()).fit(table, labels)
inputs = [("age", FloatTensorType([None, 1])), ("fare", FloatTensorType([None, 1])),
          ("city", StringTensorType([None, 1])), ("children", Int64TensorType([None, 1]))]
(HERE / "model.onnx").write_bytes(to_onnx(model, initial_types=inputs).SerializeToString())

records = [
    {"age": 3, "fare": 7.25, "city": "Bern", "children": 0},
    {"age": 71.5, "fare": None, "city": "Zürich", "children": 2},
    {"age": 40, "city": "Genève", "children": 1},
    {"age": 62, "fare": 512.0, "city": "Nowhere", "children": 3},
]
cases = []
for record in records:
    row = pd.DataFrame([record], columns=table.columns).astype({"fare": np.float32, "age": np.float32})
    probabilities = dict(zip(model.classes_, map(float, model.predict_proba(row)[0])))
    cases.append({"record": record, "label": str(model.predict(row)[0]), "probabilities": probabilities})
text = json.dumps(cases, indent=1, ensure_ascii=False)
(HERE / "answers.json").write_text(text + "\n", encoding="utf-8")
