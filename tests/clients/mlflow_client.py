"""MLflow's own client and its own scoring server beside ours: the same models, the same requests."""

# Environment: tests/python

import atexit
import datetime
import json
import logging
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import checks
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import numpy
import pandas
import uvicorn
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

here = checks.options()
folder = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, folder, ignore_errors=True)
COLUMNS = ["age", "dose", "visits", "city"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def people():
    """A classifier of two doubles, a long and a string; the doubles may be missing."""
    rng = numpy.random.default_rng(20261127)
    rows = pandas.DataFrame(rng.normal(size=(120, 2)).round(3), columns=COLUMNS[:2])
    rows["visits"] = rng.integers(0, 9, size=120)
    rows["city"] = rng.choice(["Oslo", "Rome", "Bern"], size=120)
    labels = numpy.where(rows["age"] + rows["dose"] + (rows["city"] == "Rome") > 0.3, "ill", "well")
    gaps = rows.copy()
    gaps.loc[:5, "dose"] = numpy.nan
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "dose"]),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("visits", "passthrough", ["visits"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(gaps, labels)
    # The last row has a gap: so both know that the dose may be missing.
    return sklearn(model, gaps.iloc[[10, 11, 12, 0]].reset_index(drop=True))


def dose():
    """A regressor of an array."""
    rng = numpy.random.default_rng(7)
    array = rng.normal(size=(40, 3)).round(3)
    return sklearn(LinearRegression().fit(array, array @ [1.0, 2.0, 3.0]), array[:4])


def optional():
    """A regressor of columns, one of which may be missing; calls of it have parameters."""
    rng = numpy.random.default_rng(11)
    rows = pandas.DataFrame(rng.normal(size=(60, 2)).round(3), columns=["x", "y"])
    rows["n"] = rng.integers(0, 9, size=60)
    gaps = rows.copy()
    gaps.loc[:5, "y"] = numpy.nan
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(gaps, rows["x"] + 2 * rows["y"])
    inputs = Schema([ColSpec("double", "x"), ColSpec("double", "y"), ColSpec("integer", "n")])
    params = ParamSchema(
        [
            ParamSpec("top", "long", 3),
            ParamSpec("rate", "double", 0.5),
            ParamSpec("on", "boolean", True),
            ParamSpec("names", "string", ["a"], shape=(-1,)),
            ParamSpec("since", "datetime", datetime.datetime(2026, 11, 27)),
        ]
    )
    return sklearn(model, rows[:4], ModelSignature(inputs=inputs, params=params))


def risk():
    """Rows of three numbers, and whether they are well."""
    rng = numpy.random.default_rng(13)
    rows = pandas.DataFrame(rng.normal(size=(60, 3)).round(3), columns=["a", "b", "c"])
    return rows, numpy.where(rows.sum(axis=1) > 0, "ill", "well")


def sklearn(model, example, signature=None):
    """Saves a model with the flavor `sklearn`."""

    def save(path):
        mlflow.sklearn.save_model(
            model,
            path,
            signature=signature or infer_signature(example, model.predict(example)),
            input_example=example,
            serialization_format="pickle",
            pip_requirements=["scikit-learn"],
        )

    return save, example


def onnx(model, example, inputs):
    """Saves what skl2onnx makes of a model with the flavor `onnx`, and this schema of its inputs."""

    def save(path):
        made = to_onnx(model, example.to_numpy(dtype=numpy.float32)[:1])
        mlflow.onnx.save_model(
            made,
            path,
            signature=ModelSignature(inputs=inputs),
            input_example=example if inputs and not inputs.is_tensor_spec() else None,
            pip_requirements=["onnx"],
        )

    return save, example


class Pair:
    """A model served by MLflow and by us."""

    def __init__(self, name, made):
        save, self.example = made
        path = folder / name
        save(str(path))
        app = scoring_server.init(mlflow.pyfunc.load_model(str(path)))
        self.theirs = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=self.theirs, log_level="critical"))
        threading.Thread(target=server.run, daemon=True).start()

        registry = folder / f"registry-{name}"
        command = [here.twinfer, "pack", path, "--registry", registry, "--name", name, "--convert"]
        ran = subprocess.run([*command, "--python", sys.executable], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        self.ours = free_port()
        listen = f"127.0.0.1:{self.ours}"
        self.log = (folder / f"{name}.log").open("w")
        command = [here.twinfer, "serve", "--registry", registry, "--listen", listen]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for port in (self.theirs, self.ours):
            self.wait(port)

    def wait(self, port):
        end = time.monotonic() + 300
        while True:
            try:
                if checks.request(f"http://127.0.0.1:{port}/ping").status == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < end, "no answer to /ping within 300 s"
            assert self.process.poll() is None, pathlib.Path(self.log.name).read_text()[-2000:]
            time.sleep(0.2)

    def both(self, path, body=None, content_type="application/json"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        elif isinstance(body, str):
            body = body.encode()
        headers = {"Content-Type": content_type} if body is not None else {}
        answers = [checks.request(f"http://127.0.0.1:{port}{path}", body, headers) for port in (self.theirs, self.ours)]
        return answers

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def same(a, b):
    """Numbers of the converted model are of single precision."""
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-5 * max(1, abs(a))
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


# Malformed in a way that one of us finds before the schema is looked at, and the other by it: both say 400, with
# other names.
FOUND_ELSEWHERE = {
    "columns twice",
    "instances as lists",
    "inputs as lists",
    "inputs of other lengths",
    "inputs as a number",
    "no instances",
    "a chat",
    "array, ragged",
    "array, a number",
    "array, no rows",
}


def agree(pair, name, body, wanted, content_type="application/json"):
    @checks.check(f"mlflow: {name}")
    def _():
        theirs, ours = pair.both("/invocations", body, content_type)
        checks.expect((theirs.status, ours.status), (wanted, wanted))
        if wanted == 200:
            assert same(theirs.json(), ours.json()), f"{ours.body[:300]}, not {theirs.body[:300]}"
        elif wanted == 400:
            found, expected = ours.json(), theirs.json()
            is_same = found["error_code"] == expected["error_code"]
            assert is_same or name in FOUND_ELSEWHERE, f"{ours.body[:300]}, not {theirs.body[:600]}"
            assert found["message"] and found["code"], ours.body


def differ(pair, name, body, theirs_wanted, ours_wanted, content_type="application/json"):
    """Where we are known not to do as MLflow does: docs/protocols/mlflow.md says why."""

    @checks.check(f"mlflow: {name} (ours {ours_wanted}, theirs {theirs_wanted})")
    def _():
        theirs, ours = pair.both("/invocations", body, content_type)
        checks.expect((theirs.status, ours.status), (theirs_wanted, ours_wanted))


def split(columns, rows, **more):
    return {"dataframe_split": {"columns": columns, "data": rows, **more}}


pair = Pair("people", people())
ROWS = json.loads(pair.example.to_json(orient="values"))
RECORDS = json.loads(pair.example.to_json(orient="records"))
ONE = RECORDS[0]


def changed(**values):
    return {"dataframe_records": [{**ONE, **values}]}


def without(*names):
    return {"dataframe_records": [{k: v for k, v in ONE.items() if k not in names}]}


@checks.check("mlflow: ping, health, version")
def _():
    for path in ("/ping", "/health", "/version"):
        theirs, ours = pair.both(path)
        checks.expect((theirs.status, ours.status), (200, 200))
    checks.expect(ours.body, theirs.body)


@checks.check("mlflow: ScoringServerClient with a data frame")
def _():
    frames = []
    for port in (pair.theirs, pair.ours):
        client = ScoringServerClient("127.0.0.1", port)
        client.ping()
        client.wait_server_ready(timeout=10)
        checks.expect(client.get_version(), mlflow.__version__)
        frames.append(client.invoke(pair.example).get_predictions())
    pandas.testing.assert_frame_equal(*frames)


@checks.check("mlflow: ScoringServerClient says what was wrong")
def _():
    try:
        ScoringServerClient("127.0.0.1", pair.ours).invoke(pair.example[["age"]])
    except Exception as error:
        assert "error code 400" in str(error) and "INVALID_PARAMETER_VALUE" in str(error), error
        assert "Model is missing inputs" in str(error), error
    else:
        raise AssertionError("no error was raised")


CSV = pair.example.to_csv(index=False)
for name, body in [
    ("split", split(COLUMNS, ROWS)),
    ("split, other order", split(COLUMNS[::-1], [row[::-1] for row in ROWS])),
    ("split, index", split(COLUMNS, ROWS, index=["a", "b", "c", "d"])),
    ("split, a column more", split([*COLUMNS, "more"], [[*row, "x"] for row in ROWS])),
    ("records", {"dataframe_records": RECORDS}),
    ("instances", {"instances": RECORDS}),
    ("inputs, columns", {"inputs": {name: [r[name] for r in RECORDS] for name in COLUMNS}}),
    ("inputs, one row", {"inputs": ONE}),
    ("inputs, rows", {"inputs": RECORDS}),
    ("params that nobody declared", {**split(COLUMNS, ROWS), "params": {"a": 1}}),
    ("params that are no object", {**split(COLUMNS, ROWS), "params": [1]}),
    ("a field more", {**split(COLUMNS, ROWS), "more": 1}),
    ("int to double", changed(age=1)),
    ("truth value to double", changed(age=True)),
    ("whole float to long", changed(visits=2.0)),
    ("null for a double", changed(dose=None)),
    ("NaN for a double", json.dumps(changed(dose=float("nan")))),
    ("an unknown city", changed(city="Paris")),
]:
    agree(pair, name, body, 200)

for name, body in [
    ("no column", without("age")),
    ("no text column", without("city")),
    ("text for double", changed(age="old")),
    ("text for long", changed(visits="often")),
    ("null for long", changed(visits=None)),
    ("list for double", changed(age=[1])),
    ("infinity", json.dumps(changed(age=float("inf")))),
    ("no columns", {"dataframe_split": {"data": ROWS}}),
    ("rows of another length", split(COLUMNS, [[1, 2]])),
    ("index of another length", split(COLUMNS, ROWS, index=[1])),
    ("split, a field more", split(COLUMNS, ROWS, more=1)),
    ("split without data", {"dataframe_split": {"columns": COLUMNS}}),
    ("split as a list", {"dataframe_split": ROWS}),
    ("split as null", {"dataframe_split": None}),
    ("columns twice", split(["age", *COLUMNS], [[1, *row] for row in ROWS])),
    ("records as an object", {"dataframe_records": ONE}),
    ("instances as lists", {"instances": ROWS}),
    ("instances with a hole", {"instances": [ONE, {"age": 1}]}),
    ("inputs as lists", {"inputs": ROWS}),
    ("inputs of other lengths", {"inputs": {"age": [1, 2], "dose": [1], "visits": [1], "city": ["Oslo"]}}),
    ("inputs as a text", {"inputs": "a"}),
    ("inputs as a number", {"inputs": 1}),
    ("no rows", split(COLUMNS, [])),
    ("no instances", {"instances": []}),
    ("two forms", {"instances": RECORDS, "inputs": RECORDS}),
    ("no form", {"params": {}}),
    ("a chat", {"messages": [{"role": "user", "content": "hi"}]}),
    ("a text", '"x"'),
    ("no JSON", "{"),
    ("nothing", ""),
    ("no UTF-8", b"\xff\xfe"),
]:
    agree(pair, name, body, 400)


@checks.check("mlflow: a plain list, which SageMaker has, is taken beside MLflow's forms")
def _():
    theirs, ours = pair.both("/invocations", RECORDS, "application/json")
    checks.expect((theirs.status, ours.status), (400, 200))
    _, wrapped = pair.both("/invocations", {"instances": RECORDS}, "application/json")
    checks.expect((wrapped.status, ours.json()), (200, wrapped.json()))


for name, body, wanted in [
    ("CSV", CSV, 200),
    ("CSV, quotes and line ends", CSV.replace("\n", "\r\n").replace("Oslo", '"Oslo"'), 200),
    ("CSV with an index", pair.example.to_csv(), 200),
    ("CSV with a hole", "age,dose,visits,city\n1,,3,Rome\n", 200),
    ("CSV with NA", "age,dose,visits,city\n1,NA,3,Rome\n", 200),
    ("CSV, empty lines", "age,dose,visits,city\n\n1,2,3,Rome\n\n", 200),
    ("CSV, byte order mark", "\ufeffage,dose,visits,city\n+1,2e0,3,Rome\n", 200),
    ("CSV, no column", "dose,visits,city\n1,2,Rome\n", 400),
    ("CSV, text for double", "age,dose,visits,city\nold,2,3,Rome\n", 400),
    ("CSV, float for long", "age,dose,visits,city\n1,2,3.5,Rome\n", 400),
    ("CSV, one cell too many", "age,dose,visits,city\n1,2,3,Rome\n1,2,3,Rome,5\n", 400),
    ("CSV, names alone", "age,dose,visits,city\n", 400),
    ("CSV, nothing", "", 400),
    ("CSV, no UTF-8", b"age\n\xff\n", 400),
]:
    agree(pair, name, body, wanted, "text/csv")

for content_type, wanted in [
    ("application/json; charset=utf-8", 200),
    ("application/json; charset=UTF-8", 200),
    ("application/json; charset=latin-1", 415),
    ("application/json; format=pandas-split", 415),
    ("text/plain", 415),
]:
    agree(pair, content_type, split(COLUMNS, ROWS), wanted, content_type)

# What its server casts before it enforces the schema.
agree(pair, "number as text", changed(age="1"), 200)
agree(pair, "float for long", changed(visits=1.5), 200)
agree(pair, "negative float for long", changed(visits=-1.5), 200)
agree(pair, "text for long", changed(visits="3"), 200)
agree(pair, "number for text", changed(city=4), 200)
agree(pair, "truth value for long", changed(visits=True), 200)
agree(pair, "float as text for long", changed(visits="1.5"), 400)
# Optional by the schema; scikit-learn wants the column all the same, though its values may be missing.
differ(pair, "no column that the model fills", without("dose"), 400, 200)
# Case and quotes mean nothing in a content type (RFC 9110).
differ(pair, "content type in upper case", split(COLUMNS, ROWS), 415, 200, "Application/JSON")
differ(pair, "charset in quotes", split(COLUMNS, ROWS), 415, 200, 'application/json; charset="utf-8"')
pair.close()

pair = Pair("dose", dose())
ARRAY = pair.example.tolist()


@checks.check("mlflow: ScoringServerClient with an array")
def _():
    theirs, ours = (
        ScoringServerClient("127.0.0.1", port).invoke(pair.example).get_predictions(predictions_format="ndarray")
        for port in (pair.theirs, pair.ours)
    )
    numpy.testing.assert_allclose(theirs, ours, rtol=1e-5)


for name, body, wanted in [
    ("array, inputs", {"inputs": ARRAY}, 200),
    ("array, instances", {"instances": ARRAY}, 200),
    ("array, whole numbers", {"inputs": [[1, 2, 3]]}, 200),
    ("array, split", split(["a", "b", "c"], ARRAY), 200),
    ("array, split without columns", {"dataframe_split": {"data": ARRAY}}, 200),
    ("array, records", {"dataframe_records": [dict(zip("abc", row)) for row in ARRAY]}, 200),
    ("array, another shape", {"inputs": [[1, 2]]}, 400),
    ("array, another rank", {"inputs": [1, 2, 3]}, 400),
    ("array, ragged", {"inputs": [[1, 2, 3], [1]]}, 400),
    ("array, text", {"inputs": [["a", 2, 3]]}, 400),
    ("array, split, other columns", split(["a", "b"], [[1, 2]]), 400),
    ("array, a number", {"inputs": 1}, 400),
    ("array, no rows", {"instances": []}, 400),
]:
    agree(pair, name, body, wanted)
pair.close()

pair = Pair("optional", optional())
ROWS = json.loads(pair.example.to_json(orient="records"))


def with_params(params):
    return {"dataframe_records": ROWS, "params": params}


for name, params, wanted in [
    ("none", None, 200),
    ("no entries", {}, 200),
    ("all", {"top": 1, "rate": 0.25, "on": False, "names": ["x", "y"], "since": "2026-01-02"}, 200),
    ("an integer for a double", {"rate": 2}, 200),
    ("an unknown one", {"more": {"a": [1]}}, 200),
    ("null", {"top": None}, 200),
    ("an empty list", {"names": []}, 200),
    ("a list", [1], 400),
    ("a text for a long", {"top": "1"}, 400),
    ("a float for a long", {"top": 1.0}, 400),
    ("a truth value for a long", {"top": True}, 400),
    ("a text for a double", {"rate": "0.5"}, 400),
    ("a number for a truth value", {"on": 1}, 400),
    ("a list for a long", {"top": [1]}, 400),
    ("a value for a list", {"names": "x"}, 400),
    ("a list in a list", {"names": [["x"]]}, 400),
    ("another element", {"names": ["x", 1]}, 400),
    ("no time", {"since": "soon"}, 400),
    ("two that are wrong", {"top": "x", "rate": "y"}, 400),
]:
    agree(pair, f"params, {name}", with_params(params), wanted)

for name, row, wanted in [
    ("all columns", {"x": 1, "y": 2, "n": 3}, 200),
    ("text for integer", {"x": 1, "y": 2, "n": "3"}, 200),
    ("float for integer", {"x": 1, "y": 2, "n": 3.75}, 200),
    ("null for double", {"x": 1, "y": None, "n": 3}, 200),
    ("null for integer", {"x": 1, "y": 2, "n": None}, 400),
    ("no integer", {"x": 1, "y": 2}, 400),
]:
    for form in ("dataframe_records", "instances"):
        agree(pair, f"{form}, {name}", {form: [row]}, wanted)
pair.close()

rows, labels = risk()
columns = Schema([ColSpec("double", name) for name in rows])
pair = Pair("onnx-columns", onnx(LogisticRegression().fit(rows.to_numpy(), labels), rows[:4], columns))
ROWS = json.loads(pair.example.to_json(orient="values"))
RECORDS = json.loads(pair.example.to_json(orient="records"))
for name, body, wanted in [
    ("split", split(list("abc"), ROWS), 200),
    ("records", {"dataframe_records": RECORDS}, 200),
    ("instances", {"instances": RECORDS}, 200),
    ("inputs", {"inputs": {name: [r[name] for r in RECORDS] for name in "abc"}}, 200),
    ("params", {"dataframe_records": RECORDS, "params": {"a": 1}}, 200),
    ("no column", {"dataframe_records": [{"a": 1, "b": 2}]}, 400),
    ("text", {"dataframe_records": [{"a": 1, "b": 2, "c": "x"}]}, 400),
]:
    agree(pair, f"flavor onnx, columns: {name}", body, wanted)
agree(pair, "flavor onnx, columns: CSV", pair.example.to_csv(index=False), 200, "text/csv")
pair.close()

target = rows.to_numpy() @ [1.0, 2.0, 3.0]
tensor = Schema([TensorSpec(numpy.dtype("float32"), (-1, 3))])
pair = Pair("onnx-tensor", onnx(LinearRegression().fit(rows.to_numpy(), target), rows[:4], tensor))
for name, body, wanted in [
    ("inputs", {"inputs": ROWS}, 200),
    ("instances", {"instances": ROWS}, 200),
    ("texts", {"inputs": [["1", "2", "3"]]}, 200),
    ("split", split(list("abc"), ROWS), 200),
    ("another shape", {"inputs": [[1, 2]]}, 400),
    ("another rank", {"inputs": [1, 2, 3]}, 400),
    ("other columns", split(["a", "b"], [[1, 2]]), 400),
    ("text", {"inputs": [["a", 2, 3]]}, 400),
]:
    agree(pair, f"flavor onnx, tensor: {name}", body, wanted)
pair.close()
checks.finish()
