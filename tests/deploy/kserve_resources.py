"""The resources of KServe, held against the types that KServe publishes for Python, and the runtime's
container, started as KServe starts it."""

# Environment: tests/clients, which has the package kserve.

import asyncio
import json

import kserve.models
import kubernetes.client.models
import places
from kserve import InferenceRESTClient, RESTConfig, V1alpha1ServingRuntime, V1beta1InferenceService
from pods import Pod, hardened

here = places.options()
RUNTIME = places.load("kserve/runtime.yaml")[0]
SERVICE = places.load("kserve/service.yaml")[0]
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def typed(value, name, place):
    """Holds a value against a type by its name in generated clients: `V1Container`, `list[str]`, …"""
    if name.startswith("list["):
        assert isinstance(value, list), f"{place}: {value!r} is no list"
        for at, part in enumerate(value):
            typed(part, name[5:-1], f"{place}[{at}]")
    elif name.startswith("dict("):
        assert isinstance(value, dict), f"{place}: {value!r} is no object"
        for key, part in value.items():
            typed(part, name[5:-1].split(", ", 1)[1], f"{place}.{key}")
    elif name in PLAIN:
        is_right = isinstance(value, PLAIN[name]) and not (name != "bool" and isinstance(value, bool))
        assert is_right, f"{place}: {value!r} is no {name}"
    else:
        of_kserve = getattr(kserve.models, name, None) or getattr(kserve, name, None)
        kind = of_kserve or getattr(kubernetes.client.models, name, None)
        # Types of Go without fields, such as quantities.
        if kind is None or not kind.openapi_types:
            return
        names = {kind.attribute_map[field]: declared for field, declared in kind.openapi_types.items()}
        for key, part in value.items():
            assert key in names, f"{place}: there is no {key} in {name}; there are {', '.join(names)}"
            typed(part, names[key], f"{place}.{key}")


@places.check("every field is one of KServe's, and of its type")
def _():
    typed(RUNTIME, V1alpha1ServingRuntime.__name__, "runtime")
    typed(SERVICE, V1beta1InferenceService.__name__, "service")
    for change in [{"modelFormats": []}, {"protocolVersions": "v2"}, {"hostIPC": "no"}]:
        wrong = {**RUNTIME, "spec": RUNTIME["spec"] | change}
        places.refused(lambda wrong=wrong: typed(wrong, "V1alpha1ServingRuntime", ""), AssertionError)


@places.check("every field is one of KServe's own resource definitions")
def _():
    for resource, name in ((RUNTIME, "servingruntimes"), (SERVICE, "inferenceservices")):
        definition = places.published(f"serving.kserve.io_{name}.yaml")
        if definition:
            places.custom_resource(resource, definition)
            wrong = {**resource, "spec": resource["spec"] | {"modelFormats": []}}
            places.refused(lambda w=wrong, d=definition: places.custom_resource(w, d), AssertionError)


@places.check("service and runtime fit together, and the pod is hardened")
def _():
    model = SERVICE["spec"]["predictor"]["model"]
    places.expect(model["runtime"], RUNTIME["metadata"]["name"])
    formats = [(one["name"], one["version"]) for one in RUNTIME["spec"]["supportedModelFormats"]]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    hardened(RUNTIME["spec"])
    places.expect(RUNTIME["spec"]["containers"][0]["name"], "kserve-container")


if here.image is None:
    places.left_out("starting the runtime", "there is no image")
    places.finish()


@places.check("the runtime, with models where KServe puts them, answers KServe's own client")
def _():
    # KServe mounts a claim's folder there, read-only.
    spec = json.loads(json.dumps(RUNTIME["spec"]))
    spec["volumes"].append({"name": "models", "persistentVolumeClaim": {"claimName": "models"}})
    spec["containers"][0]["volumeMounts"].append({"name": "models", "mountPath": "/mnt/models"})
    with Pod(here, "kserve", spec, []) as server:
        server.probed()

        async def asked():
            async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=60)) as client:
                ready = await client.is_server_ready(server.url)
                return ready, await client.is_model_ready(server.url, "tumour-risk")

        places.expect(asyncio.run(asked()), (True, True))
        answer = server.post("/v2/models/tumour-risk/predict", places.RECORDS[2]).json()
        places.expect(answer["outputs"]["label"], places.LABELS[2])


places.finish()
