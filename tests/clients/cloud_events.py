"""Events with the SDK of CloudEvents, in every mode, as Knative delivers them."""

import json

import checks
import requests
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

here = checks.options()
RECORD = {"mean radius": 20.5, "worst area": 2000.0}
BATCH = "application/cloudevents-batch+json"


def event(data, kind="application/json"):
    return CloudEvent(
        {
            "type": "org.example.measured",
            "source": "/clinic/7",
            "subject": 'Jürgen "J"',
            "datacontenttype": kind,
        },
        data,
    )


def send(message, path="/events/tumour-risk"):
    return requests.post(here.url + path, headers=message.headers, data=message.body, timeout=60)


def read(answer):
    checks.expect(answer.status_code, 200)
    return from_http_event(HTTPMessage(headers=dict(answer.headers), body=answer.content))


def predicted():
    url = f"{here.url}/v2/models/tumour-risk/predict"
    return requests.post(url, json=RECORD, timeout=60).json()["outputs"]


for name, write in (("structured", to_structured_event), ("binary", to_binary_event)):

    @checks.check(name)
    def _():
        sent = event(RECORD)
        found = read(send(write(sent)))
        checks.expect(found.get_type(), "dev.twinfer.prediction")
        checks.expect(found.get_subject(), sent.get_subject())
        checks.expect(found.get_extension("causationid"), sent.get_id())
        checks.expect(found.get_extension("correlationid"), sent.get_id())
        checks.expect(found.get_data()["outputs"], predicted())

    @checks.check(f"{name}: bytes")
    def _():
        sent = event(b"#!/bin/sh\nset -eu\n", "application/octet-stream")
        found = read(send(write(sent), "/events/file-type"))
        assert found.get_data()["outputs"]["content_type"]["label"], found.get_data()


@checks.check("an event that is delivered twice has the same answer")
def _():
    message = to_structured_event(event(RECORD))
    checks.expect(read(send(message)).get_id(), read(send(message)).get_id())
    assert read(send(message)).get_id() != read(send(to_structured_event(event(RECORD)))).get_id()


@checks.check("a batch, with an event that fails")
def _():
    sent = [event(RECORD), event({"no column": 1})]
    body = b"[" + b",".join(to_structured_event(one).body for one in sent) + b"]"
    answer = send(HTTPMessage(headers={"content-type": BATCH}, body=body))
    checks.expect((answer.status_code, answer.headers["content-type"]), (200, BATCH))
    found = [JSONFormat().read(None, json.dumps(one)) for one in answer.json()]
    checks.expect([one.get_type() for one in found], ["dev.twinfer.prediction", "dev.twinfer.error"])
    checks.expect(found[1].get_data()["code"], "invalid_record")
    checks.expect(found[1].get_extension("causationid"), sent[1].get_id())


@checks.check("an attribute that is missing")
def _():
    message = to_binary_event(event(RECORD))
    del message.headers["ce-source"]
    answer = send(message)
    checks.expect((answer.status_code, answer.json()["code"]), (400, "invalid_request"))


checks.finish()
