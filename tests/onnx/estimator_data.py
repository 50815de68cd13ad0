"""What the estimators of `estimator_list.py` are fitted on, and what they are asked.

Everything is bundled with scikit-learn or made here from fixed seeds. Numbers are given to `fit` in
single precision, so that a threshold between two of them is one in the exported graph as well.
`make(kind)` gives `Data`: what `fit` takes, the rows that are asked, and the task.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.preprocessing import scale


@dataclass
class Data:
    x: Any
    y: Any
    rows: Any
    # classifier, regressor, transform, cluster, mixture, outlier, nearest, labels
    task: str


# So many rows are asked in the larger call.
ROWS = 20


def single(x):
    return np.ascontiguousarray(x, dtype=np.float32)


def spread(x):
    return x[:: max(1, len(x) // ROWS)][:ROWS]


def with_missing(x):
    x = x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.15] = np.nan
    return x


def binary():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return single(x[::3, [0, 1, 4, 5, 8, 9]]), y[::3]


def multi():
    x, y = datasets.load_iris(return_X_y=True)
    return single(x), y


def regression():
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return single(scale(x[::3])), single(y[::3])


WORDS = {"city": ["Bern", "Genève", "Zürich"], "sex": ["female", "male"]}


def words(count):
    random = np.random.default_rng(1)
    return np.stack([random.choice(values, count) for values in WORDS.values()], axis=1).astype(object)


def table(count):
    """Columns of numbers, some missing, of words and of whole numbers, and whether each row is one or not."""
    random = np.random.default_rng(2)
    text = words(count)
    age = random.integers(1, 80, count).astype(np.float32)
    fare = single(random.gamma(2.0, 20.0, count))
    children = random.integers(0, 4, count).astype(np.int64)
    y = (age + 20 * (text[:, 1] == "male") + random.normal(0, 10, count) > 45).astype(np.int64)
    fare[random.random(count) < 0.1] = np.nan
    frame = pd.DataFrame({"age": age, "fare": fare, "city": text[:, 0], "sex": text[:, 1], "children": children})
    return frame, y


SENTENCES = [
    "The quick brown fox jumps over the lazy dog", "A model of trees, and of more trees", "No two words alike",
    "numbers 12 and 345 are words, too", "It's a dog's life; isn't it?", "Ünïcode wörds: naïve café, Zürich!",
    "  spaces   around   words ", "punctuation... does-not matter!", "the the the a a dog", "I x y single letters",
    "fox and dog and fox", "UPPER and lower Case", "line\nbreaks\tand tabs", "e-mail me@example.org", "quick lazy quick",
    "trees over trees", "unknown_words with_underscores", "12 345 6", "brown dog", "café dog",
]


def data_of(kind):
    if kind.startswith("scaled_"):
        data = data_of(kind.removeprefix("scaled_"))
        x = single(scale(data.x))
        return Data(x, data.y, spread(x), data.task)
    if kind.startswith("missing_"):
        data = data_of(kind.removeprefix("missing_"))
        x = with_missing(data.x)
        return Data(x, data.y, spread(x), data.task)
    return KINDS[kind]()


def plain(source, task):
    def make():
        x, y = source()
        return Data(x, y, spread(x), task)
    return make


def strings():
    x, y = multi()
    return Data(x, np.array(["setosa", "versicolor", "virginica"])[y], spread(x), "classifier")


def counts(task="classifier"):
    x, y = multi()
    x = np.floor(x)
    return Data(x, y, spread(x), task)


def targets():
    x, y = regression()
    return Data(x, np.stack([y, y * 0.5 + x[:, 0]], axis=1), spread(x), "regressor")


def several(task):
    x, y = multi()
    y = np.stack([y > 0, x[:, 1] > 3], axis=1).astype(np.int64)
    return Data(x, y, spread(x), task)


def kernel():
    x, _ = multi()
    k = single(x @ x[:12].T)[:12]
    return Data(k, None, k, "transform")


def missing():
    x, y = multi()
    x = with_missing(x)
    return Data(x, y, spread(x), "transform")


def worded():
    x = words(60)
    y = (x[:, 0] == "Bern").astype(np.int64)
    y[::5] = 1
    return Data(x, y, spread(x), "transform")


def integers():
    x = np.random.default_rng(3).integers(0, 4, (60, 3)).astype(np.int64)
    return Data(x, None, spread(x), "transform")


def labels(values):
    y = np.array(values * 4)
    return Data(y, None, y[:ROWS], "labels")


def dictionaries():
    rows = [{"a": 1.0, "b": 0.5}, {"b": 2.0, "c": -1.0}, {"a": 0.25}, {"c": 4.0}]
    return Data(rows, None, rows, "transform")


def hashed():
    x = words(60)
    return Data(x, None, spread(x), "transform")


def sentences(task="transform"):
    x = np.array(SENTENCES)
    y = np.array([int("dog" in s) for s in SENTENCES])
    return Data(x, y, x, task)


def columns():
    frame, y = table(120)
    return Data(frame, y, frame.iloc[:ROWS], "columns")


KINDS = {
    "binary": plain(binary, "classifier"), "multi": plain(multi, "classifier"), "strings": strings,
    "counts": counts, "counts_only": lambda: counts("transform"), "regression": plain(regression, "regressor"),
    "targets": targets, "multi_label": lambda: several("classifier"), "multi_output": lambda: several("classifier"),
    "transform": plain(multi, "transform"), "transform_only": plain(multi, "classifier"), "kernel": kernel,
    "missing": missing, "words": worded, "integers": integers, "dictionaries": dictionaries, "hashed": hashed,
    "labels_words": lambda: labels(["Bern", "Zürich", "Genève", "Bern", "Zug", "Zug"]),
    "labels_integers": lambda: labels([3, 7, 11, 3, 7, 3]),
    "cluster": plain(multi, "cluster"), "mixture": plain(multi, "mixture"), "outlier": plain(multi, "outlier"),
    "nearest": plain(multi, "nearest"), "text": sentences, "text_classifier": lambda: sentences("classifier"),
    "columns": columns,
}
