"""Starting the container image without a container engine: its layers unpacked, and its program in
a mount namespace of its own, chrooted, as another user, without capabilities, on a root that is
read-only. What is missing of a container: namespaces of processes and of the network, cgroups,
seccomp.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tarfile
import time

from places import request

# Compiling the component takes 20 s on an idle machine and longer on a busy one.
START_LIMIT = 300
# What the kernel shows, which every container has.
KERNEL = ("/proc", "/dev")


@dataclasses.dataclass
class Image:
    """An image, unpacked."""

    root: pathlib.Path
    config: dict
    manifest: dict
    digest: str

    @property
    def environment(self):
        return dict(one.split("=", 1) for one in self.config["config"]["Env"])


def blob(layout, digest):
    """The content of an OCI image layout with this digest."""
    algorithm, name = digest.split(":")
    data = (layout / "blobs" / algorithm / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == name, f"{digest} is damaged"
    return data


def unpack(layout, folder):
    """Unpacks the image of a layout into a folder that is not there yet."""
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(layout, entry["digest"]))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for layer in manifest["layers"]:
        path = layout / "blobs" / layer["digest"].replace(":", "/")
        with tarfile.open(path) as tar:
            assert not any(".wh." in member.name for member in tar), "a layer takes files away"
            # Owners and modes are what is to be tested, so nothing of them is changed.
            tar.extractall(folder, numeric_owner=True, filter="fully_trusted")
    return Image(folder, config, manifest, entry["digest"])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Container:
    """A container that runs until the block ends.

    `arguments` are those behind `IMAGE` (None: the image's own), `environment` is added to that of
    the image, `mounts` are folders and files by the path that they have inside, `writable` are paths
    with an empty file system for the image's user.
    """

    def __init__(self, image, arguments=None, environment=None, mounts=None, writable=(), cache=None, port=None):
        self.image = image
        config = image.config["config"]
        self.command = [*config["Entrypoint"], *(config.get("Cmd", []) if arguments is None else arguments)]
        self.environment = image.environment | (environment or {})
        self.mounts = mounts or {}
        self.writable = ["/tmp", *writable]
        self.cache = cache
        self.port = port
        self.log = image.root.with_name(f"{image.root.name}.log")
        self.process = None

    def script(self):
        """What is done in the new mount namespace before the program takes over."""
        root = self.image.root
        lines = ["set -e", f"mount --bind {root} {root}"]
        for inside in self.writable:
            lines.append(f"mount -t tmpfs -o uid=65532,gid=65532,mode=700 tmpfs {root}{inside}")
        for inside, outside in self.mounts.items():
            lines += [f"mount --bind {outside} {root}{inside}", f"mount -o remount,bind,ro {root}{inside}"]
        if self.cache:
            lines.append(f"mount --bind {self.cache} {root}/var/cache/twinfer")
        lines += [f"mount --rbind {inside} {root}{inside}" for inside in KERNEL]
        # The last: places to mount at must be found, not made.
        lines.append(f"mount -o remount,bind,ro {root}")
        user, group = self.image.config["config"]["User"].split(":")
        variables = " ".join(shlex.quote(f"{name}={value}") for name, value in self.environment.items())
        # With the change of the user the kernel takes all capabilities away.
        lines.append(
            f"exec env -i {variables} {shutil.which('chroot')} --userspec={user}:{group} --groups={group} {root} "
            + shlex.join(self.command)
        )
        return "\n".join(lines)

    def prepare(self):
        """Places to mount at, as a container engine makes them."""
        for inside, outside in self.mounts.items():
            place = pathlib.Path(f"{self.image.root}{inside}")
            if pathlib.Path(outside).is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
        if self.cache:
            # Shared by all containers of a run: what one compiled the next one finds.
            user, group = self.image.config["config"]["User"].split(":")
            self.cache.mkdir(exist_ok=True)
            os.chown(self.cache, int(user), int(group))
        for inside in [*self.writable, *KERNEL]:
            pathlib.Path(f"{self.image.root}{inside}").mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        self.prepare()
        # All of it becomes the program, step by step, so that signals reach that.
        steps = ["setpriv", "--no-new-privs", "unshare", "--mount", "sh", "-c", self.script()]
        self.process = subprocess.Popen(
            steps, stdin=subprocess.DEVNULL, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True
        )
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self):
        """Ends it as platforms do; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path, **headers):
        return request(self.url + path, headers=headers)

    def post(self, path, body, **headers):
        return request(self.url + path, body, {n.replace("_", "-"): v for n, v in headers.items()})

    def ready(self, path="/readyz"):
        """Waits until it answers there; gives itself."""
        end = time.monotonic() + START_LIMIT
        while True:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said}"
            try:
                if self.get(path).status == 200:
                    return self
            except OSError:
                pass
            assert time.monotonic() < end, f"no answer from {path} within {START_LIMIT} s: {self.said}"
            time.sleep(0.1)
