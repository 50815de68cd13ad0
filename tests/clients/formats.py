"""`predict` in other forms than JSON: with pyarrow, cbor2, msgpack, and forms of requests."""

import csv
import io
import json

import cbor2
import checks
import msgpack
import pyarrow as pa
import requests

here = checks.options()
RISK = f"{here.url}/v2/models/tumour-risk/predict"
FILE = f"{here.url}/v2/models/file-type/predict"
FACE = f"{here.url}/v2/models/face-detector/predict"
ARROW = "application/vnd.apache.arrow.stream"
RECORDS = [{"mean radius": 20.5, "worst area": 2000.0}, {"mean radius": 11.0, "worst area": None}]
PICTURE = checks.ROOT / "models/face-detector/pictures/group.jpg"


def post(url, content_type, body, accept=None):
    headers = {"content-type": content_type} | ({"accept": accept} if accept else {})
    return requests.post(url, data=body, headers=headers, timeout=60)


WANTED = [requests.post(RISK, json=record, timeout=60).json()["outputs"] for record in RECORDS]


def read_arrow(answer):
    checks.expect((answer.status_code, answer.headers["content-type"]), (200, ARROW))
    return pa.ipc.open_stream(answer.content).read_all()


def write_arrow(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=1)
    return sink.getvalue().to_pybytes()


@checks.check("Arrow in and out, with nulls")
def _():
    found = read_arrow(post(RISK, ARROW, write_arrow(pa.Table.from_pylist(RECORDS))))
    checks.expect(found.num_rows, 2)
    for at, wanted in enumerate(WANTED):
        row = found.slice(at, 1).to_pylist()[0]
        checks.expect(row["label"], wanted["label"])
        checks.expect(row["probabilities.benign"], wanted["probabilities"]["benign"])
    checks.expect(found.schema.metadata[b"model_name"], b"tumour-risk")


@checks.check("Arrow of narrower types")
def _():
    for kind in (pa.float16(), pa.float32(), pa.int64(), pa.uint8(), pa.bool_()):
        table = pa.table({"mean radius": pa.array([1, 0]).cast(kind)})
        checks.expect(read_arrow(post(RISK, ARROW, write_arrow(table))).num_rows, 2)
    for kind in (pa.timestamp("s"), pa.duration("s"), pa.binary()):
        column = pa.array([b"x", b"y"]) if kind == pa.binary() else pa.array([12, 20]).cast(kind)
        answer = post(RISK, ARROW, write_arrow(pa.table({"mean radius": column})))
        checks.expect((answer.status_code, answer.json()["code"]), (400, "wrong_dtype"))


@checks.check("Arrow that is compressed, or of texts, is refused")
def _():
    table = pa.Table.from_pylist([{"mean radius": 1.0}] * 1000)
    answer = post(RISK, ARROW, write_arrow(table, compression="lz4"))
    checks.expect((answer.status_code, answer.json()["code"]), (400, "invalid_request"))
    answer = post(RISK, ARROW, write_arrow(pa.table({"mean radius": ["wide"]})))
    checks.expect((answer.status_code, answer.json()["code"]), (400, "wrong_dtype"))


@checks.check("JSON to Arrow, Arrow to JSON")
def _():
    found = read_arrow(post(RISK, "application/json", json.dumps(RECORDS[0]), ARROW))
    checks.expect(found.to_pylist()[0]["label"], WANTED[0]["label"])
    answer = post(RISK, ARROW, write_arrow(pa.Table.from_pylist(RECORDS)), "application/json").json()
    checks.expect([one["outputs"] for one in answer["predictions"]], WANTED)


@checks.check("CBOR")
def _():
    answer = post(RISK, "application/cbor", cbor2.dumps(RECORDS[0]))
    checks.expect(answer.headers["content-type"], "application/cbor")
    checks.expect(cbor2.loads(answer.content)["outputs"], WANTED[0])
    body = cbor2.dumps({"inputs": {"picture": PICTURE.read_bytes()}})
    found = cbor2.loads(post(FACE, "application/cbor", body).content)
    assert len(found["outputs"]["boxes"]) > 2, found


@checks.check("MessagePack")
def _():
    for name in ("application/msgpack", "application/vnd.msgpack"):
        answer = post(RISK, name, msgpack.packb(RECORDS[1]))
        checks.expect(answer.headers["content-type"], name)
        checks.expect(msgpack.unpackb(answer.content)["outputs"], WANTED[1])
    body = msgpack.packb({"inputs": {"content": b"#!/bin/sh\nset -eu\n"}})
    found = msgpack.unpackb(post(FILE, "application/msgpack", body).content)
    assert found["outputs"]["content_type"]["label"], found


@checks.check("JSON lines, one of them bad")
def _():
    lines = [json.dumps(RECORDS[0]), "{", json.dumps(RECORDS[1])]
    answer = post(RISK, "application/x-ndjson", "\n".join(lines))
    found = [json.loads(line) for line in answer.text.splitlines()]
    checks.expect([one.get("outputs") for one in found], [WANTED[0], None, WANTED[1]])
    checks.expect((found[1]["line"], found[1]["code"]), (2, "invalid_json"))


@checks.check("CSV")
def _():
    text = io.StringIO()
    writer = csv.DictWriter(text, RECORDS[0])
    writer.writeheader()
    writer.writerows(RECORDS)
    answer = post(RISK, "text/csv", text.getvalue())
    found = list(csv.DictReader(io.StringIO(answer.text)))
    checks.expect([row["label"] for row in found], [one["label"] for one in WANTED])
    checks.expect(float(found[1]["probabilities.benign"]), WANTED[1]["probabilities"]["benign"])


@checks.check("a form with one picture, and with two")
def _():
    content = PICTURE.read_bytes()
    one = requests.post(FACE, files={"file": ("a.jpg", content, "image/jpeg")}, timeout=60).json()
    assert len(one["outputs"]["boxes"]) > 2, one
    files = [("file", ("a.jpg", content, "image/jpeg")), ("file", ("b.jpg", b"none", "image/jpeg"))]
    two = requests.post(FACE, files=files, timeout=60).json()["predictions"]
    checks.expect(two[0]["outputs"], one["outputs"])
    checks.expect((two[1]["file"], two[1]["code"]), ("b.jpg", "invalid_picture"))


@checks.check("a form with a parameter")
def _():
    given = {"files": {"f": ("x.sh", b"#!/bin/sh\nset -eu\n")}, "data": {"prediction_mode": "best_guess"}}
    found = requests.post(FILE, timeout=60, **given)
    checks.expect(found.status_code, 200)


@checks.check("what cannot be given")
def _():
    answer = post(RISK, "application/json", json.dumps(RECORDS[0]), "text/html")
    checks.expect((answer.status_code, answer.json()["code"]), (415, "unsupported_media_type"))
    answer = post(RISK, "application/json", json.dumps(RECORDS[0]), "text/html, application/cbor;q=0.5")
    checks.expect((answer.headers["content-type"], answer.headers["vary"]), ("application/cbor", "accept"))


checks.finish()
