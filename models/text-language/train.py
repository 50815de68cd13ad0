"""Trains and exports `text-language`, and makes metrics.json and golden.json.

Run: python models/text-language/train.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import recipes  # noqa: E402

PACKAGES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy")
TOLERANCE = {"relative": 1e-5, "absolute": 2e-6}
REASON = (
    "outputs are scikit-learn's, in double precision; the exported model has weights and sums in single precision: "
    "{worst:.1e} at the most in these cases (onnxruntime against scikit-learn)"
)
# Of every five sentences the last is kept back.
KEPT_BACK = 5


def sentences():
    texts = json.loads((FOLDER / "sentences.json").read_text(encoding="utf-8"))
    rows = [(text, language, at % KEPT_BACK == KEPT_BACK - 1) for language, all in texts.items() for at, text in enumerate(all)]
    return ([(text, language) for text, language, kept in rows if kept == wanted] for wanted in (False, True))


def make():
    """The trained pipeline and the exported model, as users export it."""
    train, _ = sentences()
    # The pattern is given, so that scikit-learn and the exported model split alike: what skl2onnx
    # makes of the default one leaves out letters with accents.
    vectorizer = TfidfVectorizer(token_pattern="[a-zA-Z0-9_]+")
    pipeline = make_pipeline(vectorizer, LogisticRegression(C=30.0, max_iter=1000, random_state=0))
    pipeline.fit(*map(list, zip(*train)))
    # The default locale has to be installed where onnxruntime runs; lower case of ASCII is the same in all.
    options = {TfidfVectorizer: {"locale": "C"}}
    model = to_onnx(pipeline, initial_types=[("text", StringTensorType([None, 1]))], options=options, name="text-language")
    # skl2onnx lists the operator sets in the order of a Python set of strings, which changes from run to run.
    operator_sets = sorted(model.opset_import, key=lambda entry: entry.domain)
    del model.opset_import[:]
    model.opset_import.extend(operator_sets)
    return pipeline, model.SerializeToString(deterministic=True)


def run(onnx: bytes, texts: list[str]):
    """Labels and maps of probabilities, by onnxruntime."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(["output_label", "output_probability"], {"text": np.array(texts, dtype=object)[:, None]})


def metrics(pipeline, onnx: bytes) -> dict:
    _, test = sentences()
    texts, languages = map(list, zip(*test))
    labels, _ = run(onnx, texts)
    return {
        "sentences_sha256": recipes.sha256((FOLDER / "sentences.json").read_bytes()),
        "sentences": {"train": sum(1 for _ in next(sentences())), "test": len(test)},
        "test": {"accuracy": round(float((pipeline.predict(texts) == languages).mean()), 4)},
        "labels_equal_after_export": int((labels == pipeline.predict(texts)).sum()),
    }


TEXTS = {
    "english": "The cat is sitting on the table and it does not want to go.",
    "german": "Ich weiß nicht, ob der Zug heute noch fährt.",
    "french": "Où est la gare, s'il vous plaît ?",
    "spanish": "¿Dónde está la estación de tren?",
    "italian": "Non so se il treno parte ancora oggi.",
    "upper-case": "THIS IS NOT A TEST OF THE WEATHER",
    "line-ends-and-tabs": "Das\tist\r\nnicht\n\ndas Ende.",
    "words-that-it-does-not-know": "漢字 😀 Ωμέγα",
    "nothing": "",
    "long": "and the " * 500,
}


def golden(pipeline=None, onnx=None) -> dict:
    """Answers of scikit-learn (`outputs`) and raw tensors of onnxruntime (`tensors`)."""
    if pipeline is None:
        pipeline, _ = make()
        onnx = (FOLDER / "model.onnx").read_bytes()
    cases, worst = [], 0.0
    for name, text in TEXTS.items():
        probabilities = pipeline.predict_proba([text])[0]
        label = str(pipeline.predict([text])[0])
        labels, mapped = run(onnx, [text])
        named = {str(key): float(value) for key, value in zip(pipeline.classes_, probabilities)}
        if labels[0] != label:
            raise SystemExit(f"{name}: scikit-learn says {label}, the exported model {labels[0]}: choose another text")
        worst = max(worst, recipes.largest(named, {key: float(value) for key, value in mapped[0].items()}))
        expect = {"outputs": {"language": label, "probabilities": named},
                  "tensors": [recipes.tensor("output_label", labels), recipes.maps("output_probability", mapped)]}
        cases.append({"name": name, "input": {"text": text}, "expect": expect})
    several = list(TEXTS.values())[:5]
    labels, mapped = run(onnx, several)
    cases.append({"name": "several", "input": {"text": several},
                  "expect": {"tensors": [recipes.tensor("output_label", labels), recipes.maps("output_probability", mapped)]}})
    for case in cases:
        case["tolerance"] = TOLERANCE
        case["reason"] = REASON.format(worst=worst)
    return {"reference": recipes.versions(*PACKAGES), "cases": cases}


def check(recipe: dict, model: bytes) -> list[str]:
    """For models/check.py: trained again, it is the same model."""
    pipeline, made = make()
    found = recipes.differences(json.loads((FOLDER / "metrics.json").read_text()), metrics(pipeline, made), {"relative": 0.0, "absolute": 1e-3})
    if made != model:
        print("  text-language: model.onnx has other bytes when trained here; its answers are compared")
        texts = list(TEXTS.values())
        for old, new in zip(run(model, texts)[1], run(made, texts)[1], strict=True):
            if any(abs(old[key] - new[key]) > 1e-3 for key in old):
                found.append("model.onnx is not what train.py makes")
    return found


if __name__ == "__main__":
    pipeline, onnx = make()
    (FOLDER / "model.onnx").write_bytes(onnx)
    recipes.write_json(FOLDER / "metrics.json", metrics(pipeline, onnx))
    recipes.write_json(FOLDER / "golden.json", golden(pipeline, onnx))
    print(f"text-language: model.onnx {len(onnx)} bytes, sha256 {recipes.sha256(onnx)}; {metrics(pipeline, onnx)['test']}")
