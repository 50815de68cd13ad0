"""KServe's InferenceRESTClient against the server."""

import asyncio
import logging

import checks
import httpx
import numpy
from kserve import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, RequestedOutput

# What it logs of errors that are expected here is no news.
logging.disable(logging.CRITICAL)

here = checks.options()


def run(call):
    """Calls a coroutine with a client of its own: a loop is for one call here."""

    async def all_of_it():
        async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=120)) as client:
            return await call(client)

    return asyncio.run(all_of_it())


def request(binary):
    inputs = []
    for name, datatype, array in (
        ("i", "INT64", numpy.array([1, -2, 2**48], numpy.int64)),
        ("b", "BOOL", numpy.array([True, False])),
        ("d", "FP64", numpy.array([0.5])),
    ):
        one = InferInput(name, list(array.shape), datatype)
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return inputs


def outputs(answer):
    return {output.name: output.as_numpy().tolist() for output in answer.outputs}


@checks.check("kserve: live, ready, model ready")
def _():
    assert run(lambda client: client.is_server_live(here.url)) is True
    assert run(lambda client: client.is_server_ready(here.url)) is True
    assert run(lambda client: client.is_model_ready(here.url, "types")) is True
    assert run(lambda client: client.is_model_ready(here.url, "nobody")) is False


for binary in (True, False):

    @checks.check(f"kserve: infer, {'binary' if binary else 'JSON'}")
    def _(binary=binary):
        asked = InferRequest("types", request(binary), request_id="k-1", parameters={"binary_data_output": binary})
        answer = run(lambda client: client.infer(here.url, asked, model_name="types"))
        # The client forgets the version of an answer; the digest says it as well.
        checks.expect((answer.model_name, answer.id), ("types", "k-1"))
        assert str(answer.parameters["digest"]).startswith("sha256:"), answer.parameters
        found = outputs(answer)
        checks.expect(found["i2"], [2, -4, 2**49])
        checks.expect(found["nb"], [False, True])
        checks.expect(found["d2"], [0.25])
        assert all(isinstance(output, InferOutput) for output in answer.outputs)


@checks.check("kserve: chosen outputs")
def _():
    wanted = [RequestedOutput("d2", parameters={"binary_data": True})]
    asked = InferRequest("types", request(True), request_outputs=wanted)
    answer = run(lambda client: client.infer(here.url, asked, model_name="types"))
    checks.expect(outputs(answer), {"d2": [0.25]})


@checks.check("kserve: a plain dict, as its documentation has it")
def _():
    data = {"inputs": [
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [True, True]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [3.0]},
    ]}
    answer = run(lambda client: client.infer(here.url, data, model_name="types"))
    checks.expect(outputs(answer)["i2"], [2, 4, 6])


@checks.check("kserve: texts")
def _():
    # The metadata of the sample model says BYTES for its label.
    row = numpy.full((1, 30), 1.5, numpy.float32)
    one = InferInput("X", [1, 30], "FP32")
    one.set_data_from_numpy(row, binary_data=True)
    asked = InferRequest("tumour-risk", [one], request_outputs=[RequestedOutput("output_label")])
    answer = run(lambda client: client.infer(here.url, asked, model_name="tumour-risk"))
    [label] = answer.outputs[0].as_numpy().tolist()
    label = label.decode() if isinstance(label, bytes) else label
    assert label in ("malignant", "benign"), label


@checks.check("kserve: errors have our message")
def _():
    asked = InferRequest("nobody", request(False))
    try:
        run(lambda client: client.infer(here.url, asked, model_name="nobody"))
    except httpx.HTTPStatusError as error:
        assert "nobody" in str(error) and "404" in str(error), str(error)
    else:
        raise AssertionError("no error was raised")


checks.finish()
