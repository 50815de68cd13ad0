"""Writes the ONNX backend tests of the package `onnx` in a form that every place reads.

    python onnx_cases.py FOLDER

Into FOLDER come `cases.jsonl`, a line for each test (its name, its suite, the model's path, tolerances,
and sets of named inputs and expected outputs), and the models. Values are

    {"dtype": "FP32", "shape": [2, 3], "data": base64 of the little-endian bytes}    a tensor
    {"dtype": "BYTES", "shape": [2], "strings": ["a", "b"]}                          a tensor of strings
    {"sequence": [value, ...]}, {"optional": value or null}
    {"keys": "INT64" or "BYTES", "maps": [[[key, number], ...], ...]}                a sequence of maps (ZipMap)

Types of 4 bits are packed two to a byte, those of 2 bits four, the first in the lowest bits, as in the
files of ONNX.
"""

import base64
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

SUITES = {
    "node": "node",
    "simple": "simple",
    "pytorch-converted": "pytorch-converted",
    "pytorch-operator": "pytorch-operator",
}

NAMES = {
    "BOOL": "BOOL", "UINT8": "UINT8", "UINT16": "UINT16", "UINT32": "UINT32", "UINT64": "UINT64",
    "INT8": "INT8", "INT16": "INT16", "INT32": "INT32", "INT64": "INT64", "FLOAT16": "FP16",
    "BFLOAT16": "BF16", "FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT8E4M3FN": "FP8E4M3FN",
    "FLOAT8E4M3FNUZ": "FP8E4M3FNUZ", "FLOAT8E5M2": "FP8E5M2", "FLOAT8E5M2FNUZ": "FP8E5M2FNUZ",
    "UINT4": "UINT4", "INT4": "INT4", "UINT2": "UINT2", "INT2": "INT2", "FLOAT4E2M1": "FP4E2M1",
    "FLOAT8E8M0": "FP8E8M0", "COMPLEX64": "COMPLEX64", "COMPLEX128": "COMPLEX128",
    "STRING": "BYTES",
}


def tensor(proto):
    name = onnx.TensorProto.DataType.Name(proto.data_type)
    shape = list(proto.dims)
    if name == "STRING":
        return {"dtype": "BYTES", "shape": shape, "strings": [s.decode("utf-8") for s in proto.string_data]}
    if proto.HasField("raw_data"):
        data = proto.raw_data
    else:
        # Written again with raw data: the one form that all types have.
        array = numpy_helper.to_array(proto)
        data = numpy_helper.from_array(array).raw_data
    return {"dtype": NAMES.get(name, name), "shape": shape, "data": base64.b64encode(data).decode()}


def value(path, type_proto):
    return typed(path.read_bytes(), type_proto)


def typed(data, type_proto):
    if type_proto.HasField("sequence_type"):
        proto = onnx.SequenceProto.FromString(data)
        return sequence(proto)
    if type_proto.HasField("optional_type"):
        proto = onnx.OptionalProto.FromString(data)
        return optional(proto)
    return tensor(onnx.TensorProto.FromString(data))


def sequence(proto):
    kind = onnx.SequenceProto.DataType.Name(proto.elem_type)
    if kind == "TENSOR":
        return {"sequence": [tensor(t) for t in proto.tensor_values]}
    if kind == "SEQUENCE":
        return {"sequence": [sequence(s) for s in proto.sequence_values]}
    if kind == "UNDEFINED":
        return {"sequence": []}
    raise ValueError(f"a sequence of {kind}")


def optional(proto):
    kind = onnx.OptionalProto.DataType.Name(proto.elem_type)
    if kind == "UNDEFINED":
        return {"optional": None}
    if kind == "TENSOR":
        there = proto.HasField("tensor_value")
        return {"optional": tensor(proto.tensor_value) if there else None}
    if kind == "SEQUENCE":
        there = proto.HasField("sequence_value")
        return {"optional": sequence(proto.sequence_value) if there else None}
    raise ValueError(f"an optional {kind}")


def ordered(folder, prefix):
    files = folder.glob(f"{prefix}_*.pb")
    return sorted(files, key=lambda file: int(file.stem.rsplit("_", 1)[1]))


def described(suite, test, path, model, sets, folder):
    """The case of a test, with a copy of its model in the folder."""
    copy = f"models/{suite}/{test.name}.onnx"
    (folder / copy).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / copy)
    opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    nodes = sorted({(n.domain or "ai.onnx", n.op_type) for n in model.graph.node})
    return {
        "suite": suite, "name": test.name, "model": copy, "rtol": test.rtol, "atol": test.atol,
        "opsets": opsets, "operators": [f"{d}.{o}" for d, o in nodes], "sets": sets,
    }


def case(suite, test, folder):
    path = Path(test.model_dir) / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    initializers = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in initializers] if len(graph.input) else []
    sets = []
    for data in sorted(Path(test.model_dir).glob("test_data_set_*")):
        given = ordered(data, "input")
        # The files are those of all inputs, also of those that have initializers.
        names = list(graph.input) if len(given) > len(inputs) else inputs
        expected = ordered(data, "output")
        sets.append({
            "inputs": [{"name": n.name, "value": value(f, n.type)} for f, n in zip(given, names)],
            "outputs": [{"name": n.name, "value": value(f, n.type)} for f, n in zip(expected, graph.output)],
        })
    return described(suite, test, path, model, sets, folder)


def light(test, folder):
    """One of the nine known networks whose weights are made by ConstantOfShape. The package has the
    outputs; the inputs are those that its own runner makes: numbers that go up evenly from 0 to 1."""
    path = Path(onnx.__file__).parent.parent / test.url
    model = onnx.load(path)
    graph = model.graph
    initializers = {i.name for i in graph.initializer}
    inputs = []
    for given in graph.input:
        if given.name not in initializers:
            made = Runner.generate_dummy_data(given, seed=0, name=test.model_name, random=False)
            inputs.append({"name": given.name, "value": tensor(numpy_helper.from_array(made))})
    outputs = []
    for index, given in enumerate(graph.output):
        data = path.with_name(f"{path.stem}_output_{index}.pb")
        outputs.append({"name": given.name, "value": value(data, given.type)})
    return described("light", test, path, model, [{"inputs": inputs, "outputs": outputs}], folder)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    with open(folder / "cases.jsonl.part", "w", encoding="utf-8") as out:
        for suite, kind in SUITES.items():
            for test in sorted(load_model_tests(kind=kind), key=lambda t: t.name):
                out.write(json.dumps(case(suite, test, folder)) + "\n")
                counts[suite] = counts.get(suite, 0) + 1
        for test in sorted(load_model_tests(kind="real"), key=lambda t: t.name):
            out.write(json.dumps(light(test, folder)) + "\n")
            counts["light"] = counts.get("light", 0) + 1
    (folder / "cases.jsonl.part").rename(folder / "cases.jsonl")
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
