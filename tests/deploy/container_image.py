"""The container image: what is in it, and the server in it, started as platforms start containers.

That the same files give the same digest is checked before this script runs: the image is made twice.
"""

import json
import pathlib
import shutil
import stat
import subprocess

import places
from container import Container, blob, free_port, unpack

here = places.options()


@places.check("Compose starts what the image is, without rights")
def _():
    [compose] = places.load("container/compose.yaml")
    server = compose["services"]["twinfer"]
    places.expect((server["read_only"], server["cap_drop"]), (True, ["ALL"]))
    places.expect(server["healthcheck"]["test"], ["CMD", "/usr/bin/twinfer", "health"])
    places.expect(sorted(mount.split(":")[1] for mount in server["volumes"]), ["/registry", "/var/cache/twinfer"])


if here.image is None:
    places.left_out("the container image", "there is none")
    places.finish()

PULLED = here.folder / "pulled"
CACHE = here.folder / "cache"


def skopeo(*arguments):
    """Runs skopeo; gives what it prints."""
    command = ["skopeo", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@places.check("skopeo pushes it to a registry, and pulls the same image")
def _():
    port = free_port()
    settings = here.folder / "docker-registry.yml"
    store = here.folder / "docker-registry"
    shutil.rmtree(store, ignore_errors=True)
    settings.write_text(
        f'{{"version": 0.1, "storage": {{"filesystem": {{"rootdirectory": "{store}"}}}}, '
        f'"http": {{"addr": "127.0.0.1:{port}"}}}}'
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        def listens():
            try:
                return places.request(f"http://127.0.0.1:{port}/v2/").status == 200
            except OSError:
                return False

        places.until(listens)
        name = f"docker://127.0.0.1:{port}/twinfer:0.1.0"
        shutil.rmtree(PULLED, ignore_errors=True)
        skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{here.image}:test", name)
        skopeo("copy", "-q", "--src-tls-verify=false", name, f"oci:{PULLED}:test")
        digest = json.loads(skopeo("inspect", "--tls-verify=false", name))["Digest"]
    finally:
        server.terminate()
        server.wait()
    [made] = json.loads((here.image / "index.json").read_text())["manifests"]
    places.expect(digest, made["digest"])


image = unpack(PULLED if PULLED.exists() else here.image, here.folder / "root")
config = image.config["config"]


@places.check("its settings: not root, the server with and without `serve`, labels, volumes")
def _():
    places.expect(config["User"], "65532:65532")
    places.expect((config["Entrypoint"], config["Cmd"]), (["/usr/bin/twinfer"], ["serve"]))
    places.expect([port.removesuffix("/tcp") for port in config["ExposedPorts"]], ["8080"])
    places.expect(sorted(config["Volumes"]), ["/var/cache/twinfer", "/var/lib/twinfer"])
    labels = {n.removeprefix("org.opencontainers.image."): v for n, v in config["Labels"].items()}
    places.expect(sorted(labels), ["description", "licenses", "revision", "title", "version"])
    places.expect(image.config["os"], "linux")


@places.check("the archive for Docker is the same, with a health check")
def _():
    said = json.loads(skopeo("inspect", "--config", "--raw", f"docker-archive:{here.folder / 'twinfer.tar'}"))
    health = said["config"].pop("Healthcheck")
    places.expect(health["Test"], ["CMD", "/usr/bin/twinfer", "health"])
    for name in ("User", "Entrypoint", "Cmd", "Env", "Volumes", "Labels"):
        places.expect(said["config"][name], config[name])
    places.expect(said["rootfs"]["diff_ids"], image.config["rootfs"]["diff_ids"])


@places.check("nothing in it but the command, the component and what they need")
def _():
    files = sorted(
        str(path.relative_to(image.root)) for path in image.root.rglob("*") if path.is_file() or path.is_symlink()
    )
    rest = [
        one
        for one in files
        if not one.startswith(("usr/share/doc/", "lib/", "lib64/", "usr/lib/x86_64", "usr/lib/aarch64"))
    ]
    places.expect(
        rest,
        [
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/bin/twinfer",
            "usr/lib/twinfer/twinfer_worker.wasm",
        ],
    )
    libraries = [one for one in files if one.startswith(("lib/", "lib64/", "usr/lib/x86_64", "usr/lib/aarch64"))]
    assert 2 <= len(libraries) <= 6, libraries
    assert not any("sh" == pathlib.Path(one).name or "busybox" in one for one in files), "there is a shell"


@places.check("no file is the user's own, or gives rights to who runs it")
def _():
    for path in image.root.rglob("*"):
        found = path.lstat()
        name = "/" + str(path.relative_to(image.root))
        owned = name in ("/var/cache/twinfer", "/var/lib/twinfer")
        places.expect((name, found.st_uid, found.st_gid), (name, *((65532, 65532) if owned else (0, 0))))
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), f"{name} runs as somebody else"
        assert name == "/tmp" or not found.st_mode & stat.S_IWOTH, f"everybody may write to {name}"


@places.check("read-only root, as its user: ready, right predictions, one process without rights, a clean end")
def _():
    port = free_port()
    with Container(
        image,
        environment={"TWINFER_LISTEN": f"127.0.0.1:{port}"},
        mounts={"/registry": here.registry},
        writable=["/var/lib/twinfer"],
        cache=CACHE,
        port=port,
    ) as server:
        server.ready()
        answer = server.post("/v2/models/tumour-risk/predict", places.RECORDS[0]).json()
        places.expect(answer["outputs"]["label"], places.LABELS[0])
        status = dict(
            line.split(":\t", 1)
            for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        places.expect(status["Uid"].split(), ["65532"] * 4)
        places.expect(status["Gid"].split(), ["65532"] * 4)
        places.expect((int(status["CapEff"], 16), int(status["CapPrm"], 16)), (0, 0))
        places.expect(status["NoNewPrivs"], "1")
        # The state is where the image says it is, and not in memory.
        state = server.get("/readyz").json()["state"]
        places.expect(state["kind"], "sqlite")
        health = subprocess.run(
            [here.twinfer, "health", f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False
        )
        places.expect(health.returncode, 0)
        places.expect(server.stop(), 0)


@places.check("what the image cannot do it says: no registry, no place to write to")
def _():
    with Container(image, ["serve", "--registry", "/nowhere"], writable=["/var/lib/twinfer"], cache=CACHE) as server:
        assert server.process.wait(timeout=60) != 0
        assert "/nowhere" in server.said, server.said
    # Nothing may be written at all: compiled each time, state in memory, and it says so.
    port = free_port()
    with Container(
        image, environment={"TWINFER_LISTEN": f"127.0.0.1:{port}"}, mounts={"/registry": here.registry}, port=port
    ) as server:
        code = server.process.wait(timeout=60)
        assert code != 0 and "/var/cache" in server.said, server.said


@places.check("the Containerfile puts models in, on the same image")
def _():
    storage = ["--storage-driver", "vfs", "--root", here.folder / "storage", "--runroot", here.folder / "run"]
    context = here.folder / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    shutil.copytree(here.registry, context / "registry")
    with_models = here.folder / "with-models"
    shutil.rmtree(with_models, ignore_errors=True)

    def buildah(*arguments):
        subprocess.run(["buildah", *storage, *arguments], check=True, capture_output=True, text=True)

    place = f"[vfs@{here.folder / 'storage'}+{here.folder / 'run'}]localhost/twinfer:test"
    skopeo("copy", "-q", f"oci:{here.image}:test", f"containers-storage:{place}")
    buildah(
        *["build", "-q", "--isolation", "chroot", "-t", "twinfer-models"],
        *["--build-arg", "IMAGE=localhost/twinfer:test", "-f", places.DEPLOY / "container/Containerfile", context],
    )
    buildah("push", "-q", "localhost/twinfer-models", f"oci:{with_models}:test")
    buildah("rmi", "--all", "--force")
    [entry] = json.loads((with_models / "index.json").read_text())["manifests"]
    layers = [layer["digest"] for layer in json.loads(blob(with_models, entry["digest"]))["layers"]]
    places.expect(layers[:-1], [layer["digest"] for layer in image.manifest["layers"]])
    places.expect(len(layers), 2)
    made = unpack(with_models, here.folder / "root-with-models")
    port = free_port()
    with Container(
        made,
        environment={"TWINFER_LISTEN": f"127.0.0.1:{port}"},
        writable=["/var/lib/twinfer"],
        cache=CACHE,
        port=port,
    ) as server:
        names = [model["name"] for model in server.ready().get("/v2/models").json()["models"]]
        assert "tumour-risk" in names, names


for left in ("root", "root-with-models", "storage", "pulled", "with-models"):
    shutil.rmtree(here.folder / left, ignore_errors=True)
places.finish()
