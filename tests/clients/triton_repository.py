"""The model repository extension by the client of Triton, on a server of its own: `twinfer serve --repository`."""

import json
import os
import pathlib
import subprocess
import tempfile

import checks
import numpy
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

here = checks.options()


def key(scopes, models="*"):
    made = subprocess.run(
        [here.twinfer, "api-key", "--id", f"{scopes}-of-{models}", "--scopes", scopes, "--models", models, "--json"],
        capture_output=True, text=True, check=True,
    )
    return json.loads(made.stdout)


ADMIN, READER, ONE = key("admin,predict"), key("predict"), key("admin,predict", "face-detector")


def headers(of):
    return {"Authorization": f"Bearer {of['key']}"}


def serve(folder):
    """The server, and its address."""
    access = folder / "access.json"
    access.write_text(json.dumps({"keys": [one["settings"] for one in (ADMIN, READER, ONE)]}))
    server = subprocess.Popen(
        [here.twinfer, "serve", "--repository", "--access", access, "--registry", here.registry, "--listen", "127.0.0.1:0",
         "--component", os.environ["TWINFER_COMPONENT"], "--no-page", "--instances", "1", "--state", "memory"],
        stderr=subprocess.PIPE, text=True,
    )
    for line in server.stderr:
        event = json.loads(line)
        if event["event"] == "listening":
            return server, event["address"]
    raise SystemExit(f"the server ended with {server.wait()}")


def refused(code, call):
    try:
        call()
    except InferenceServerException as error:
        checks.expect(error.status(), str(code))
        return error.message()
    raise AssertionError("no error was raised")


def entry(client, of=ADMIN):
    [found] = [one for one in client.get_model_repository_index(headers=headers(of)) if one["name"] == "types"]
    return found


with tempfile.TemporaryDirectory() as folder:
    server, address = serve(pathlib.Path(folder))
    client = triton.InferenceServerClient(address, network_timeout=120, connection_timeout=120)

    @checks.check("repository: the server says that it has it")
    def _():
        extensions = client.get_server_metadata(headers=headers(READER))["extensions"]
        assert "model_repository" in extensions, extensions

    @checks.check("repository: the index, loading and unloading, for an administrator")
    def _():
        checks.expect((entry(client)["version"], entry(client)["state"]), ("1.0.0", "READY"))
        client.load_model("types", headers=headers(ADMIN))
        checks.expect(entry(client)["reason"], "")
        client.unload_model("types", headers=headers(ADMIN), unload_dependents=True)
        assert entry(client)["reason"], "it is still loaded"
        # What is served is decided by the registry: it is loaded when it is asked.
        inputs = []
        for name, datatype, array in (
            ("i", "INT64", numpy.array([1, -2, 2**48])),
            ("b", "BOOL", numpy.array([True, False])),
            ("d", "FP64", numpy.array([0.5])),
        ):
            one = triton.InferInput(name, list(array.shape), datatype)
            one.set_data_from_numpy(array)
            inputs.append(one)
        result = client.infer("types", inputs, headers=headers(READER))
        checks.expect(result.as_numpy("i2").tolist(), [2, -4, 2**49])

    @checks.check("repository: what cannot be done is said")
    def _():
        message = refused(400, lambda: client.load_model("types", headers=headers(ADMIN), config="{}"))
        assert "`config`" in message, message
        assert "nobody" in refused(404, lambda: client.load_model("nobody", headers=headers(ADMIN)))

    @checks.check("repository: nobody else may use it, whatever is sent")
    def _():
        for sent, code in (
            ({}, 401),
            ({"Authorization": "Bearer of-another-server"}, 401),
            ({"X-Twinfer-Admin": "a-guess-of-the-client"}, 401),
            (headers(READER), 403),
            ({**headers(READER), "X-Twinfer-Admin": "a-guess-of-the-client"}, 403),
        ):
            refused(code, lambda sent=sent: client.get_model_repository_index(headers=sent))
            refused(code, lambda sent=sent: client.load_model("types", headers=sent))
            refused(code, lambda sent=sent: client.unload_model("types", headers=sent))

    @checks.check("repository: an administrator of one model is none of another")
    def _():
        client.load_model("face-detector", headers=headers(ONE))
        refused(403, lambda: client.load_model("types", headers=headers(ONE)))
        refused(403, lambda: client.get_model_repository_index(headers=headers(ONE)))

    server.terminate()
    server.communicate(timeout=60)

checks.finish()
