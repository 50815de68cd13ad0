"""Requests that schemathesis makes from OpenAPI documents: the protocol's own, and ours.

Nothing here is random: the seed is fixed, and so is the number of requests for each operation.
"""

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


def named(names):
    return [schemathesis.checks.CHECKS.get_one(name) for name in names]


def run(title, schema, wanted=ALWAYS, only=lambda operation: True, change=None):
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
                case.call_and_validate(base_url=here.url, checks=named(wanted))

            one()

    @checks.check(f"{title}: there are operations")
    def _():
        assert count > 0


# The protocol's own document. Its paths have `${NAME}` where OpenAPI has `{NAME}`.
text = (checks.DATA / "open_inference_rest.yaml").read_text().replace("${", "{")
protocol = yaml.safe_load(text)


def of_our_model(case):
    """A model and a version that are there, half of the time: of names that are made up none is."""
    there = {"MODEL_NAME": MODEL, "MODEL_VERSION": VERSION, "model": MODEL, "version": VERSION}
    if zlib.crc32(repr((case.path_parameters, case.body)).encode()) % 2 == 0:
        case.path_parameters.update({name: there[name] for name in case.path_parameters or {}})


# It lists 200 and 400 only and means any error ("typically 400"), so the status is not compared.
run(
    "protocol",
    schemathesis.openapi.from_dict(protocol),
    [name for name in ALWAYS if name != "status_code_conformance"],
    change=of_our_model,
)

ours = checks.request(f"{here.url}/openapi.json").json()


@checks.check("our document is OpenAPI 3.1")
def _():
    OpenAPIV31SpecValidator(ours).validate()


def short_of(path):
    """The two models whose inputs are not megabytes, and what is of no model."""
    return "/models/" not in path or "{model}" in path or "/tumour-risk/" in path or "/types/" in path


run(
    "ours",
    schemathesis.openapi.from_dict(ours),
    [*ALWAYS, "unsupported_method"],
    only=lambda operation: short_of(operation.path),
    change=of_our_model,
)


def is_record(operation):
    return operation.path.startswith("/v2/models/tumour-risk") and operation.path.endswith("/predict")


# Whatever the document allows is answered, where a schema can say all that the server wants.
run("what ours allows is taken", schemathesis.openapi.from_dict(ours), ["positive_data_acceptance"], only=is_record)

checks.finish()
