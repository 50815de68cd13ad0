"""What a rival on the host does for one prediction: the same in FastAPI, MLServer and MLflow.

The input as a user has it goes in (a row of numbers, a picture, bytes), the answer as a user wants it
comes out. Preprocessing and decisions are those of the model's own reference (`models/*/reference.py`);
what is slow in Python is numpy's or OpenCV's. One session with one thread: there is a process for each core.
"""

import io
import json
import pathlib

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
        folder = pathlib.Path(model).parent
        self.config = json.loads((folder / "config.min.json").read_text())
        self.types = json.loads((folder / "content_types_kb.min.json").read_text())
        self.session = session(model)

    def predict(self, content: bytes) -> tuple[str, float]:
        config = self.config
        tokens = self.features(content)
        shortest = config["min_file_size_for_dl"]
        if len(content) < shortest or tokens[shortest - 1] == config["padding_token"]:
            return self.short(content), 1.0
        scores = self.session.run(["target_label"], {"bytes": np.array([tokens], dtype=np.int32)})[0][0]
        best = int(scores.argmax())
        return self.decide(config["target_labels_space"][best], float(scores[best])), float(scores[best])

    def features(self, content: bytes) -> list[int]:
        config = self.config
        block = min(config["block_size"], len(content))
        begin = content[:block].lstrip()[: config["beg_size"]]
        end = content[len(content) - block :].rstrip()[-config["end_size"] :]
        padding = [config["padding_token"]]
        before = padding * (config["beg_size"] - len(begin))
        return [*begin, *before, *padding * (config["end_size"] - len(end)), *end]

    def short(self, content: bytes) -> str:
        try:
            content[: self.config["block_size"]].decode("utf-8")
        except UnicodeDecodeError:
            return "unknown"
        return "txt" if content else "empty"

    def decide(self, model_label: str, score: float) -> str:
        label = self.config["overwrite_map"].get(model_label, model_label)
        threshold = self.config["thresholds"].get(model_label, self.config["medium_confidence_threshold"])
        if score >= threshold:
            return label
        return "txt" if self.types[label]["is_text"] else "unknown"


KINDS = {"table": Table, "faces": Faces, "file-type": FileType}
