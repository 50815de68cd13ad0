"""The rival on the server: FastAPI with onnxruntime, as small as it can be.

    MODEL=model.onnx COLUMNS='["a", "b"]' uvicorn --workers 2 app:app
    MODEL=model.onnx KIND=faces uvicorn --workers 2 app:app

The same model, the same input, the same answer: a record to label and probabilities (`/predict`, `/plain`),
a picture to boxes, bytes to a label (`/raw`: the body as it is). One session for each worker with one
thread: there may be as many workers as cores.
"""

import json
import os

import numpy as np
from fastapi import FastAPI, Request
from pydantic import Field, create_model

from work import KINDS

work = KINDS[os.environ.get("KIND", "table")](os.environ["MODEL"])
columns = json.loads(os.environ.get("COLUMNS", "[]"))
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


@app.post("/raw")
async def raw(request: Request) -> dict:
    return described(work.predict(await request.body()))


def answer(record: Record) -> dict:
    labels, probabilities = work.predict(np.array([[getattr(record, field) for field in fields]], np.float32))
    first = probabilities[0]
    values = first.items() if isinstance(first, dict) else zip(["benign", "malignant"], first.tolist())
    return {"outputs": {"label": labels[0], "probabilities": {str(key): float(value) for key, value in values}}}


def described(predicted) -> dict:
    if isinstance(predicted, tuple):
        label, score = predicted
        return {"outputs": {"content_type": {"label": label, "score": score}}}
    names = ("x", "y", "width", "height", "score")
    return {"outputs": {"boxes": [dict(zip(names, box)) for box in predicted.tolist()]}}
