"""Magika's own rules around its model (google/magika, python/src/magika/magika.py of version 1.0.3), written
again for bytes in memory: what the model is asked, and what its scores mean. Only what Python brings is needed.

`reference.py` makes the golden examples with it, and the rivals of `bench/` answer with it.
"""

import json
from pathlib import Path


class Rules:
    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.min.json").read_text())
        self.types = json.loads((folder / "content_types_kb.min.json").read_text())

    def tokens(self, content: bytes) -> list[int] | None:
        """What the model is asked, or None where there is too little to ask it."""
        shortest = self.config["min_file_size_for_dl"]
        tokens = self.features(content)
        if len(content) < shortest or tokens[shortest - 1] == self.config["padding_token"]:
            return None
        return tokens

    def features(self, content: bytes) -> list[int]:
        """The first tokens of the first block and the last of the last one, stripped."""
        config = self.config
        block = min(config["block_size"], len(content))
        begin = content[:block].lstrip()[: config["beg_size"]]
        end = content[len(content) - block :].rstrip()[-config["end_size"] :]
        padding = [config["padding_token"]]
        before = padding * (config["beg_size"] - len(begin))
        return [*begin, *before, *padding * (config["end_size"] - len(end)), *end]

    def short(self, content: bytes) -> str:
        """The label of what the model is not asked about."""
        try:
            content[: self.config["block_size"]].decode("utf-8")
        except UnicodeDecodeError:
            return "unknown"
        return "txt" if content else "empty"

    def decide(self, model_label: str, score: float, mode: str) -> tuple[str, str]:
        """The label of the answer, and why it is another one than the model's."""
        label = self.config["overwrite_map"].get(model_label, model_label)
        reason = "none" if label == model_label else "overwrite_map"
        medium = self.config["medium_confidence_threshold"]
        threshold = {
            "best_guess": 0.0,
            "medium_confidence": medium,
            "high_confidence": self.config["thresholds"].get(model_label, medium),
        }[mode]
        if score >= threshold:
            return label, reason
        label = "txt" if self.types[label]["is_text"] else "unknown"
        return label, "none" if label == model_label else "low_confidence"
