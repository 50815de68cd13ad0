"""Requests that schemathesis makes from OpenAPI documents: the protocol's own, and ours, of all protocols.

Nothing here is random: the seed is fixed, and so is the number of requests for each operation.
"""

import atexit
import os
import socket
import subprocess
import tempfile
import zlib

import checks
import hypothesis
import schemathesis
import schemathesis.checks
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

here = checks.options()
MODEL, VERSION = "types", "1.0.0"
EXAMPLES = 40
# Every answer: no 5xx, a status and a type that the document has, and a body of its schema.
ALWAYS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]

schemathesis.checks.load_all_checks()

# Bodies that it does not write by itself.
for kind, known in [
    ("text/plain", ["text/csv"]),
    ("text/plain", [f"application/{name}" for name in ("jsonlines", "x-jsonlines", "jsonl", "x-ndjson")]),
    ("application/octet-stream", ["application/x-image", "image/jpeg", "image/png", "image/webp"]),
    ("application/json", ["application/cloudevents+json", "application/cloudevents-batch+json"]),
]:
    schemathesis.serializer.alias(known, kind)


def named(names):
    return [schemathesis.checks.CHECKS.get_one(name) for name in names]


def run(title, schema, wanted=ALWAYS, only=lambda operation: True, change=None, url=here.url):
    """One check for each operation of a document."""
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if not only(operation):
            continue
        count += 1

        @checks.check(f"{title}: {operation.method.upper()} {operation.path}")
        def _(operation=operation):
            @hypothesis.seed(20261127)
            @hypothesis.settings(
                max_examples=EXAMPLES,
                database=None,
                deadline=None,
                phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def one(case):
                if change:
                    change(case)
                case.call_and_validate(base_url=url, checks=named(wanted))

            one()

    @checks.check(f"{title}: there are operations")
    def _():
        assert count > 0


# The protocol's own document. Its paths have `${NAME}` where OpenAPI has `{NAME}`.
text = (checks.DATA / "open_inference_rest.yaml").read_text().replace("${", "{")
protocol = yaml.safe_load(text)


def of_our_model(case):
    """A model and a version that are there, half of the time: of names that are made up none is."""
    there = {"MODEL_NAME": MODEL, "MODEL_VERSION": VERSION, "model": MODEL, "version": VERSION, "label": "latest"}
    if zlib.crc32(repr((case.path_parameters, case.body)).encode()) % 2 == 0:
        case.path_parameters.update({name: there[name] for name in case.path_parameters or {} if name in there})


# It lists 200 and 400 only and means any error ("typically 400"), so the status is not compared.
run(
    "protocol",
    schemathesis.openapi.from_dict(protocol),
    [name for name in ALWAYS if name != "status_code_conformance"],
    change=of_our_model,
)



def with_default_model(name):
    """A server of the same registry: protocols that name no model mean this one. Its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [here.twinfer, "serve", "--registry", here.registry, "--listen", address, "--default-model", name],
        stdout=log,
        stderr=log,
        env={**os.environ, "AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/healthy"},
    )
    atexit.register(process.wait)
    atexit.register(process.terminate)

    def answers():
        assert process.poll() is None, "the server has ended"
        try:
            return checks.request(f"http://{address}/ping").status == 200
        except OSError:
            return False

    checks.until(answers, 300)
    return f"http://{address}"


ours_url = with_default_model("tumour-risk")
ours = checks.request(f"{ours_url}/openapi.json").json()


@checks.check("our document is OpenAPI 3.1")
def _():
    OpenAPIV31SpecValidator(ours).validate()


# The two models whose inputs are not megabytes.
SMALL = ["tumour-risk", "types"]


def short_of(path):
    """What is of no model, and of the small ones."""
    named = [segment.split(":")[0] for segment in path.split("/")]
    models = {path.split("/")[3] for path in ours["paths"] if path.startswith("/v2/models/") and path.endswith("/infer")}
    return not any(segment in models and segment not in SMALL for segment in named if "{" not in segment)


run(
    "ours",
    schemathesis.openapi.from_dict(ours),
    [*ALWAYS, "unsupported_method"],
    only=lambda operation: short_of(operation.path),
    change=of_our_model,
    url=ours_url,
)


# That which answers must be among what was asked: else the schemas of answers are never looked at.
@checks.check("every protocol answers what its document has as an example of a record")
def _():
    from_document = ours["components"]["schemas"]["Row.tumour-risk"]["anyOf"][0]["properties"]
    record = {name: 1.0 for name in from_document}
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": record}
    for path, body in [
        ("/invocations", {"dataframe_records": [record]}),
        ("/invocations", {"instances": [record]}),
        ("/score", {"data": [record]}),
        ("/score", {"input_data": [record]}),
        ("/predict", {"instances": [record]}),
        ("/v1/endpoints/1/deployedModels/2:predict", {"instances": [list(record.values())]}),
        ("/v1/models/tumour-risk:predict", {"instances": [record]}),
        ("/v1/models/tumour-risk:predict", {"inputs": {name: [value] for name, value in record.items()}}),
        ("/v1/models/tumour-risk:classify", {"examples": [record]}),
        ("/predictions/tumour-risk", record),
        ("/predictions/tumour-risk", {"instances": [record]}),
        ("/models/tumour-risk/invoke", [record]),
        ("/events/tumour-risk", event),
        ("/events", event),
    ]:
        kind = "application/cloudevents+json" if body is event else "application/json"
        document = schemathesis.openapi.from_dict(ours)
        template = path
        for known, variable in [
            ("/v1/endpoints/1/deployedModels/2", "/v1/endpoints/{endpoint}/deployedModels/{deployed}"),
            ("/models/tumour-risk/invoke", "/models/{model}/invoke"),
        ]:
            template = template.replace(known, variable)
        case = document[template]["POST"].Case(
            path_parameters={"endpoint": "1", "deployed": "2", "model": "tumour-risk"}, body=body, media_type=kind
        )
        answer = case.call_and_validate(base_url=ours_url, checks=named(ALWAYS))
        checks.expect((path, answer.status_code), (path, 200))



def is_record(operation):
    return operation.path in ("/v2/models/tumour-risk/predict", "/predict")


# Whatever the document allows is answered, where a schema can say all that the server wants.
run(
    "what ours allows is taken",
    schemathesis.openapi.from_dict(ours),
    ["positive_data_acceptance"],
    only=is_record,
    url=ours_url,
)

checks.finish()
