"""A server for both: a registry folder as a static host, and the endpoints of huggingface_hub.

`/registry/<path>` is the folder. `/api/models/<id>/revision/<name>`, `/api/models/<id>/tree/<commit>` and `/<id>/resolve/<commit>/<file>`
are what `snapshot_download` asks for, with the same layers under their names.
"""

import hashlib
import http.server
import json
import mimetypes
import threading
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0" * 39 + "1"
REPOSITORY = "bench/package"


class Server(http.server.ThreadingHTTPServer):
    """Serves `registry`, and the layers of its one package as files."""

    daemon_threads = True

    def __init__(self, registry: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry = registry
        self.files = layers(registry)
        self.requests = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def layers(registry: Path) -> dict:
    """The files of the package by name, with their digests."""
    index = json.loads((registry / "index.json").read_text())
    blob = lambda digest: registry / "blobs/sha256" / digest.split(":")[1]
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    title = "org.opencontainers.image.title"
    return {layer["annotations"][title]: (blob(layer["digest"]), layer["digest"].split(":")[1]) for layer in manifest["layers"]}


def entry(name: str, file: tuple) -> dict:
    """A file as the hub lists it: one in large-file storage."""
    path, digest = file
    size = path.stat().st_size
    return {"type": "file", "path": name, "size": size, "oid": digest[:40], "lfs": {"oid": digest, "size": size, "pointerSize": 134}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(self.path.split("?")[0])
        self.server.requests.append((self.command, path))
        if path.startswith("/registry/"):
            return self.file(self.server.registry / path.removeprefix("/registry/"), {})
        if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            return self.answer(200, json.dumps([entry(*file) for file in self.server.files.items()]).encode(), {"content-type": "application/json"})
        if path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [{"rfilename": name} for name in self.server.files]
            info = {"_id": "0", "id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "private": False, "gated": False,
                    "disabled": False, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
            return self.answer(200, json.dumps(info).encode(), {"content-type": "application/json"})
        _, _, name = path.partition("/resolve/")
        name = name.partition("/")[2]
        if path.startswith(f"/{REPOSITORY}/resolve/") and name in self.server.files:
            file, digest = self.server.files[name]
            size = str(file.stat().st_size)
            # What the hub sends for a file in large-file storage.
            return self.file(file, {"x-repo-commit": COMMIT, "x-linked-etag": f'"{digest}"', "x-linked-size": size, "etag": f'"{digest}"'})
        self.answer(404, b"not found", {})

    def file(self, path: Path, headers: dict):
        if not path.is_file():
            return self.answer(404, b"not found", {})
        stat = path.stat()
        etag = headers.get("etag") or f'"{hashlib.sha256(f"{stat.st_mtime_ns} {stat.st_size}".encode()).hexdigest()[:16]}"'
        if self.headers.get("if-none-match") == etag:
            return self.answer(304, None, {"etag": etag})
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.answer(200, path.read_bytes(), {"content-type": kind, **headers, "etag": etag})

    def answer(self, status: int, body, headers: dict):
        self.send_response(status)
        # Pages of every origin may read.
        headers = {"access-control-allow-origin": "*", "access-control-expose-headers": "etag", **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(body)

    def do_OPTIONS(self):
        self.answer(204, None, {"access-control-allow-headers": "*", "access-control-max-age": "600"})

    def log_message(self, *_):
        pass
