"""The client of Triton (tritonclient.http) against the server."""

import pathlib
import tempfile

import checks
import ml_dtypes
import numpy
import onnx
import tritonclient.http as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

here = checks.options()
client = triton.InferenceServerClient(here.address, concurrency=4, network_timeout=120, connection_timeout=120)

# What the model `types` answers: i2 = 2 i, nb = not b, d2 = d * d (tests/models/make.py).
INTEGERS = numpy.array([1, -2, 2**48], dtype=numpy.int64)
FLAGS = numpy.array([True, False])
DOUBLES = numpy.array([0.5])


def given(binary):
    inputs = []
    for name, datatype, array in (("i", "INT64", INTEGERS), ("b", "BOOL", FLAGS), ("d", "FP64", DOUBLES)):
        one = triton.InferInput(name, list(array.shape), datatype)
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return inputs


def right(result):
    checks.expect(result.as_numpy("i2").tolist(), [2, -4, 2**49])
    checks.expect(result.as_numpy("nb").tolist(), [False, True])
    checks.expect(result.as_numpy("d2").tolist(), [0.25])


def refused(code, call):
    """What the client raises has the server's message, and no message of its own about decoding."""
    try:
        call()
    except InferenceServerException as error:
        checks.expect(error.status(), str(code))
        assert "while decoding" not in error.message(), error.message()
        return error.message()
    raise AssertionError("no error was raised")


@checks.check("triton: live, ready, model ready")
def _():
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("types")
    assert client.is_model_ready("types", "1.0.0")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("types", "9.9.9")


@checks.check("triton: metadata of the server and of a model")
def _():
    server = client.get_server_metadata()
    checks.expect(server["name"], "twinfer")
    assert {"binary_tensor_data", "model_configuration", "statistics"} <= set(server["extensions"]), server
    model = client.get_model_metadata("types", "1.0.0")
    checks.expect((model["name"], model["platform"]), ("types", "onnx_onnxv1"))
    checks.expect(model["inputs"][0], {"name": "i", "datatype": "INT64", "shape": [3]})


@checks.check("triton: configuration of a model")
def _():
    config = client.get_model_config("types")
    checks.expect((config["name"], config["max_batch_size"]), ("types", 0))
    checks.expect(config["input"][0], {"name": "i", "data_type": "TYPE_INT64", "dims": [3]})


for binary in (True, False):

    @checks.check(f"triton: infer, {'binary' if binary else 'JSON'}, all outputs")
    def _(binary=binary):
        right(client.infer("types", given(binary)))
        right(client.infer("types", given(binary), model_version="1.0.0"))


@checks.check("triton: chosen outputs, each in the form that was asked for, and the id comes back")
def _():
    outputs = [triton.InferRequestedOutput("nb", binary_data=False), triton.InferRequestedOutput("i2", binary_data=True)]
    result = client.infer("types", given(True), outputs=outputs, request_id="ask-7")
    response = result.get_response()
    checks.expect(response["id"], "ask-7")
    checks.expect([output["name"] for output in response["outputs"]], ["nb", "i2"])
    assert "data" in response["outputs"][0] and "data" not in response["outputs"][1], response
    checks.expect(result.as_numpy("i2").tolist(), [2, -4, 2**49])


@checks.check("triton: several requests at once")
def _():
    waiting = [client.async_infer("types", given(True), request_id=str(n)) for n in range(8)]
    for n, one in enumerate(waiting):
        result = one.get_result()
        right(result)
        checks.expect(result.get_response()["id"], str(n))


@checks.check("triton: compressed answers may be asked for")
def _():
    right(client.infer("types", given(True), response_compression_algorithm="gzip"))


@checks.check("triton: statistics count what was asked")
def _():
    client.infer("types", given(True))
    [one] = client.get_inference_statistics("types", "1.0.0")["model_stats"]
    checks.expect((one["name"], one["version"]), ("types", "1.0.0"))
    # Of the instance that is asked, so not of all requests above.
    assert one["inference_stats"]["success"]["count"] >= 0, one
    assert set(one["inference_stats"]) >= {"success", "fail", "queue", "compute_input", "compute_infer", "compute_output"}
    every = client.get_inference_statistics()["model_stats"]
    assert all(stat["name"] and stat["version"] for stat in every), every


