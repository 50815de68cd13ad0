"""The estimators of scikit-learn that skl2onnx converts, each with what it is fitted on.

`ALL` is a list of `Spec`: the class, the variant, how it is made, and the kind of data. Every class of
skl2onnx's own list (`sklearn_operator_name_map`) must be here or in `NOT_ALONE`; `estimators.py` checks it.
"""

from dataclasses import dataclass
from typing import Callable

from sklearn import (calibration, cluster, compose, cross_decomposition, decomposition,
                     discriminant_analysis, ensemble, feature_extraction, feature_selection,
                     gaussian_process, impute, linear_model, mixture,
                     model_selection, multiclass, multioutput, naive_bayes, neighbors,
                     neural_network, pipeline, preprocessing, random_projection, svm, tree)
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from skl2onnx.sklapi import CastRegressor, CastTransformer, ReplaceTransformer


@dataclass
class Spec:
    name: str
    variant: str
    make: Callable[[], BaseEstimator]
    data: str


ALL: list[Spec] = []

# In skl2onnx's list, and nothing that somebody fits by itself.
NOT_ALONE = {
    "_ConstantPredictor": "a part of OneVsRestClassifier",
}


def add(data, make, variant=None):
    built = make()
    variant = data if variant is None else variant
    ALL.append(Spec(type(built).__name__, variant, make, data))


def classifier(cls, *datas, variant="", **parameters):
    for data in datas or ("binary", "multi", "strings"):
        add(data, lambda: cls(**parameters), f"{data}{variant}")


def regressor(cls, *datas, variant="", **parameters):
    for data in datas or ("regression",):
        add(data, lambda: cls(**parameters), f"{data}{variant}")


def transformer(cls, data="transform", variant="", **parameters):
    add(data, lambda: cls(**parameters), f"{data}{variant}")


SEED = {"random_state": 0}
SMALL = {"n_estimators": 10, "random_state": 0}


