"""Makes MLflow model folders and a registry, as the tests of `twinfer pack` read them.

Run: python tests/python/mlflow_models.py FOLDER            everything, into a new folder
     python tests/python/mlflow_models.py --static FOLDER   the small onnx models that are checked in
                                                            (crates/twinfer-cli/tests/data/mlflow)
     python tests/python/mlflow_models.py --register URI     the model `Risk Model` on a server
Prints the answers of scikit-learn to the input example as JSON.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
warnings.filterwarnings("ignore")

import mlflow
import numpy as np
import pandas as pd
import skops.io
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

COLUMNS = ["age", "blood pressure", "dose"]
PIP = ["scikit-learn"]


def data():
    rng = np.random.default_rng(20261125)
    rows = pd.DataFrame(rng.normal(size=(80, 3)).round(3), columns=COLUMNS)
    return rows, np.where(rows["age"] + rows["dose"] > 0, "ill", "well")


def models():
    rows, labels = data()
    trees = lambda: GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0)
    classifier = trees().fit(rows, labels)
    gaps = rows.copy()
    gaps.iloc[0, 1] = np.nan
    imputed = make_pipeline(SimpleImputer(), StandardScaler(), trees()).fit(gaps, labels)
    mixed = rows.assign(city=np.where(rows["dose"] > 0.2, "Rome", "Oslo"))
    # Columns by name: an input each in ONNX. Texts need an operator that Twinfer does not have.
    by_column = ColumnTransformer([("scaled", StandardScaler(), ["dose", "age"]), ("same", "passthrough", ["blood pressure"])])
    by_name = make_pipeline(by_column, trees()).fit(rows, labels)
    with_text = ColumnTransformer([("n", StandardScaler(), ["age", "dose"]), ("c", OneHotEncoder(), ["city"])])
    texts = make_pipeline(with_text, trees()).fit(mixed, labels)
    regressor = LinearRegression().fit(rows.values, rows.values @ [1.0, 2.0, 3.0])
    return rows, gaps, mixed, classifier, imputed, by_name, texts, regressor


def save_sklearn(folder):
    rows, gaps, mixed, classifier, imputed, by_name, texts, regressor = models()

    def save(name, model, example, fmt):
        signature = infer_signature(example, model.predict(example))
        # What MLflow writes down as trusted; a model of trees has types that skops does not know.
        trusted = skops.io.get_untrusted_types(data=skops.io.dumps(model)) if fmt == "skops" else None
        mlflow.sklearn.save_model(model, str(folder / name), signature=signature, input_example=example,
                                  serialization_format=fmt, skops_trusted_types=trusted, pip_requirements=PIP)

    for fmt in ("pickle", "cloudpickle", "skops"):
        save(f"sk-{fmt}", classifier, rows.head(3), fmt)
    save("sk-gaps", imputed, gaps.head(3), "pickle")
    save("sk-columns", by_name, rows.head(3), "pickle")
    save("sk-text", texts, mixed.head(3), "pickle")
    save("sk-regressor", regressor, rows.values[:3], "pickle")
    return {"labels": list(classifier.predict(rows.head(3))), "probabilities": classifier.predict_proba(rows.head(3)).tolist()}


def save_onnx(folder):
    rows, _, _, classifier, *_, regressor = models()
    meta = {"team": "risk", "gate": {"auc": 0.9}}
    mlflow.onnx.save_model(to_onnx(classifier, rows.values[:1].astype(np.float32), name="risk"), str(folder / "onnx-columns"),
                           signature=infer_signature(rows, classifier.predict(rows)), input_example=rows.head(3),
                           metadata=meta, pip_requirements=PIP)
    floats = rows.values[:2].astype(np.float32)
    mlflow.onnx.save_model(to_onnx(regressor, floats, name="dose"), str(folder / "onnx-tensor"),
                           signature=infer_signature(floats, regressor.predict(floats).astype(np.float32)), input_example=floats,
                           pip_requirements=PIP)


def register(uri):
    """Two versions of `Risk Model`: the first scikit-learn, the second ONNX, `champion`."""
    mlflow.set_tracking_uri(uri)
    rows, _, _, classifier, *_ = models()
    with mlflow.start_run():
        mlflow.sklearn.log_model(classifier, name="model", registered_model_name="Risk Model", input_example=rows.head(2),
                                 serialization_format="pickle", pip_requirements=PIP)
        onnx = to_onnx(classifier, rows.values[:1].astype(np.float32), name="risk")
        mlflow.onnx.log_model(onnx, name="onnx", registered_model_name="Risk Model", input_example=rows.head(2),
                              signature=infer_signature(rows, classifier.predict(rows)), pip_requirements=PIP)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("Risk Model", "first", 1)
    client.set_registered_model_alias("Risk Model", "champion", 2)
    client.update_model_version("Risk Model", 2, description="Better than the first.")


def main():
    match sys.argv[1:]:
        case ["--register", uri]:
            register(uri)
        case ["--static", folder]:
            save_onnx(Path(folder))
        case [folder]:
            folder = Path(folder).resolve()
            folder.mkdir()
            answers = save_sklearn(folder)
            save_onnx(folder)
            register(f"file:{folder}/mlruns")
            print(json.dumps(answers))


main()
