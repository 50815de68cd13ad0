"""The plain manifests, as `kubectl kustomize` puts them together: valid, hardened, and the settings
in them start the server of the image."""

import hashlib
import pathlib
import subprocess
import sys

import places
from container import free_port
from pods import Pod, hardened, selected

here = places.options()
KUBECTL = pathlib.Path(sys.executable).with_name("kubectl")


def built(folder):
    """What `kubectl apply -k` would apply."""
    command = [KUBECTL, "kustomize", places.DEPLOY / "kubernetes" / folder]
    return places.documents(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


BASE = built("base")
REDIS = built("overlays/redis")


def pod(resources):
    return places.one(resources, "Deployment")["spec"]["template"]["spec"]


@places.check("every resource is valid, and a field that does not exist is not")
def _():
    kinds = {resource["kind"] for resource in BASE}
    for kind in ("ConfigMap", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service"):
        assert kind in kinds, f"there is no {kind}"
    for resource in BASE + REDIS:
        places.kubernetes(resource)
    wrong = places.one(BASE, "Service")
    wrong["spec"]["port"] = 80
    places.refused(lambda: places.kubernetes(wrong), Exception)
    del wrong["spec"]["port"]


@places.check("the restricted pod security standard; selectors select the pods, and no others")
def _():
    for resources in (BASE, REDIS):
        hardened(pod(resources))
        selected(resources)
    places.expect(pod(BASE)["automountServiceAccountToken"], False)


@places.check("another setting is another name, so pods are replaced")
def _():
    names = [places.one(resources, "ConfigMap")["metadata"]["name"] for resources in (BASE, REDIS)]
    assert names[0] != names[1], names
    for resources, name in zip((BASE, REDIS), names, strict=True):
        [settings] = [volume for volume in pod(resources)["volumes"] if volume["name"] == "settings"]
        places.expect(settings["configMap"]["name"], name)


@places.check("a pod ends after its longest request")
def _():
    spec = pod(BASE)
    container = spec["containers"][0]
    # What proxies need to learn of it, and what `timeout` of the settings allows.
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
    assert spec["terminationGracePeriodSeconds"] > waits


if here.image is None:
    places.left_out("starting the pods", "there is no image")
    places.finish()


@places.check("base: probes are answered, and a prediction is right")
def _():
    with Pod(here, "base", pod(BASE), BASE) as server:
        server.probed()
        answer = server.post("/v2/models/tumour-risk/predict", places.RECORDS[1]).json()
        places.expect(answer["outputs"]["label"], places.LABELS[1])
        places.expect(server.stop(), 0)


@places.check("with Redis and keys: who has none is refused; Redis goes and comes, the server goes on")
def _():
    key = "twinfer-test-key"
    access = f'[[keys]]\nid = "test"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\nscopes = ["predict"]\n'
    port = free_port()

    def redis():
        return subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "secret", "--save", ""],
            stdout=subprocess.DEVNULL,
        )

    secrets = {"twinfer-access": {"access.toml": access}, "twinfer-redis": {"password": "secret"}}
    # The address of the manifest is a name of the cluster.
    environment = {"TWINFER_STATE": f"redis://127.0.0.1:{port}"}
    store = redis()
    try:
        with Pod(here, "redis", pod(REDIS), REDIS, secrets, environment) as server:
            server.probed()
            places.expect(server.get("/metrics").status, 401)
            body = places.RECORDS[0]
            places.expect(server.post("/v2/models/tumour-risk/predict", body).status, 401)
            answer = server.post("/v2/models/tumour-risk/predict", body, authorization=f"Bearer {key}")
            places.expect((answer.status, answer.json()["outputs"]["label"]), (200, places.LABELS[0]))

            def connected(wanted):
                return lambda: server.get("/readyz").json()["state"]["connected"] is wanted

            places.until(connected(True))
            store.terminate()
            store.wait()
            places.until(connected(False))
            answer = server.post("/v2/models/tumour-risk/predict", body, authorization=f"Bearer {key}")
            places.expect(answer.status, 200)
            store = redis()
            places.until(connected(True))
    finally:
        store.terminate()
        store.wait()


places.finish()