def classifiers():
    classifier(LogisticRegression, max_iter=2000)
    classifier(linear_model.LogisticRegressionCV, "binary", "multi", max_iter=2000, Cs=3, cv=3,
               use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy")
    classifier(linear_model.RidgeClassifier, "binary", "multi")
    classifier(linear_model.RidgeClassifierCV, "binary", "multi")
    classifier(linear_model.Perceptron, "binary", "multi", **SEED)
    classifier(linear_model.PassiveAggressiveClassifier, "binary", "multi", **SEED)
    for loss in ("hinge", "log_loss", "modified_huber"):
        classifier(linear_model.SGDClassifier, "binary", "multi", variant=f"_{loss}", loss=loss, **SEED)
    classifier(discriminant_analysis.LinearDiscriminantAnalysis, "binary", "multi")
    classifier(discriminant_analysis.QuadraticDiscriminantAnalysis, "binary", "multi", reg_param=0.1)
    for cls in (svm.SVC, svm.NuSVC):
        classifier(cls, variant="_probability", probability=True, **SEED)
        classifier(cls, "binary", "multi")
    classifier(svm.SVC, "binary", "multi", variant="_linear", kernel="linear", C=0.1)
    classifier(svm.SVC, "multi", variant="_poly", kernel="poly", degree=2)
    classifier(svm.SVC, "multi", variant="_sigmoid", kernel="sigmoid", gamma=0.01)
    classifier(svm.SVC, "multi", variant="_ovo", decision_function_shape="ovo")
    classifier(svm.LinearSVC, "binary", "multi", **SEED)
    for cls in (naive_bayes.GaussianNB, naive_bayes.BernoulliNB):
        classifier(cls, "binary", "multi")
    for cls in (naive_bayes.MultinomialNB, naive_bayes.ComplementNB, naive_bayes.CategoricalNB):
        classifier(cls, "counts")
    for cls in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        classifier(cls, max_depth=4, **SEED)
    for cls in (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier,
                ensemble.GradientBoostingClassifier, ensemble.AdaBoostClassifier):
        classifier(cls, **SMALL)
    classifier(ensemble.RandomForestClassifier, "multi_label", variant="", **SMALL)
    classifier(ensemble.HistGradientBoostingClassifier, max_iter=10, **SEED)
    classifier(ensemble.HistGradientBoostingClassifier, "missing_multi", max_iter=10, **SEED)
    classifier(ensemble.BaggingClassifier, "binary", "multi", **SMALL)
    parts = [("a", LogisticRegression(max_iter=2000)),
             ("b", tree.DecisionTreeClassifier(max_depth=3, random_state=0))]
    classifier(ensemble.VotingClassifier, "binary", "multi", variant="_hard", estimators=parts, flatten_transform=False)
    classifier(ensemble.VotingClassifier, "binary", "multi", variant="_soft", estimators=parts, voting="soft",
               flatten_transform=False)
    classifier(ensemble.StackingClassifier, "binary", "multi", estimators=parts, cv=3)
    classifier(calibration.CalibratedClassifierCV, "binary", "multi", variant="_sigmoid",
               estimator=svm.LinearSVC(random_state=0), cv=3)
    classifier(calibration.CalibratedClassifierCV, "binary", "multi", variant="_isotonic",
               estimator=naive_bayes.GaussianNB(), method="isotonic", cv=3)
    classifier(multiclass.OneVsRestClassifier, "binary", "multi", "multi_label",
               estimator=LogisticRegression(max_iter=2000))
    classifier(multiclass.OneVsOneClassifier, "binary", "multi", estimator=LogisticRegression(max_iter=2000))
    classifier(multioutput.MultiOutputClassifier, "multi_output", estimator=LogisticRegression(max_iter=2000))
    classifier(neighbors.KNeighborsClassifier)
    classifier(neighbors.KNeighborsClassifier, "multi", variant="_distance", weights="distance", n_neighbors=3)
    classifier(neighbors.RadiusNeighborsClassifier, "scaled_multi", radius=3.0, outlier_label=0)
    classifier(neural_network.MLPClassifier, "binary", "multi", hidden_layer_sizes=(8,), max_iter=300, **SEED)
    classifier(neural_network.MLPClassifier, "multi_label", hidden_layer_sizes=(8,), max_iter=300, **SEED)
    classifier(gaussian_process.GaussianProcessClassifier, "scaled_binary", "scaled_multi")
    classifier(model_selection.GridSearchCV, "binary", "multi",
               estimator=LogisticRegression(max_iter=2000), param_grid={"C": [0.1, 1.0]}, cv=3)
    classifier(model_selection.TunedThresholdClassifierCV, "binary",
               estimator=LogisticRegression(max_iter=2000), cv=3)
    classifier(pipeline.Pipeline, steps=[("scale", StandardScaler()), ("model", LogisticRegression())])


def regressors():
    linear = linear_model
    for cls in (LinearRegression, Ridge, linear.RidgeCV, linear.ARDRegression, linear.BayesianRidge,
                linear.ElasticNet, linear.ElasticNetCV, linear.HuberRegressor, linear.Lars, linear.LarsCV,
                linear.Lasso, linear.LassoCV, linear.LassoLars, linear.LassoLarsCV, linear.LassoLarsIC,
                linear.OrthogonalMatchingPursuit, linear.OrthogonalMatchingPursuitCV,
                linear.PoissonRegressor, linear.GammaRegressor, linear.TweedieRegressor,
                svm.SVR, svm.NuSVR, neighbors.KNeighborsRegressor):
        regressor(cls)
    regressor(linear.QuantileRegressor, alpha=0.01)
    for cls in (svm.LinearSVR, linear.PassiveAggressiveRegressor, linear.SGDRegressor, linear.TheilSenRegressor,
                linear.RANSACRegressor):
        regressor(cls, **SEED)
    regressor(LinearRegression, "targets")
    for cls in (linear.MultiTaskElasticNet, linear.MultiTaskElasticNetCV, linear.MultiTaskLasso,
                linear.MultiTaskLassoCV, cross_decomposition.PLSRegression):
        regressor(cls, "targets")
    for cls in (tree.DecisionTreeRegressor, tree.ExtraTreeRegressor):
        regressor(cls, "regression", "targets", max_depth=4, **SEED)
    for cls in (ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor):
        regressor(cls, "regression", "targets", **SMALL)
    for cls in (ensemble.GradientBoostingRegressor, ensemble.AdaBoostRegressor, ensemble.BaggingRegressor):
        regressor(cls, **SMALL)
    regressor(ensemble.HistGradientBoostingRegressor, "regression", "missing_regression", max_iter=10, **SEED)
    parts = [("a", Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3, random_state=0))]
    regressor(ensemble.VotingRegressor, estimators=parts)
    regressor(ensemble.StackingRegressor, estimators=parts, cv=3)
    regressor(multioutput.MultiOutputRegressor, "targets", estimator=Ridge())
    regressor(neighbors.KNeighborsRegressor, variant="_distance", weights="distance")
    regressor(neighbors.RadiusNeighborsRegressor, "scaled_regression", radius=6.0)
    regressor(neural_network.MLPRegressor, hidden_layer_sizes=(8,), max_iter=300, **SEED)
    regressor(gaussian_process.GaussianProcessRegressor, "scaled_regression", alpha=0.1)
    regressor(model_selection.GridSearchCV, estimator=Ridge(), param_grid={"alpha": [0.1, 1.0]})
    regressor(CastRegressor, estimator=tree.DecisionTreeRegressor(max_depth=3, random_state=0))


