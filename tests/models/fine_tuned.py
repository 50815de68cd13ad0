"""A real pair of models: a network for handwritten digits, and the same with a new head.

`python fine_tuned.py DIR` writes two recipes, DIR/1.0.0 and DIR/1.1.0. The network is trained
on the first half of scikit-learn's digits. For the second version the features of its last
hidden layer are kept, and only the output layer is trained again, on all of the training data.

Needs scikit-learn, skl2onnx and numpy.
"""

import json
import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

RECIPE = """[package]
name = "digits"
version = "{version}"
description = "Handwritten digits, 8 x 8 pixels."
license = "BSD-3-Clause"
created = "2026-11-25T00:00:00Z"

[model]
file = "model.onnx"

[files]
metrics = "metrics.json"
"""


def hidden(network: MLPClassifier, rows: np.ndarray) -> np.ndarray:
    """The features of the last hidden layer."""
    for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1]):
        rows = np.maximum(rows @ weights + bias, 0)
    return rows


def main(folder: Path) -> None:
    digits = load_digits()
    rows, labels = (digits.data / 16).astype(np.float32), digits.target
    train, test = slice(0, 1300), slice(1300, None)
    half = slice(0, 650)

    network = MLPClassifier((768, 640), max_iter=12, random_state=0).fit(rows[half], labels[half])
    write(folder, "1.0.0", network, rows[test], labels[test])

    head = LogisticRegression(C=0.5, max_iter=300).fit(hidden(network, rows[train]), labels[train])
    network.coefs_[-1] = head.coef_.T.astype(network.coefs_[-1].dtype)
    network.intercepts_[-1] = head.intercept_.astype(network.intercepts_[-1].dtype)
    write(folder, "1.1.0", network, rows[test], labels[test])


def write(folder: Path, version: str, network: MLPClassifier, rows: np.ndarray, labels: np.ndarray) -> None:
    target = folder / version
    target.mkdir(parents=True)
    onnx = to_onnx(network, rows[:1], options={"zipmap": False})
    (target / "model.onnx").write_bytes(onnx.SerializeToString())
    accuracy = round(float(network.score(rows, labels)), 4)
    (target / "metrics.json").write_text(json.dumps({"test": {"accuracy": accuracy}}) + "\n")
    (target / "twinfer.toml").write_text(RECIPE.format(version=version))
    print(f"{version}: accuracy {accuracy}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
