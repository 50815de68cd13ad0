"""What the scripts in this folder share: options, files of `deploy/`, schemas.

    import places

    here = places.options()

    @places.check("a manifest is valid")
    def _():
        places.kubernetes(places.load("kubernetes/base/service.yaml")[0])

    places.finish()
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCHEMAS = pathlib.Path(__file__).resolve().parent / "schemas"
# Checks, answers, and their last line are those of the scripts of clients.
sys.path.append(str(ROOT / "tests/clients"))

from checks import Answer, check, expect, finish, request, until  # noqa: E402, F401

GOLDEN = json.loads((ROOT / "models/tumour-risk/golden.json").read_text())["cases"][:3]
RECORDS = [case["input"]["record"] for case in GOLDEN]
LABELS = [case["expect"]["outputs"]["label"] for case in GOLDEN]


@dataclasses.dataclass
class Options:
    """Where things are. `image` is an OCI image layout, or None where none could be made."""

    folder: pathlib.Path
    registry: pathlib.Path
    twinfer: pathlib.Path
    component: pathlib.Path
    image: pathlib.Path | None


def options():
    """Reads the command line that `cargo xtask test --only deploy` gives every script."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--folder", required=True, type=pathlib.Path, help="for what a script writes")
    parser.add_argument("--registry", required=True, type=pathlib.Path, help="a folder with the sample models")
    parser.add_argument("--twinfer", required=True, type=pathlib.Path, help="the command")
    parser.add_argument("--component", required=True, type=pathlib.Path, help="the component")
    parser.add_argument("--image", type=pathlib.Path, help="an OCI image layout of the server")
    return Options(**vars(parser.parse_args()))


def left_out(what, why):
    """Says what is not checked here."""
    print(f"SKIPPED: {what}: {why}", flush=True)


def load(path):
    """The documents of a YAML or JSON file of `deploy/`."""
    import yaml

    return documents((DEPLOY / path).read_text(), yaml)


def documents(text, yaml=None):
    """The documents of a text in YAML."""
    if yaml is None:
        import yaml
    return [one for one in yaml.safe_load_all(text) if one is not None]


def kubernetes(resource):
    """Holds a resource against the schemas of Kubernetes; no field may be there that they lack."""
    import kubernetes_validate

    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


# The newest version that kubernetes-validate has the schemas of.
KUBERNETES = "1.37"


def one(resources, kind):
    """The only resource of a kind."""
    found = [resource for resource in resources if resource["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def refused(work, *exceptions):
    """Requires that something is refused, with one of these exceptions; gives what it said."""
    try:
        work()
    except exceptions as error:
        return str(error)
    raise AssertionError("this was accepted")


def json_schema(document, schema):
    """Holds a document against a JSON schema."""
    import jsonschema

    errors = list(jsonschema.validators.validator_for(schema)(schema).iter_errors(document))
    assert not errors, "; ".join(f"{error.json_path}: {error.message}" for error in errors)


def published(name):
    """A schema that others publish: from the folder that TWINFER_TEST_SCHEMAS names, or None.

    `schemas/README.md` says where they are to be had.
    """
    folder = os.environ.get("TWINFER_TEST_SCHEMAS")
    path = pathlib.Path(folder, name) if folder else None
    if path is None or not path.is_file():
        left_out(name, "TWINFER_TEST_SCHEMAS names no folder with it (tests/deploy/schemas/README.md)")
        return None
    return documents(path.read_text())[0]


def custom_resource(resource, definition):
    """Holds a resource against the schema in a CustomResourceDefinition; unknown fields are wrong."""
    version = resource["apiVersion"].rsplit("/", 1)[1]
    [schema] = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == version]
    schema = closed(schema)
    # Kubernetes has its own for these.
    for name in ("metadata", "apiVersion", "kind"):
        schema["properties"][name] = {}
    json_schema(resource, schema)


def closed(schema):
    """A structural schema of Kubernetes, in which a field that it does not name is wrong."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not is_open:
        made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        made = {"type": ["integer", "string"]}
    return made
