"""Events with the SDK of CloudEvents, in every mode, as Knative delivers them."""

import json

import checks
import requests
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http, from_json

here = checks.options()
RECORD = {"mean radius": 20.5, "worst area": 2000.0}
BATCH = "application/cloudevents-batch+json"


def event(data, kind="application/json"):
    # This version of the SDK does not encode headers: the subject is what needs none.
    attributes = {"type": "org.example.measured", "source": "/clinic/7", "subject": "patient-3"}
    return CloudEvent({**attributes, "datacontenttype": kind}, data)


def send(headers, body, path="/events/tumour-risk"):
    return requests.post(here.url + path, headers=headers, data=body, timeout=60)


def read(answer):
    assert answer.status_code == 200, answer.text
    return from_http(answer.headers, answer.content)


def predicted():
    url = f"{here.url}/v2/models/tumour-risk/predict"
    return requests.post(url, json=RECORD, timeout=60).json()["outputs"]




for name, write in (("structured", to_structured), ("binary", to_binary)):

    @checks.check(name)
    def _(write=write):
        sent = event(RECORD)
        found = read(send(*write(sent)))
        checks.expect(found["specversion"], "1.0")
        checks.expect(found["type"], "dev.twinfer.prediction")
        checks.expect(found["subject"], "patient-3")
        checks.expect((found["causationid"], found["correlationid"]), (sent["id"], sent["id"]))
        checks.expect(found.data["outputs"], predicted())

    @checks.check(f"{name}: bytes")
    def _(write=write):
        sent = event(b"#!/bin/sh\nset -eu\n", "application/octet-stream")
        found = read(send(*write(sent), "/events/file-type"))
        assert found.data["outputs"]["content_type"]["label"], found.data


@checks.check("an event that is delivered twice has the same answer")
def _():
    message, other = to_structured(event(RECORD)), to_structured(event(RECORD))
    checks.expect(read(send(*message))["id"], read(send(*message))["id"])
    assert read(send(*message))["id"] != read(send(*other))["id"]


@checks.check("a batch, with an event that fails")
def _():
    sent = [event(RECORD), event({"no column": 1})]
    body = b"[" + b",".join(to_structured(one)[1] for one in sent) + b"]"
    answer = send({"content-type": BATCH}, body)
    checks.expect((answer.status_code, answer.headers["content-type"]), (200, BATCH))
    found = [from_json(json.dumps(one)) for one in answer.json()]
    checks.expect([one["type"] for one in found], ["dev.twinfer.prediction", "dev.twinfer.error"])
    checks.expect(found[1].data["code"], "invalid_record")
    checks.expect(found[1]["causationid"], sent[1]["id"])


@checks.check("headers that are percent-encoded")
def _():
    headers, body = to_binary(event(RECORD))
    answer = send(headers | {"ce-subject": "J%C3%BCrgen%20%22J%22"}, body)
    checks.expect(answer.headers["ce-subject"], "J%C3%BCrgen%20%22J%22")


@checks.check("an attribute that is missing")
def _():
    headers, body = to_binary(event(RECORD))
    del headers["ce-source"]
    answer = send(headers, body)
    checks.expect((answer.status_code, answer.json()["code"]), (400, "invalid_request"))


checks.finish()
