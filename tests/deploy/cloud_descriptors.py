"""SageMaker, Vertex AI and Azure ML: their files, held against their own interfaces, and the image
started as each of them starts it."""

import json
import pathlib
import re
import shutil

import places
from container import Container, free_port, unpack

here = places.options()


def load(path):
    return json.loads((places.DEPLOY / path).read_text())


# SageMaker -------------------------------------------------------------------------------------

SAGEMAKER = {
    "sagemaker/model.json": "CreateModel",
    "sagemaker/endpoint-config.json": "CreateEndpointConfig",
    "sagemaker/endpoint.json": "CreateEndpoint",
}


def sagemaker(parameters, operation):
    """Holds parameters against the operation, as `aws sagemaker` does, and against its patterns and
    lists of values, which only the service checks."""
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model(operation).input_shape
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()
    texts(parameters, shape, operation)


def texts(value, shape, place):
    if shape.type_name == "structure":
        for name, part in value.items():
            texts(part, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for part in value:
            texts(part, shape.member, f"{place}[]")
    elif shape.type_name == "map":
        for name, part in value.items():
            texts(name, shape.key, f"{place}.{name}")
            texts(part, shape.value, f"{place}.{name}")
    elif shape.type_name == "string":
        assert not shape.enum or value in shape.enum, f"{place}: {value} is none of {shape.enum}"
        pattern = shape.metadata.get("pattern")
        assert not pattern or re.fullmatch(pattern, value), f"{place}: {value} does not fit {pattern}"


@places.check("SageMaker: the files are what its operations take, and fit together")
def _():
    for path, operation in SAGEMAKER.items():
        sagemaker(load(path), operation)
    model, settings, endpoint = map(load, SAGEMAKER)
    [variant] = settings["ProductionVariants"]
    places.expect(variant["ModelName"], model["ModelName"])
    places.expect(endpoint["EndpointConfigName"], settings["EndpointConfigName"])
    for change in [{"ModelNames": "a"}, {"ModelName": "a b"}, {"ModelName": 1}]:
        places.refused(lambda c=change: sagemaker(model | c, "CreateModel"), AssertionError)
    wrong = settings | {"ProductionVariants": [variant | {"InstanceType": "ml.none"}]}
    places.refused(lambda: sagemaker(wrong, "CreateEndpointConfig"), AssertionError)


# Vertex AI -------------------------------------------------------------------------------------


def vertex(document, name):
    """Holds a document against a schema of Vertex AI's discovery document (v1). What it does not
    name is wrong, as for the service."""
    import googleapiclient

    folder = pathlib.Path(googleapiclient.__file__).parent
    found = json.loads((folder / "discovery_cache/documents/aiplatform.v1.json").read_text())
    schemas = found["schemas"]

    def converted(schema):
        if "$ref" in schema:
            return {"$ref": f"#/definitions/{schema['$ref']}"}
        if schema.get("type") == "any":
            return {}
        made = {key: schema[key] for key in ("type", "enum") if key in schema}
        if schema.get("format") == "google-duration":
            made["pattern"] = r"^[0-9]+(\.[0-9]{1,9})?s$"
        if "items" in schema:
            made["items"] = converted(schema["items"])
        if schema.get("type") == "object":
            made["properties"] = {key: converted(part) for key, part in schema.get("properties", {}).items()}
            rest = schema.get("additionalProperties")
            made["additionalProperties"] = converted(rest) if rest else False
        return made

    definitions = {key: converted(schema) for key, schema in schemas.items()}
    places.json_schema(document, {"$ref": f"#/definitions/{name}", "definitions": definitions})


@places.check("Vertex AI: the files are what its interface takes")
def _():
    upload = "GoogleCloudAiplatformV1UploadModelRequest"
    model, deploy = load("vertex-ai/model.json"), load("vertex-ai/deploy.json")
    vertex(model, upload)
    vertex(deploy, "GoogleCloudAiplatformV1DeployModelRequest")
    assert deploy["deployedModel"]["model"].endswith(f"/models/{model['modelId']}")
    wrong = json.loads(json.dumps(model))
    wrong["model"]["containerSpec"]["healthPath"] = "/"
    places.refused(lambda: vertex(wrong, upload), AssertionError)
    wrong["model"]["containerSpec"] = model["model"]["containerSpec"] | {"deploymentTimeout": "15 min"}
    places.refused(lambda: vertex(wrong, upload), AssertionError)


# Azure ML --------------------------------------------------------------------------------------

AZURE = places.DEPLOY / "azure-ml"


def azure():
    """What `az ml` reads of the two files; it checks them with its schemas."""
    from azure.ai.ml import load_online_deployment, load_online_endpoint

    return load_online_endpoint(AZURE / "endpoint.yml"), load_online_deployment(AZURE / "deployment.yml")


@places.check("Azure ML: the files are what `az ml` reads, and fit together")
def _():
    from azure.ai.ml import load_online_deployment
    from azure.ai.ml.exceptions import ValidationException
    from marshmallow.exceptions import ValidationError

    endpoint, deployment = azure()
    places.expect(deployment.endpoint_name, endpoint.name)
    routes = deployment.environment.inference_config
    places.expect(routes["scoringRoute"], {"path": "/score", "port": 8080})
    text = (AZURE / "deployment.yml").read_text()
    for right, wrong in [
        ("scoring_route", "score_route"),
        ("instance_count: 1", "instance_count: many"),
        ("liveness_probe", "liveness"),
    ]:
        assert right in text
        path = here.folder / "wrong.yml"
        path.write_text(text.replace(right, wrong))
        places.refused(lambda p=path: load_online_deployment(p), ValidationException, ValidationError)


# The image -------------------------------------------------------------------------------------

if here.image is None:
    places.left_out("starting the image", "there is none")
    places.finish()

IMAGE = unpack(here.image, here.folder / "root-clouds")
INSTANCES = {"instances": places.RECORDS[:2]}


def started(arguments, environment, registry, **listen):
    """The image, as a cloud starts it, on a port that is free here and on this machine only."""
    port = free_port()
    environment = {name: value.replace("PORT", str(port)) for name, value in (environment | listen).items()}
    return Container(
        IMAGE,
        arguments,
        environment,
        {registry: here.registry},
        ["/var/lib/twinfer"],
        here.folder / "cache",
        port,
    )


@places.check("SageMaker: `docker run IMAGE serve`, /ping, /invocations")
def _():
    container = load("sagemaker/model.json")["PrimaryContainer"]
    environment = container["Environment"]
    places.expect(environment["TWINFER_LISTEN"], "0.0.0.0:8080")
    # It puts the files of the prefix there.
    with started(["serve"], environment, "/opt/ml/model", TWINFER_LISTEN="127.0.0.1:PORT") as server:
        server.ready("/ping")
        answer = server.post(
            "/invocations", INSTANCES, **{"X-Amzn-SageMaker-Custom-Attributes": "id=7", "Accept": "application/json"}
        )
        places.expect(answer.json()["predictions"], places.LABELS[:2])
        places.expect(answer.headers["x-amzn-sagemaker-custom-attributes"], "id=7")
        places.expect(server.get("/execution-parameters").json()["BatchStrategy"], "MULTI_RECORD")
        # Within the thirty seconds that it has.
        places.expect(server.stop(), 0)


@places.check("Vertex AI: AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE, no argument")
def _():
    spec = load("vertex-ai/model.json")["model"]["containerSpec"]
    assert "args" not in spec and "command" not in spec
    environment = {one["name"]: one["value"] for one in spec["env"]} | {
        "AIP_HTTP_PORT": "PORT",
        "AIP_HEALTH_ROUTE": spec["healthRoute"],
        "AIP_PREDICT_ROUTE": spec["predictRoute"],
    }
    # Here the registry is mounted; container_image.py starts an image with one inside.
    with started(None, environment, "/registry") as server:
        server.ready(spec["startupProbe"]["httpGet"]["path"]).ready(spec["healthRoute"])
        for path, deployed in ((spec["predictRoute"], None), ("/v1/endpoints/12/deployedModels/34:predict", "34")):
            answer = server.post(path, INSTANCES | {"parameters": {}}).json()
            places.expect([one["label"] for one in answer["predictions"]], places.LABELS[:2])
            places.expect(answer.get("deployedModelId"), deployed)


@places.check("Azure ML: the routes of inference_config, the model where it mounts it")
def _():
    _, deployment = azure()
    environment = dict(deployment.environment_variables)
    registry = environment["TWINFER_REGISTRY"]
    model = deployment.model
    places.expect(registry, f"/var/azureml-app/azureml-models/{model.name}/{model.version}/registry")
    routes = deployment.environment.inference_config
    places.expect({str(route["port"]) for route in routes.values()}, {"8080"})
    with started(None, environment, registry, TWINFER_LISTEN="127.0.0.1:PORT") as server:
        server.ready(routes["livenessRoute"]["path"]).ready(routes["readinessRoute"]["path"])
        columns = sorted(places.RECORDS[0])
        rows = [[record[name] for name in columns] for record in places.RECORDS[:2]]
        body = {"input_data": {"columns": columns, "index": [0, 1], "data": rows}}
        places.expect(server.post(routes["scoringRoute"]["path"], body).json(), places.LABELS[:2])


shutil.rmtree(IMAGE.root)
places.finish()
