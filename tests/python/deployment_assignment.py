"""Makes tests/data/deployment-assignment.json: who gets what of a deployment.

The rule is written here once more, with nothing but Python's own library, so that what Rust,
WebAssembly and TypeScript say is held against something else. Python 3.10 or later:

    python3 tests/python/deployment_assignment.py
"""

import hashlib
import json
from pathlib import Path

TARGET = Path(__file__).parent.parent / "data" / "deployment-assignment.json"
ALL = 10_000
KEYS = ["", "user-1", "user-2", "0", "a" * 300, "Grüße", "鍵", "🔑", "with space", " user-1", "user-1\n", "\x00", "null\x00byte"]
KEYS += [f"caller-{number}" for number in range(40)]


def bucket(salt, key):
    digest = hashlib.sha256(salt.encode() + b"\x00" + key.encode()).digest()
    return int.from_bytes(digest[:8], "big") % ALL


def deployment(salt, weights, strategy, step=0):
    """Weights of the candidates; the primary, which has the rest, comes first in the document."""
    names = [f"candidate-{number}" for number in range(len(weights))]
    variants = [("primary", ALL - sum(weights), "primary")]
    variants += [(name, weight, "candidate") for name, weight in zip(names, weights)]
    return {
        "format_version": 1,
        "name": "face-detector",
        "alias": "stable",
        "revision": 7,
        "variants": [
            {
                "name": name,
                "version": f"1.{at}.0",
                "digest": "sha256:" + hashlib.sha256(name.encode()).hexdigest(),
                "weight": weight,
                "role": role,
            }
            for at, (name, weight, role) in enumerate(variants)
        ],
        "sticky": {"header": "X-Twinfer-Key", "salt": salt},
        "strategy": strategy,
        "status": {
            "phase": "promoted" if strategy["kind"] == "all_at_once" else "progressing",
            "step": step,
            "since": 1_700_000_000_000,
        },
    }


def assigned(document, key):
    at = bucket(document["sticky"]["salt"], key)
    end = 0
    for variant in document["variants"]:
        if variant["role"] != "primary":
            end += variant["weight"]
            if at < end:
                return variant["name"]
    return "primary"


def main():
    steps = [{"weight": weight, "hold": 60} for weight in (1, 500, 2_500, 5_000, ALL)]
    documents = [deployment("face-detector", [], {"kind": "all_at_once"})]
    for at, step in enumerate(steps):
        canary = {"kind": "canary", "steps": steps, "guardrails": []}
        documents.append(deployment("face-detector", [step["weight"]], canary, at))
    test = {"kind": "ab_test", "guardrails": []}
    documents.append(deployment("test of spring", [3_333, 3_333], test))
    documents.append(deployment("", [5_000], test))
    cases = {
        "made_by": "tests/python/deployment_assignment.py",
        "buckets": [
            {"salt": salt, "key": key, "bucket": bucket(salt, key)}
            for salt in ("face-detector", "", "Salz 🧂")
            for key in KEYS
        ],
        "assignments": [
            {"deployment": document, "variants": {key: assigned(document, key) for key in KEYS}}
            for document in documents
        ],
    }
    text = json.dumps(cases, ensure_ascii=True, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
