"""The contracts of containers in the clouds, and TorchServe: requests as their clients send them."""

import csv
import io
import json

import checks
import requests

here = checks.options()
GOLDEN = json.loads((checks.ROOT / "models/tumour-risk/golden.json").read_text())["cases"][:3]
RECORDS = [case["input"]["record"] for case in GOLDEN]
LABELS = [case["expect"]["outputs"]["label"] for case in GOLDEN]
LISTS = [list(record.values()) for record in RECORDS]
PICTURE = checks.ROOT / "models/face-detector/pictures/group.jpg"
TARGET = {"X-Amzn-SageMaker-Target-Model": "tumour-risk.tar.gz"}


def post(path, body, content_type="application/json", **headers):
    body = json.dumps(body) if isinstance(body, (dict, list)) else body
    headers = {"content-type": content_type} | {n.replace("_", "-"): v for n, v in headers.items()}
    return requests.post(here.url + path, data=body, headers=headers, timeout=60)


def invoke(body, content_type="application/json", **headers):
    return post("/invocations", body, content_type, **TARGET, **headers)


def get(path):
    return requests.get(here.url + path, timeout=60)


@checks.check("SageMaker: limits of a batch transform")
def _():
    checks.expect(get("/execution-parameters").json()["BatchStrategy"], "MULTI_RECORD")


@checks.check("SageMaker: JSON, and attributes that go back")
def _():
    for body in ({"instances": RECORDS}, LISTS):
        answer = invoke(body, **{"X-Amzn-SageMaker-Custom-Attributes": "id=7"})
        checks.expect(answer.json()["predictions"], LABELS)
        checks.expect(answer.headers["X-Amzn-SageMaker-Custom-Attributes"], "id=7")


@checks.check("SageMaker: CSV in and out")
def _():
    text = io.StringIO()
    csv.writer(text).writerows(LISTS)
    found = invoke(text.getvalue(), "text/csv", accept="text/csv")
    checks.expect([row[0] for row in csv.reader(io.StringIO(found.text))], LABELS)


@checks.check("SageMaker: JSON lines in and out, in their order")
def _():
    body = "\n".join(json.dumps(record) for record in RECORDS)
    found = invoke(body, "application/jsonlines", accept="application/jsonlines")
    checks.expect([json.loads(line)["label"] for line in found.text.splitlines()], LABELS)
    bad = invoke(body + "\n{", "application/jsonlines")
    checks.expect(bad.status_code, 400)
    assert "line 4" in bad.json()["message"], bad.text


@checks.check("SageMaker: an endpoint with several models")
def _():
    found = post("/models/tumour-risk/invoke", {"instances": RECORDS})
    checks.expect(found.json()["predictions"], LABELS)


@checks.check("TorchServe: health, models, descriptions")
def _():
    assert "tumour-risk" in [m["modelName"] for m in get("/models").json()["models"]]
    page = get("/models?limit=1").json()
    checks.expect((len(page["models"]), page["nextPageToken"]), (1, "1"))
    checks.expect(get("/models/tumour-risk").json()[0]["modelName"], "tumour-risk")
    assert get("/api-description").json()["paths"]


@checks.check("TorchServe: predictions")
def _():
    checks.expect(post("/predictions/tumour-risk", RECORDS[0]).json()["label"], LABELS[0])
    checks.expect([one["label"] for one in post("/predictions/tumour-risk", LISTS).json()], LABELS)
    raw = post("/predictions/face-detector", PICTURE.read_bytes(), "application/octet-stream").json()
    form = requests.post(
        f"{here.url}/predictions/face-detector", files={"data": PICTURE.open("rb")}, timeout=60
    ).json()
    checks.expect(form, raw)
    assert len(raw["boxes"]) > 2, raw


@checks.check("TorchServe: errors")
def _():
    answer = post("/predictions/none", {})
    checks.expect((answer.status_code, answer.json()["type"]), (404, "ModelNotFoundException"))


checks.finish()
