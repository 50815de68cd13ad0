"""The reference of `file-type`: makes labels.json and golden.json.

Magika's own rules (rules.py), with onnxruntime as the engine. Every one of the 141 reference
examples that Magika publishes with the model must come out as published, or nothing is written.

Run: python models/file-type/reference.py
"""

import base64
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]
import recipes  # noqa: E402
import rules  # noqa: E402

# As in the repository google/magika at the commit that twinfer.toml states.
FILES = {
    "model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "config.min.json": "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
    "content_types_kb.min.json": "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
    "inference_examples_by_content.json.gz": "3eda361e3d7290457bc859c02d491a5d94fcda3df75f1c53147adda57c0f756f",
}
PACKAGES = ("onnxruntime", "numpy")
# Labels of the answer that are not classes of the model.
OTHER_LABELS = ("unknown", "empty", "undefined")
TOLERANCE = {"relative": 1e-5, "absolute": 2.5e-5}
REASON = (
    "the model makes much of roundings: onnxruntime and numpy, both in single precision, differ by up to 2.3e-5 in a "
    "probability, and from double precision by up to 4.7e-3 (measured by spread.py; onnxruntime here is up to {worst:.1e} "
    "off the scores that Magika published)"
)


class Magika(rules.Rules):
    def __init__(self, folder: Path):
        for name, expected in FILES.items():
            found = recipes.sha256((folder / name).read_bytes())
            if found != expected:
                raise SystemExit(f"{name} has sha256 {found}, expected {expected}")
        super().__init__(folder)
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def labels(self) -> list[dict]:
        """The classes of the model in its order, then the other labels; with what is text."""
        names = [*self.config["target_labels_space"], *OTHER_LABELS]
        return [{"name": name, "text": self.types[name]["is_text"]} for name in names]

    def scores(self, content: bytes) -> np.ndarray | None:
        """The model's output [1, 214], or None where there is too little to ask it."""
        tokens = self.tokens(content)
        if tokens is None:
            return None
        return self.session.run(["target_label"], {"bytes": np.array([tokens], dtype=np.int32)})[0]

    def answer(self, content: bytes, mode: str) -> dict:
        scores = self.scores(content)
        if scores is None:
            return {"label": self.short(content), "score": 1.0, "model_label": "undefined", "overwrite_reason": "none"}
        best = int(scores[0].argmax())
        score = float(scores[0, best])
        model_label = self.config["target_labels_space"][best]
        label, reason = self.decide(model_label, score, mode)
        return {"label": label, "score": score, "model_label": model_label, "overwrite_reason": reason}


def published() -> list[tuple[str, bytes, dict]]:
    """Mode, content and answer of Magika's own 141 examples."""
    examples = json.loads(gzip.decompress((FOLDER / "inference_examples_by_content.json.gz").read_bytes()))
    result = []
    for example in examples:
        prediction = example["prediction"]
        expected = {"label": prediction["output"], "score": prediction["score"],
                    "model_label": prediction["dl"], "overwrite_reason": prediction["overwrite_reason"]}
        result.append((example["prediction_mode"], base64.b64decode(example["content_base64"]), expected))
    return result


def own_examples() -> dict[str, bytes]:
    """What the published examples leave out: white space, both ends, invalid text, real formats."""
    lines = b"".join(b"line %d of a text that is longer than two blocks\n" % i for i in range(300))
    return {
        "only-white-space": b" \t\r\n" * 64,
        "short-after-stripping": b"\n\t" * 50 + b"seven77",
        "trailing-white-space-counts": b"two" + b"\n" * 5,
        "short-not-utf8": b"\xff\xfe\xfd",
        "short-after-stripping-not-utf8": b"\n" * 50 + b"\xc3\x28",
        "white-space-around": b"\n\x0b\x0c  " * 40 + b"#!/bin/sh\nset -eu\necho \"$1\"\nexit 0\n" + b"\t \r\n" * 300,
        "white-space-longer-than-a-block": b" " * 5000 + b"{\"key\": [1, 2, 3], \"other\": null}",
        "not-stripped-by-python": b"\xc2\xa0\x1c\x1d\x1e\x1f\x85" + b"plain words after odd separators",
        "longer-than-two-blocks": lines,
        "python": b"import sys\n\n\ndef main() -> int:\n    print('hello', *sys.argv[1:])\n    return 0\n\n\nif __name__ == '__main__':\n    sys.exit(main())\n",
        "png": base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="),
        "csv": b"name,mass,radius\n" + b"".join(b"body%d,%d.5,%d\n" % (i, i * 3, i * i) for i in range(40)),
    }


def golden() -> dict:
    magika = Magika(FOLDER)
    cases, worst = [], 0.0
    for number, (mode, content, expected) in enumerate(published(), 1):
        got = magika.answer(content, mode)
        worst = max(worst, recipes.largest(expected, got))
        if found := recipes.differences(expected, got, TOLERANCE):
            raise SystemExit(f"published example {number} ({mode}): {found}")
        # The raw scores once for each content; the three modes share them.
        scores = magika.scores(content) if mode == "high_confidence" else None
        cases.append(_case(f"magika-{number:03}-{mode}", content, mode, expected, scores))
    for name, content in own_examples().items():
        mode = "high_confidence"
        cases.append(_case(name, content, mode, magika.answer(content, mode), magika.scores(content)))
    for case in cases:
        case["tolerance"] = TOLERANCE
        case["reason"] = REASON.format(worst=worst)
    return {"reference": f"Magika's published examples of standard_v3_3; {recipes.versions(*PACKAGES)}", "cases": cases}


def _case(name: str, content: bytes, mode: str, answer: dict, scores: np.ndarray | None) -> dict:
    expect = {"outputs": {"content_type": answer}}
    if scores is not None:
        expect["tensors"] = [recipes.tensor("target_label", scores)]
    given = {"bytes": {"base64": base64.b64encode(content).decode()}}
    return {"name": name, "input": given, "parameters": {"prediction_mode": mode}, "expect": expect}


if __name__ == "__main__":
    recipes.write_json(FOLDER / "labels.json", {"content_types": Magika(FOLDER).labels()})
    result = golden()
    recipes.write_json(FOLDER / "golden.json", result)
    print(f"file-type: {len(result['cases'])} cases; {result['cases'][0]['reason']}")