@checks.check("triton: errors are its own, with our message")
def _():
    message = refused(404, lambda: client.infer("nobody", given(True)))
    assert "nobody" in message, message
    message = refused(404, lambda: client.get_model_metadata("types", "9.9.9"))
    assert "9.9.9" in message, message
    message = refused(400, lambda: client.infer("types", given(True)[:2]))
    assert "`d`" in message, message
    wrong = triton.InferInput("i", [3], "FP32")
    wrong.set_data_from_numpy(numpy.zeros(3, numpy.float32))
    assert "INT64" in refused(400, lambda: client.infer("types", [wrong, *given(True)[1:]]))
    absent = [triton.InferRequestedOutput("nothing")]
    assert "`nothing`" in refused(400, lambda: client.infer("types", given(True), outputs=absent))


@checks.check("triton: a compressed request says that it is not taken")
def _():
    message = refused(415, lambda: client.infer("types", given(True), request_compression_algorithm="gzip"))
    assert "uncompressed" in message, message


@checks.check("triton: the repository is for administrators, of whom there are none here")
def _():
    # The door of the host comes before the component, which would say 404 and what to do. A server that
    # has it: triton_repository.py.
    for call in (
        client.get_model_repository_index,
        lambda: client.load_model("types"),
        lambda: client.unload_model("types"),
    ):
        refused(401, call)


@checks.check("triton: what only Triton has is for administrators, as there")
def _():
    refused(401, client.get_system_shared_memory_status)
    refused(401, client.get_log_settings)


# Every data type, through y = x.

TYPES = {
    "BOOL": (TensorProto.BOOL, numpy.array([[True, False]])),
    "UINT8": (TensorProto.UINT8, numpy.array([[0, 255]], numpy.uint8)),
    "UINT16": (TensorProto.UINT16, numpy.array([[0, 65535]], numpy.uint16)),
    "UINT32": (TensorProto.UINT32, numpy.array([[0, 2**32 - 1]], numpy.uint32)),
    "UINT64": (TensorProto.UINT64, numpy.array([[0, 2**64 - 1]], numpy.uint64)),
    "INT8": (TensorProto.INT8, numpy.array([[-128, 127]], numpy.int8)),
    "INT16": (TensorProto.INT16, numpy.array([[-(2**15), 2**15 - 1]], numpy.int16)),
    "INT32": (TensorProto.INT32, numpy.array([[-(2**31), 2**31 - 1]], numpy.int32)),
    "INT64": (TensorProto.INT64, numpy.array([[-(2**63), 2**63 - 1]], numpy.int64)),
    "FP16": (TensorProto.FLOAT16, numpy.array([[0.1, 65504]], numpy.float16)),
    "FP32": (TensorProto.FLOAT, numpy.array([[0.1, 3e38]], numpy.float32)),
    "FP64": (TensorProto.DOUBLE, numpy.array([[0.1, 1e300]], numpy.float64)),
    "BF16": (TensorProto.BFLOAT16, numpy.array([[3.140625, -1e30]], ml_dtypes.bfloat16)),
    "BYTES": (TensorProto.STRING, numpy.array([["", "grüße \0 ☃"]], dtype=object)),
}
# The client has no JSON form for them, and neither has the protocol.
ONLY_BINARY = {"FP16", "BF16"}


def identity(folder, name, element):
    value = [helper.make_tensor_value_info(side, element, ["N", 2]) for side in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def texts(array):
    return [[one.decode() if isinstance(one, bytes) else one for one in row] for row in array.tolist()]


with tempfile.TemporaryDirectory() as folder:
    for datatype, (element, _) in TYPES.items():
        name = f"same-{datatype.lower()}"
        recipe = pathlib.Path(folder) / name
        recipe.mkdir()
        identity(recipe, "model", element)
        (recipe / "twinfer.toml").write_text(
            f'[package]\nname = "{name}"\nversion = "1.0.0"\ncreated = "2026-11-25T00:00:00Z"\n[model]\nfile = "model.onnx"\n'
        )
        checks.pack(here, recipe)

for datatype, (_, array) in TYPES.items():
    for binary in (True, False):
        if not binary and datatype in ONLY_BINARY:
            continue

        @checks.check(f"triton: {datatype} there and back, {'binary' if binary else 'JSON'}")
        def _(datatype=datatype, array=array, binary=binary):
            name = f"same-{datatype.lower()}"
            checks.until(lambda: client.is_model_ready(name))
            one = triton.InferInput("x", list(array.shape), datatype)
            one.set_data_from_numpy(array, binary_data=binary)
            outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
            found = client.infer(name, [one], outputs=outputs).as_numpy("y")
            if datatype == "BYTES":
                checks.expect(texts(found), texts(array))
            else:
                checks.expect(found.tolist(), array.tolist())
                checks.expect(found.dtype, array.dtype)


checks.finish()
