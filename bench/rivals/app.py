"""The rival on the server: FastAPI with onnxruntime.

    MODEL=model.onnx COLUMNS='["a", "b"]' uvicorn --workers 2 app:app

The same model, the same record in, label and probabilities out. One session for each worker with one
thread: there may be as many workers as cores.
"""

import json
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import Field, create_model

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
columns = json.loads(os.environ["COLUMNS"])
# Fields by position: the names of the columns are not names of Python.
fields = {f"c{n}": (float, Field(alias=name)) for n, name in enumerate(columns)}
Record = create_model("Record", **fields)
app = FastAPI()


@app.get("/health")
async def health() -> dict:
    return {"ok": True}


# A plain function, as most are written: it goes through a pool of threads.
@app.post("/plain")
def plain(record: Record) -> dict:
    return answer(record)


# Faster for so short a work.
@app.post("/predict")
async def predict(record: Record) -> dict:
    return answer(record)


def answer(record: Record) -> dict:
    x = np.array([[getattr(record, field) for field in fields]], np.float32)
    label, probabilities = session.run(None, {"X": x})
    first = probabilities[0]
    values = first.items() if isinstance(first, dict) else zip(["benign", "malignant"], first.tolist())
    return {"outputs": {"label": str(label[0]), "probabilities": {str(key): float(value) for key, value in values}}}
