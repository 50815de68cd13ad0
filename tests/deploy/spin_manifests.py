"""What Spin and SpinKube read: `spin.toml` of both components, and the SpinApp.

Spin itself does not install here. The schemas in `schemas/` have what our files use; those that Spin
and SpinKube publish are used as well where there is a folder with them.
"""

import json
import tomllib

import places

here = places.options()
MANIFESTS = ["worker/spin.toml", "worker/spin-remote.toml"]
APP, SCALER = places.load("spinkube/spinapp.yaml")


def own(name):
    return json.loads((places.SCHEMAS / name).read_text())


def manifest(path):
    return tomllib.loads((places.ROOT / path).read_text())


@places.check("spin.toml is what Spin 4.1 reads")
def _():
    schemas = [own("spin-manifest.json")]
    if published := places.published("spin-manifest-v2.json"):
        schemas.append(published)
    for path in MANIFESTS:
        for schema in schemas:
            places.json_schema(manifest(path), schema)
            wrong = manifest(path)
            wrong["component"]["twinfer"]["file"] = []
            places.refused(lambda w=wrong, s=schema: places.json_schema(w, s), AssertionError)


@places.check("what spin.toml names is there, and is what Cargo builds")
def _():
    for path, package in zip(MANIFESTS, ["twinfer-worker", "twinfer-worker-key-value"], strict=True):
        [trigger] = manifest(path)["trigger"]["http"]
        component = manifest(path)["component"][trigger["component"]]
        # All protocols, not only those below /v2.
        places.expect(trigger["route"], "/...")
        assert f"-p {package} " in component["build"]["command"]
        made = component["source"].removeprefix("../target/wasm32-wasip2/wasm-dev/").removesuffix(".wasm")
        places.expect(made, package.replace("-", "_"))


@places.check("the component calls only who it may")
def _():
    places.expect(manifest(MANIFESTS[0])["component"]["twinfer"]["allowed_outbound_hosts"], [])
    remote = manifest(MANIFESTS[1])["component"]["twinfer"]
    [host] = remote["allowed_outbound_hosts"]
    assert remote["environment"]["TWINFER_REGISTRY"].startswith(host + "/")


@places.check("the SpinApp is what the operator takes, and its store is the component's")
def _():
    places.json_schema(APP, own("spinapp.json"))
    wrong = {**APP, "spec": {**APP["spec"], "replicas": 2, "image": 1}}
    places.refused(lambda: places.json_schema(wrong, own("spinapp.json")), AssertionError)
    if definition := places.published("core.spinkube.dev_spinapps.yaml"):
        places.custom_resource(APP, definition)
        wrong = {**APP, "spec": {**APP["spec"], "runtime": {}}}
        places.refused(lambda: places.custom_resource(wrong, definition), AssertionError)
    stores = [store["name"] for store in APP["spec"]["runtimeConfig"]["keyValueStores"]]
    places.expect(stores, manifest(MANIFESTS[1])["component"]["twinfer"]["key_value_stores"])
    # The operator wants the number to be its own or the autoscaler's.
    assert APP["spec"]["enableAutoscaling"] and "replicas" not in APP["spec"]
    places.kubernetes(SCALER)
    places.expect(SCALER["spec"]["scaleTargetRef"]["name"], APP["metadata"]["name"])


places.finish()
