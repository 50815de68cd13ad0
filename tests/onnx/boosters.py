"""Models of LightGBM and XGBoost, through onnxmltools with its default options."""

import lightgbm
import numpy as np
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from estimator_data import ROWS, data_of, spread


def groups(count, size=10):
    return np.full(count // size, size)


def categories():
    """Columns of whole numbers from 0, of which the first two are categories, and what follows from them."""
    random = np.random.default_rng(4)
    x = np.stack([random.integers(0, 12, 300), random.integers(0, 40, 300), random.normal(0, 1, 300)], axis=1)
    x = x.astype(np.float32)
    y = ((x[:, 0] % 3 == 1) + (x[:, 1] % 5 == 2) + x[:, 2] > 0.7).astype(np.int64)
    return x, y


def ranking():
    x, y = data_of("multi").x, data_of("multi").y
    order = np.random.default_rng(5).permutation(len(x))
    return x[order], y[order]


def raw(model, rows):
    return [model.predict(rows)]


def classes(model, rows):
    return [model.predict(rows), model.predict_proba(rows)]


def lightgbm_models():
    small = {"n_estimators": 12, "num_leaves": 8, "random_state": 0, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}
    for kind in ("binary", "multi", "missing_binary", "missing_multi"):
        data = data_of(kind)
        yield kind, lightgbm.LGBMClassifier(**small).fit(data.x, data.y), data.rows, classes
    for boosting in ("dart", "rf"):
        data = data_of("binary")
        extra = {"subsample": 0.7, "subsample_freq": 1} if boosting == "rf" else {}
        model = lightgbm.LGBMClassifier(boosting_type=boosting, **extra, **small)
        yield f"binary_{boosting}", model.fit(data.x, data.y), data.rows, classes
    for kind in ("regression", "missing_regression"):
        data = data_of(kind)
        yield kind, lightgbm.LGBMRegressor(**small).fit(data.x, data.y), data.rows, raw
    for objective in ("poisson", "tweedie", "quantile", "regression_l1", "gamma"):
        data = data_of("regression")
        model = lightgbm.LGBMRegressor(objective=objective, **small)
        yield f"regression_{objective}", model.fit(data.x, data.y), data.rows, raw
    x, y = ranking()
    yield "ranking", lightgbm.LGBMRanker(**small).fit(x, y, group=groups(len(x))), spread(x), raw
    x, y = categories()
    small |= {"cat_smooth": 1, "min_data_per_group": 1}
    of = {"categorical_feature": [0, 1]}
    yield "categorical", lightgbm.LGBMClassifier(**small).fit(x, y, **of), spread(x), classes
    yield "categorical_regression", lightgbm.LGBMRegressor(**small).fit(x, x[:, 0] * y, **of), spread(x), raw


def xgboost_models():
    small = {"n_estimators": 12, "max_depth": 4, "random_state": 0, "n_jobs": 1}
    for kind in ("binary", "multi", "missing_binary", "missing_multi"):
        data = data_of(kind)
        yield kind, xgboost.XGBClassifier(**small).fit(data.x, data.y), data.rows, classes
    for kind in ("regression", "missing_regression"):
        data = data_of(kind)
        yield kind, xgboost.XGBRegressor(**small).fit(data.x, data.y), data.rows, raw
    for objective in ("count:poisson", "reg:tweedie", "reg:gamma", "reg:absoluteerror", "reg:squaredlogerror"):
        data = data_of("regression")
        model = xgboost.XGBRegressor(objective=objective, **small).fit(data.x, data.y)
        yield f"regression_{objective.partition(':')[2]}", model, data.rows, raw
    data = data_of("binary")
    yield "binary_dart", xgboost.XGBClassifier(booster="dart", **small).fit(data.x, data.y), data.rows, classes
    yield "forest", xgboost.XGBRFClassifier(**small).fit(data.x, data.y), data.rows, classes
    data = data_of("regression")
    yield "forest", xgboost.XGBRFRegressor(**small).fit(data.x, data.y), data.rows, raw
    x, y = ranking()
    yield "ranking", xgboost.XGBRanker(**small).fit(x, y, group=groups(len(x))), spread(x), raw
    x, y = categories()
    kinds = {"feature_types": ["c", "c", "q"], "enable_categorical": True, "max_cat_to_onehot": 20}
    yield "categorical", xgboost.XGBClassifier(**kinds, **small).fit(x, y), spread(x), classes


def write(writer):
    for suite, models, convert in (("lightgbm", lightgbm_models(), convert_lightgbm),
                                   ("xgboost", xgboost_models(), convert_xgboost)):
        for variant, model, rows, answer in models:
            rows = np.ascontiguousarray(rows[:ROWS], dtype=np.float32)
            inputs = [("X", FloatTensorType([None, rows.shape[1]]))]

            ways = [("", lambda: convert(model, initial_types=inputs))]

            def parts():
                return [({"X": part}, answer(model, part)) for part in (rows[:1], rows)]

            writer.case(suite, type(model).__name__, variant, ways, parts)
