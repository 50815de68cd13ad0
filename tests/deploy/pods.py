"""What must hold for every pod, and starting a pod's container as its manifest says."""

import pathlib
import shutil

import places
from container import Container, free_port, unpack

USER = 65532


def hardened(spec):
    """Requires of a pod's specification what the restricted standard of Kubernetes does, and a root
    that is read-only (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>)."""
    pod = spec.get("securityContext", {})
    for container in spec["containers"]:
        own = pod | container.get("securityContext", {})
        places.expect(own.get("runAsNonRoot"), True)
        places.expect((own.get("runAsUser"), own.get("runAsGroup")), (USER, USER))
        places.expect(own.get("seccompProfile"), {"type": "RuntimeDefault"})
        places.expect(own.get("allowPrivilegeEscalation"), False)
        places.expect(own.get("readOnlyRootFilesystem"), True)
        places.expect(own.get("capabilities"), {"drop": ["ALL"]})
        assert "privileged" not in own and "hostPort" not in str(container), container
        assert "limits" in container["resources"] and "requests" in container["resources"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["path"], probe
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def selected(resources):
    """Requires that what selects pods selects those of the deployment, and nothing selects all."""
    deployment = places.one(resources, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], places.one(resources, "Service")["spec"]["selector"]]
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        selectors += [one["spec"][field]["matchLabels"] for one in resources if one["kind"] == kind]
    for selector in selectors:
        assert selector and selector.items() <= labels.items(), f"{selector} does not select {labels}"
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert places.one(resources, "Service")["spec"]["ports"][0]["targetPort"] in ports
    for scaler in (one for one in resources if one["kind"] == "HorizontalPodAutoscaler"):
        places.expect(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])
        assert "replicas" not in deployment["spec"], "the number of the autoscaler is set back by each apply"


class Pod(Container):
    """The container of a pod, with what its volumes and variables say.

    `resources` has the ConfigMaps, `secrets` their content by name and key; a claim is the registry.
    """

    def __init__(self, here, name, spec, resources, secrets=None, environment=None):
        folder = here.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        [container] = spec["containers"]
        assert "command" not in container, "the image's own command is to run"
        self.probes = {
            name: container[name]["httpGet"] for name in container if name.endswith("Probe")
        }
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts, writable = {}, []
        for mount in container["volumeMounts"]:
            volume, path = volumes[mount["name"]], mount["mountPath"]
            if "emptyDir" in volume:
                writable.append(path)
            elif "persistentVolumeClaim" in volume:
                mounts[path] = here.registry
            else:
                assert mount.get("readOnly") is True, mount
                mounts[path] = written(folder / mount["name"], content(volume, resources, secrets or {}))
        variables = {}
        for one in container.get("env", []):
            key = one.get("valueFrom", {}).get("secretKeyRef")
            variables[one["name"]] = secrets[key["name"]][key["key"]] if key else one["value"]
        port = free_port()
        # A port that is free here, on this machine alone. A variable counts more than the file.
        variables |= {"TWINFER_LISTEN": f"127.0.0.1:{port}"} | (environment or {})
        cache = here.folder / "cache"
        writable.remove("/var/cache/twinfer")
        writable.remove("/tmp")
        image = unpack(here.image, folder / "root")
        super().__init__(image, container["args"], variables, mounts, writable, cache, port)

    def __exit__(self, *why):
        super().__exit__(*why)
        # A pod has an image of its own, and each is large.
        shutil.rmtree(self.image.root)

    def probed(self):
        """Waits until it is ready, and requires that every probe is answered."""
        self.ready(self.probes["startupProbe"]["path"])
        for name, probe in self.probes.items():
            places.expect((name, self.get(probe["path"]).status), (name, 200))


def content(volume, resources, secrets):
    """The files of a volume that is a ConfigMap or a Secret."""
    if "secret" in volume:
        return secrets[volume["secret"]["secretName"]]
    name = volume["configMap"]["name"]
    [data] = [one["data"] for one in resources if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name]
    return data


def written(folder: pathlib.Path, files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
