"""The Helm chart, rendered by Helm's own engine: values are checked, what comes out is valid and
hardened, and the settings in it start the server of the image."""

import hashlib

import helm_python as helm
import places
from pods import Pod, hardened, selected

here = places.options()
CHART = places.DEPLOY / "helm/twinfer"

# Values that users would give, by what they want.
VALUES = {
    "as it is": {},
    "a registry on the network": {
        "settings": {"registry": "oci://registry.example/models", "model": ["face-detector:stable", "file-type"]},
        "models": {"create": False},
        "image": {"digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "everything": {
        "settings": {"state": "redis://redis:6379", "default-model": "tumour-risk", "poll": 0.5},
        "redis": {"passwordSecret": "twinfer-redis"},
        "access": {"existingSecret": "twinfer-access"},
        "trust": {"existingSecret": "twinfer-trust"},
        "tls": {"existingSecret": "twinfer-tls"},
        "models": {"existingClaim": "models"},
        "ingress": {"enabled": True, "host": "models.example", "className": "nginx", "tlsSecret": "models-tls"},
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
        "networkPolicy": {"extraEgress": [{"ports": [{"port": 6379, "protocol": "TCP"}]}]},
        "extraEnv": [{"name": "OTEL_SERVICE_NAME", "value": "models"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "models", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "podAnnotations": {"note": "1"},
        "podLabels": {"team": "models"},
    },
    "small": {
        "autoscaling": {"enabled": False},
        "replicas": 1,
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "preStopSeconds": 0,
        "fullnameOverride": "models",
    },
}


def rendered(values, name="demo"):
    """What `helm install NAME` would apply."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name=name, namespace="models", is_install=True)
    text = "\n---\n".join(text for file, text in sorted(files.items()) if not file.endswith(".txt"))
    return places.documents(text)


def pod(resources):
    return places.one(resources, "Deployment")["spec"]["template"]["spec"]


for what, values in VALUES.items():

    @places.check(f"{what}: valid, hardened, selectors select")
    def _(values=values):
        resources = rendered(values)
        for resource in resources:
            places.kubernetes(resource)
        hardened(pod(resources))
        selected(resources)


@places.check("what is wanted is there, and what is not is not")
def _():
    def kinds(what):
        return sorted({resource["kind"] for resource in rendered(VALUES[what])})

    plain = [
        *["ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PersistentVolumeClaim"],
        *["PodDisruptionBudget", "Service", "ServiceAccount"],
    ]
    places.expect(kinds("as it is"), plain)
    places.expect(kinds("a registry on the network"), [kind for kind in plain if kind != "PersistentVolumeClaim"])
    places.expect(
        kinds("everything"), sorted({*plain, "Ingress"} - {"PersistentVolumeClaim"})
    )
    places.expect(
        kinds("small"), ["ConfigMap", "Deployment", "PersistentVolumeClaim", "Service", "ServiceAccount"]
    )


@places.check("helm lint has nothing to say but that there is no icon")
def _():
    found = helm.lint(CHART, strict=True)
    places.expect(found["errors"], [])
    said = [message["error"] for message in found["messages"] if message["error"] != "icon is recommended"]
    places.expect(said, [])


@places.check("values that do not exist, or do not fit, are refused with their place")
def _():
    for wrong, place in [
        ({"imgae": {"tag": "1"}}, "imgae"),
        ({"settings": {"listen": "0.0.0.0:80"}}, "settings"),
        ({"settings": {"state": {"redis": "a"}}}, "settings/state"),
        ({"replicas": -1}, "replicas"),
        ({"ingress": {"enabled": True}}, "ingress/host"),
        ({"image": {"digest": "latest"}}, "image/digest"),
    ]:
        said = places.refused(lambda wrong=wrong: rendered(wrong), helm.HelmValuesError)
        assert place in said, f"{place} is not in {said}"


@places.check("another setting replaces the pods, and another release has other names")
def _():
    def annotation(values):
        template = places.one(rendered(values), "Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    assert annotation({}) != annotation({"settings": {"memory": 256}})
    names = [{one["metadata"]["name"] for one in rendered({}, name)} for name in ("one", "two")]
    assert not names[0] & names[1], names


if here.image is None:
    places.left_out("starting the pods", "there is no image")
    places.finish()


@places.check("as it is: probes are answered, and a prediction is right")
def _():
    resources = rendered({})
    with Pod(here, "helm", pod(resources), resources) as server:
        server.probed()
        answer = server.post("/v2/models/tumour-risk/predict", places.RECORDS[1]).json()
        places.expect(answer["outputs"]["label"], places.LABELS[1])


@places.check("every form of a setting is understood by the server")
def _():
    key = "twinfer-test-key"
    access = f'[[keys]]\nid = "test"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\nscopes = ["predict"]\n'
    values = {
        "settings": {
            "model": ["tumour-risk:1.0.0", "file-type"],
            "default-model": "tumour-risk",
            "poll": 0.5,
            "no-page": True,
            "state": "memory",
            "cors": ["https://app.example"],
        },
        "access": {"existingSecret": "twinfer-access"},
    }
    resources = rendered(values)
    secrets = {"twinfer-access": {"access.toml": access}}
    with Pod(here, "helm-all", pod(resources), resources, secrets) as server:
        server.probed()
        places.expect(server.post("/invocations", {"instances": places.RECORDS[:1]}).status, 401)
        answer = server.post("/invocations", {"instances": places.RECORDS[:1]}, authorization=f"Bearer {key}")
        places.expect(answer.json()["predictions"], places.LABELS[:1])
        names = [m["name"] for m in server.get("/v2/models", authorization=f"Bearer {key}").json()["models"]]
        places.expect(sorted(names), ["file-type", "tumour-risk"])


places.finish()
