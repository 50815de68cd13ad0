"""Tree ensembles for the measure `trees`: 100 trees of depth 8, and 1,000 of depth 6.

    python bench/models/trees.py --program twinfer --out target/bench/trees

The trees are complete: every row goes down as many nodes as a tree is deep, by features and
thresholds drawn at random, which is the most that an ensemble of that size can cost. The 100 are a
classifier of two classes as scikit-learn's forests are exported, the 1,000 a regressor as boosters
are. Each is packed once for each batch, because a sample of the page has one input.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from packed import prepare

FEATURES = 30
BATCHES = [1, 1000]
ENSEMBLES = {"forest-100x8": (100, 8, "class"), "booster-1000x6": (1000, 6, "target")}


def nodes(trees: int, depth: int, random: np.random.Generator) -> dict:
    """Attributes of complete trees, in the order of a heap: the children of node n are 2n + 1 and 2n + 2."""
    inner, count = 2**depth - 1, 2 ** (depth + 1) - 1
    of_tree = np.arange(count)
    is_leaf = of_tree >= inner
    features = np.where(is_leaf, 0, random.integers(0, FEATURES, (trees, count)))
    thresholds = np.where(is_leaf, 0.0, random.uniform(0.2, 0.8, (trees, count)))
    child = lambda side: np.tile(np.where(is_leaf, 0, 2 * of_tree + side), trees).tolist()
    return {
        "nodes_treeids": np.repeat(np.arange(trees), count).tolist(),
        "nodes_nodeids": np.tile(of_tree, trees).tolist(),
        "nodes_featureids": features.ravel().tolist(),
        "nodes_values": thresholds.ravel().tolist(),
        "nodes_modes": np.tile(np.where(is_leaf, "LEAF", "BRANCH_LEQ"), trees).tolist(),
        "nodes_truenodeids": child(1),
        "nodes_falsenodeids": child(2),
    }


def build(trees: int, depth: int, kind: str) -> onnx.ModelProto:
    random = np.random.default_rng(trees)
    leaves = np.arange(2**depth) + 2**depth - 1
    weights = {
        f"{kind}_treeids": np.repeat(np.arange(trees), len(leaves)).tolist(),
        f"{kind}_nodeids": np.tile(leaves, trees).tolist(),
        f"{kind}_ids": [0] * (trees * len(leaves)),
        # Of a forest the weights add up to a probability.
        f"{kind}_weights": (random.uniform(0, 1, trees * len(leaves)) / trees).tolist(),
    }
    rows = lambda name, dtype, *rest: helper.make_tensor_value_info(name, dtype, ["rows", *rest])
    if kind == "class":
        operator, outputs = "TreeEnsembleClassifier", [rows("label", TensorProto.INT64), rows("scores", TensorProto.FLOAT, 2)]
        weights |= {"classlabels_int64s": [0, 1], "post_transform": "NONE"}
    else:
        operator, outputs = "TreeEnsembleRegressor", [rows("scores", TensorProto.FLOAT, 1)]
        weights |= {"n_targets": 1, "post_transform": "NONE"}
    names = [output.name for output in outputs]
    node = helper.make_node(operator, ["x"], names, domain="ai.onnx.ml", **nodes(trees, depth, random), **weights)
    graph = helper.make_graph([node], operator, [rows("x", TensorProto.FLOAT, FEATURES)], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    samples = []
    for name, (trees, depth, kind) in ENSEMBLES.items():
        model = build(trees, depth, kind)
        for batch in BATCHES:
            rows = np.random.default_rng(batch).uniform(0, 1, (batch, FEATURES)).astype(np.float32)
            sample = prepare(f"{name}-batch-{batch}", "made by bench/models/trees.py", model, {"x": rows}, options.program, options.out)
            samples.append({**sample, "ensemble": name, "batch": batch})
    (options.out / "samples.json").write_text(json.dumps({"samples": samples, "missing": []}))


main()
