"""Trains and exports `tumour-risk-mlp`, and makes metrics.json and golden.json.

Run: python models/tumour-risk-mlp/train.py
"""

import sys
from pathlib import Path

from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import tumour  # noqa: E402


def make():
    """The data, the trained pipeline and the exported model."""
    data = tumour.Data(text_labels=False)
    pipeline = tumour.train(data, SimpleImputer(strategy="mean"), MLPClassifier(hidden_layer_sizes=(16, 8), alpha=0.01, max_iter=400, random_state=0))
    return data, pipeline, tumour.export(pipeline, data, "tumour-risk-mlp")


def golden() -> dict:
    data, pipeline, _ = make()
    return tumour.golden(pipeline, (FOLDER / "model.onnx").read_bytes(), data)


if __name__ == "__main__":
    data, pipeline, onnx = make()
    tumour.write(FOLDER, pipeline, onnx, data)