def transformers():
    pre = preprocessing
    for cls in (StandardScaler, pre.MinMaxScaler, pre.MaxAbsScaler, pre.RobustScaler, pre.Normalizer,
                pre.PolynomialFeatures, pre.PowerTransformer, feature_selection.VarianceThreshold,
                decomposition.IncrementalPCA, neighbors.KNeighborsTransformer,
                feature_selection.SelectKBest, feature_selection.SelectPercentile,
                feature_selection.SelectFdr, feature_selection.SelectFpr, feature_selection.SelectFwe):
        if cls is feature_selection.SelectKBest:
            transformer(cls, k=3)
        elif cls is decomposition.IncrementalPCA:
            transformer(cls, n_components=3)
        else:
            transformer(cls)
    for norm in ("l1", "max"):
        transformer(pre.Normalizer, variant=f"_{norm}", norm=norm)
    transformer(feature_selection.GenericUnivariateSelect, param=50)
    transformer(feature_selection.SelectFromModel, estimator=tree.DecisionTreeClassifier(random_state=0))
    transformer(feature_selection.RFE, estimator=tree.DecisionTreeClassifier(random_state=0), n_features_to_select=2)
    transformer(feature_selection.RFECV, estimator=tree.DecisionTreeClassifier(random_state=0), cv=3)
    transformer(pre.Binarizer, threshold=3.0)
    transformer(pre.QuantileTransformer, n_quantiles=20, **SEED)
    for encode in ("ordinal", "onehot", "onehot-dense"):
        transformer(pre.KBinsDiscretizer, variant=f"_{encode}", n_bins=4, encode=encode,
                    quantile_method="averaged_inverted_cdf")
    transformer(pre.FunctionTransformer)
    transformer(decomposition.PCA, n_components=3)
    transformer(decomposition.PCA, variant="_whiten", n_components=2, whiten=True)
    transformer(decomposition.TruncatedSVD, n_components=2, **SEED)
    transformer(decomposition.KernelPCA, n_components=2, kernel="rbf", gamma=0.1)
    transformer(pre.KernelCenterer, "kernel")
    transformer(random_projection.GaussianRandomProjection, n_components=3, **SEED)
    transformer(discriminant_analysis.LinearDiscriminantAnalysis, "transform_only")
    transformer(neighbors.NeighborhoodComponentsAnalysis, n_components=2, **SEED)
    transformer(ensemble.RandomTreesEmbedding, n_estimators=5, max_depth=3, sparse_output=False, **SEED)
    transformer(impute.SimpleImputer, "missing")
    transformer(impute.SimpleImputer, "missing", variant="_median", strategy="median")
    transformer(impute.SimpleImputer, "words", variant="_constant", strategy="constant",
                fill_value="none", missing_values="")
    transformer(impute.KNNImputer, "missing", n_neighbors=3)
    transformer(CastTransformer)
    transformer(ReplaceTransformer, "missing")
    transformer(pre.OneHotEncoder, "words")
    transformer(pre.OneHotEncoder, "words", variant="_ignore", handle_unknown="ignore", sparse_output=False)
    transformer(pre.OneHotEncoder, "integers")
    transformer(pre.OneHotEncoder, "words", variant="_drop", drop="first")
    transformer(pre.OrdinalEncoder, "words")
    transformer(pre.OrdinalEncoder, "integers")
    transformer(pre.OrdinalEncoder, "words", variant="_unknown", handle_unknown="use_encoded_value", unknown_value=-1)
    transformer(pre.TargetEncoder, "words", target_type="binary", **SEED)
    transformer(pre.LabelEncoder, "labels_words")
    transformer(pre.LabelEncoder, "labels_integers")
    transformer(pre.LabelBinarizer, "labels_integers")
    transformer(pipeline.FeatureUnion, transformer_list=[
        ("scale", StandardScaler()), ("pca", decomposition.PCA(n_components=2))])
    transformer(feature_extraction.DictVectorizer, "dictionaries", sparse=False)
    transformer(feature_extraction.FeatureHasher, "hashed", n_features=16, input_type="string")


