"""Trains and exports `tumour-risk-forest`, and makes metrics.json and golden.json.

Run: python models/tumour-risk-forest/train.py
"""

import sys
from pathlib import Path

from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import tumour  # noqa: E402


def make():
    """The data, the trained pipeline and the exported model."""
    data = tumour.Data(text_labels=False)
    pipeline = tumour.train(data, SimpleImputer(strategy="median"), RandomForestClassifier(n_estimators=30, max_depth=6, random_state=0))
    return data, pipeline, tumour.export(pipeline, data, "tumour-risk-forest")


def golden() -> dict:
    data, pipeline, _ = make()
    return tumour.golden(pipeline, (FOLDER / "model.onnx").read_bytes(), data)


if __name__ == "__main__":
    data, pipeline, onnx = make()
    tumour.write(FOLDER, pipeline, onnx, data)
