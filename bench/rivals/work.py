"""What a rival on the host does for one prediction: the same in FastAPI, MLServer and MLflow.

The input as a user has it goes in (a row of numbers, a picture, bytes), the answer as a user wants it
comes out. Preprocessing and decisions are those of the model's own reference (`models/*/reference.py`);
what is slow in Python is numpy's or OpenCV's. One session with one thread: there is a process for each core.
"""

import io
import pathlib
import sys

import numpy as np
import onnxruntime


def session(model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Table:
    """Rows of numbers to a label and its probabilities, for each row."""

    def __init__(self, model: str):
        self.session = session(model)

    def predict(self, rows: np.ndarray) -> tuple[list, list]:
        labels, probabilities = self.session.run(None, {"X": rows.astype(np.float32, copy=False)})
        return [str(label) for label in labels], probabilities


class Faces:
    """A picture to boxes in its pixels, each with a score, the best first."""

    WIDTH, HEIGHT = 320, 240
    SCORE, OVERLAP = 0.7, 0.3

    def __init__(self, model: str):
        # Only here: a server of tables need not carry them.
        import cv2
        from PIL import Image, ImageOps

        cv2.setNumThreads(1)
        self.cv2, self.image, self.operations = cv2, Image, ImageOps
        self.session = session(model)

    def predict(self, data: bytes) -> np.ndarray:
        """[boxes, 5]: x, y, width, height, score."""
        pixels = np.asarray(self.operations.exif_transpose(self.image.open(io.BytesIO(data))).convert("RGB"))
        size, linear = (self.WIDTH, self.HEIGHT), self.cv2.INTER_LINEAR
        resized = self.cv2.resize(pixels.astype(np.float32), size, interpolation=linear)
        tensor = ((resized - np.float32(127)) / np.float32(128)).transpose(2, 0, 1)[None]
        scores, boxes = self.session.run(["scores", "boxes"], {"input": np.ascontiguousarray(tensor)})
        height, width = pixels.shape[:2]
        return self.select(scores[0, :, 1], boxes[0], width, height)

    def select(self, scores: np.ndarray, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        likely = np.flatnonzero(scores > self.SCORE)
        order = likely[np.argsort(-scores[likely], kind="stable")]
        boxes = boxes.astype(np.float64)
        kept = []
        while order.size:
            best, order = order[0], order[1:]
            kept.append(best)
            order = order[overlaps(boxes[best], boxes[order]) <= self.OVERLAP]
        size = np.array([width, height] * 2)
        corners = np.clip(boxes[kept] * size, 0, size)
        return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores[kept]])


def overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (left, top, right, bottom) with others."""
    sides = np.maximum(np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2]), 0.0)
    both = sides.prod(axis=1)
    areas = np.maximum(others[:, 2:] - others[:, :2], 0.0).prod(axis=1)
    return both / (np.maximum(one[2:] - one[:2], 0.0).prod() + areas - both)


class FileType:
    """Bytes to a label and its score, in Magika's mode `high_confidence`."""

    def __init__(self, model: str):
        # Its rules lie beside the model, as the reference has them: `models/file-type/rules.py`.
        folder = pathlib.Path(model).resolve().parent
        sys.path.insert(0, str(folder))
        from rules import Rules

        self.rules = Rules(folder)
        self.labels = self.rules.config["target_labels_space"]
        self.session = session(model)

    def predict(self, content: bytes) -> tuple[str, float]:
        tokens = self.rules.tokens(content)
        if tokens is None:
            return self.rules.short(content), 1.0
        scores = self.session.run(["target_label"], {"bytes": np.array([tokens], dtype=np.int32)})[0][0]
        best = int(scores.argmax())
        label, _ = self.rules.decide(self.labels[best], float(scores[best]), "high_confidence")
        return label, float(scores[best])


KINDS = {"table": Table, "faces": Faces, "file-type": FileType}