def others():
    for cls in (cluster.KMeans, cluster.MiniBatchKMeans):
        add("cluster", lambda cls=cls: cls(n_clusters=3, n_init=3, random_state=0))
    for cls in (mixture.GaussianMixture, mixture.BayesianGaussianMixture):
        for kind in ("full", "diag", "tied", "spherical"):
            add("mixture", lambda cls=cls, kind=kind: cls(n_components=2, covariance_type=kind, random_state=0), f"mixture_{kind}")
    add("outlier", lambda: ensemble.IsolationForest(n_estimators=10, random_state=0))
    add("outlier", lambda: neighbors.LocalOutlierFactor(novelty=True))
    add("outlier", lambda: svm.OneClassSVM(nu=0.2))
    add("outlier", lambda: linear_model.SGDOneClassSVM(random_state=0))
    add("nearest", lambda: neighbors.NearestNeighbors(n_neighbors=3, radius=None))


def texts():
    text = feature_extraction.text
    for cls in (text.CountVectorizer, text.TfidfVectorizer):
        add("text", lambda cls=cls: cls())
        add("text", lambda cls=cls: cls(ngram_range=(1, 2), stop_words=["the", "a"]), "text_ngrams")
        add("text", lambda cls=cls: cls(lowercase=False, binary=True), "text_binary")
        add("text", lambda cls=cls: cls(analyzer="char", ngram_range=(2, 3)), "text_char")
        add("text", lambda cls=cls: cls(token_pattern="[a-z]+"), "text_pattern")
    add("text", lambda: text.TfidfVectorizer(sublinear_tf=True, norm="l1"), "text_sublinear")
    add("text", lambda: text.HashingVectorizer(n_features=32))
    add("counts_only", lambda: text.TfidfTransformer())
    add("text_classifier", lambda: pipeline.make_pipeline(text.TfidfVectorizer(), LogisticRegression()))
    add("text_classifier", lambda: pipeline.make_pipeline(text.CountVectorizer(), naive_bayes.MultinomialNB()),
        "text_classifier_bayes")


def columns():
    def prepared(model):
        numbers = pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), StandardScaler())
        words = preprocessing.OneHotEncoder(handle_unknown="ignore")
        steps = [("numbers", numbers, ["age", "fare"]), ("words", words, ["city", "sex"]),
                 ("rest", "passthrough", ["children"])]
        return pipeline.make_pipeline(compose.ColumnTransformer(steps), model)
    add("columns", lambda: prepared(LogisticRegression()), "columns_logistic")
    add("columns", lambda: prepared(ensemble.RandomForestClassifier(n_estimators=10, random_state=0)), "columns_forest")
    add("columns", lambda: prepared(Ridge()), "columns_ridge")
    numbers = [("scale", StandardScaler(), ["age", "fare"]), ("words", preprocessing.OneHotEncoder(), ["city"])]
    add("columns", lambda: compose.ColumnTransformer(numbers, sparse_threshold=0))


for group in (classifiers, regressors, transformers, others, texts, columns):
    group()
