"""TensorFlow Serving's documented REST shapes, with requests as its examples make them.

No TensorFlow Serving can be had where these tests run: what its documentation says
(tensorflow/serving, g3doc/api_rest.md) is written out here.
"""

import json
import math

import checks

here = checks.options()
MODELS = f"{here.url}/v1/models"


def post(path, body):
    # As `curl -d` sends it, which the documentation does: with the type of a form.
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return checks.request(f"{MODELS}/{path}", data.encode(), headers)


def good(path, body):
    answer = post(path, body)
    assert answer.status == 200, answer.body
    checks.expect(answer.headers["content-type"], "application/json")
    return answer.json()


def record():
    golden = json.loads((checks.ROOT / "models/tumour-risk/golden.json").read_text())
    case = next(case for case in golden["cases"] if "label" in case["expect"].get("outputs", {}))
    return case["input"]["record"], case["expect"]["outputs"]["label"]


RECORD, LABEL = record()
TYPES = {"i": [1, -2, 0], "b": [True, False], "d": [0.5]}


@checks.check("tensorflow: status of a model, of a version")
def _():
    available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("types", "types/versions/1", "types/versions/1.0.0"):
        answer = checks.request(f"{MODELS}/{path}")
        checks.expect(answer.status, 200)
        checks.expect(answer.json(), {"model_version_status": [{"version": "1", **available}]})


@checks.check("tensorflow: metadata")
def _():
    answer = checks.request(f"{MODELS}/types/metadata").json()
    checks.expect(answer["model_spec"], {"name": "types", "signature_name": "", "version": "1"})
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    checks.expect(signature["method_name"], "tensorflow/serving/predict")
    checks.expect(
        signature["inputs"]["i"],
        {
            "dtype": "DT_INT64",
            "tensor_shape": {"dim": [{"size": "3", "name": ""}], "unknown_rank": False},
            "name": "i:0",
        },
    )
    checks.expect(signature["outputs"]["d2"]["dtype"], "DT_DOUBLE")


@checks.check("tensorflow: predict in rows")
def _():
    answer = good("tumour-risk:predict", {"instances": [RECORD, RECORD]})
    checks.expect([row["label"] for row in answer["predictions"]], [LABEL, LABEL])
    by_version = good("tumour-risk/versions/1:predict", {"instances": [RECORD, RECORD]})
    checks.expect(by_version, answer)


@checks.check("tensorflow: predict in columns")
def _():
    answer = good("types:predict", {"inputs": TYPES, "signature_name": "serving_default"})
    checks.expect(answer["outputs"]["i2"], [2, -4, 0])
    checks.expect(answer["outputs"]["nb"], [False, True])
    columns = {name: [value, value] for name, value in RECORD.items()}
    answer = good("tumour-risk:predict", {"inputs": columns})
    checks.expect(answer["outputs"]["label"], [LABEL, LABEL])


@checks.check("tensorflow: one output has no name")
def _():
    content = {"b64": "IyEvYmluL3NoCnNldCAtZXUKZm9yIGYgaW4gKjsgZG8gZWNobyAiJGYiOyBkb25lCg=="}
    row = good("file-type:predict", {"instances": [content]})["predictions"]
    checks.expect(row[0]["label"], "shell")
    for inputs in ([content], {"content": [content]}, content):
        checks.expect(good("file-type:predict", {"inputs": inputs})["outputs"], row)
    checks.expect(good("file-type:predict", {"instances": [{"content": content}]})["predictions"], row)


@checks.check("tensorflow: NaN and infinity, bare, there and back")
def _():
    answer = post("types:predict", '{"inputs": {"i": [0, 0, 0], "b": [true, true], "d": [NaN]}}')
    checks.expect(answer.status, 200)
    assert b"NaN" in answer.body and b'"NaN"' not in answer.body, answer.body
    assert math.isnan(answer.json()["outputs"]["d2"][0])
    answer = post("types:predict", '{"inputs": {"i": [0, 0, 0], "b": [true, true], "d": [-Infinity]}}')
    checks.expect(answer.json()["outputs"]["d2"], [math.inf])


@checks.check("tensorflow: classify")
def _():
    some = {name: RECORD[name] for name in list(RECORD)[:2]}
    rest = {name: [value] for name, value in RECORD.items() if name not in some}
    answer = good("tumour-risk:classify", {"context": rest, "examples": [some]})
    best = max(answer["results"][0], key=lambda pair: pair[1])
    checks.expect(best[0], LABEL)


@checks.check("tensorflow: errors have a text, and the status of their kind")
def _():
    for path, body, status in [
        ("nobody:predict", {"instances": [1]}, 404),
        ("types/versions/9:predict", {"inputs": TYPES}, 404),
        ("types/labels/none:predict", {"inputs": TYPES}, 404),
        ("types:explain", {"inputs": TYPES}, 404),
        ("types:predict", "{", 400),
        ("types:predict", "[]", 400),
        ("types:predict", {}, 400),
        ("types:predict", {"instances": [], "inputs": TYPES}, 400),
        ("types:predict", {"inputs": {**TYPES, "i": ["a"]}}, 400),
        ("types:predict", {"inputs": TYPES, "signature_name": "other"}, 400),
        ("types:regress", {"examples": [{"i": 1}]}, 400),
        ("tumour-risk:classify", {"examples": [RECORD], "context": RECORD}, 400),
    ]:
        answer = post(path, body)
        checks.expect((path, answer.status), (path, status))
        assert answer.json()["error"] and answer.json()["code"], answer.body
    checks.expect(checks.request(f"{MODELS}/nobody").status, 404)


@checks.check("kserve 1: the list of models")
def _():
    assert "types" in checks.request(MODELS).json()["models"]


checks.finish()
