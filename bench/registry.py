#!/usr/bin/env python3
"""Measures pack, verify, push and pull of packages of several sizes, beside sha256sum and skopeo.

    python3 bench/registry.py [--sizes 1,100,1000] [--twinfer target/release/twinfer] [--rounds 3]

Sizes are in MB (a million bytes). Needs the PyPI package onnx, and docker-registry, skopeo and
sha256sum on the PATH. Writes bench/results/registry.json and prints a table. The registry is on
loopback and its disk the same as ours, so the figures say what the programs cost, not a network.
Each command is a process of its own: its time is from start to end, its memory the largest
resident set (wait4). Of several rounds the median is kept.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "big"
PART = 16_000_000  # Bytes of one initializer; large models have many of this size.


def model(path: Path, size: int) -> None:
    """A model whose answer needs all of its weights, but none of them to be repacked."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(size)
    nodes, weights, previous = [], [], None
    counts = [PART] * (size // PART) + ([size % PART] if size % PART else [])
    for number, count in enumerate(counts):
        rows = max(count // 4 // 1000, 1)
        values = random.standard_normal((rows, 1000), dtype=np.float32)
        weights.append(helper.make_tensor(f"w{number}", TensorProto.FLOAT, values.shape, values.tobytes(), raw=True))
        nodes.append(helper.make_node("Gather", [f"w{number}", "row"], [f"g{number}"], axis=0))
        if previous is not None:
            nodes.append(helper.make_node("Add", [previous, f"g{number}"], [f"s{number}"]))
            previous = f"s{number}"
        else:
            previous = f"g{number}"
    nodes.append(helper.make_node("Identity", [previous], ["y"]))
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("row", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())


def timed(command: list) -> tuple:
    """Seconds and largest memory (bytes) of a command that must succeed."""
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command} ended with {child.returncode}")
    return seconds, usage.ru_maxrss * 1024


class Registry:
    """docker-registry on a free port, with an empty folder."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder.mkdir(parents=True)
        config = folder / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\nstorage:\n"
            f"  filesystem: {{rootdirectory: {folder / 'data'}}}\nhttp:\n  addr: 127.0.0.1:{self.port}\n"
        )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("docker-registry does not listen")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def round_of(size: int, twinfer: Path, place: Path) -> dict:
    """Seconds and memory of each step, once."""
    recipe, local, second = place / "recipe", place / "registry", place / "second"
    recipe.mkdir(parents=True)
    # In a process of its own: the memory of a child is counted from that of its parent on.
    subprocess.run([sys.executable, __file__, "--make-model", recipe / "model.onnx", str(size)], check=True)
    (recipe / "twinfer.toml").write_text(
        f'[package]\nname = "{NAME}"\nversion = "1.0.0"\ncreated = "2026-11-25T00:00:00Z"\n[model]\nfile = "model.onnx"\n'
    )
    steps = {}
    registry = Registry(place / "served")
    try:
        here = f"oci://127.0.0.1:{registry.port}/bench"
        steps["sha256sum"] = timed(["sha256sum", recipe / "model.onnx"])
        steps["pack"] = timed([twinfer, "pack", recipe, "--no-self-test", "--registry", local])
        steps["verify"] = timed([twinfer, "verify", "--no-self-test", "--registry", local])
        steps["push"] = timed([twinfer, "push", NAME, here, "--registry", local])
        steps["push again"] = timed([twinfer, "push", NAME, here, "--registry", local])
        steps["pull"] = timed([twinfer, "pull", NAME, here, "--registry", second])
        skopeo = ["skopeo", "--insecure-policy", "copy", "-q"]
        remote = f"docker://127.0.0.1:{registry.port}/skopeo/{NAME}:1.0.0"
        steps["skopeo push"] = timed(skopeo + ["--dest-tls-verify=false", f"oci:{local}:{NAME}:1.0.0", remote])
        steps["skopeo pull"] = timed(skopeo + ["--src-tls-verify=false", remote, f"oci:{place / 'third'}:{NAME}:1.0.0"])
    finally:
        registry.stop()
    return steps


def main() -> None:
    if sys.argv[1:2] == ["--make-model"]:
        return model(Path(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,100,1000", help="MB, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--twinfer", type=Path, default=ROOT / "target/release/twinfer")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/registry.json")
    parser.add_argument("--scratch", type=Path, help="where to work; the disk matters [default: the temporary folder]")
    args = parser.parse_args()
    missing = [tool for tool in ["docker-registry", "skopeo", "sha256sum"] if not shutil.which(tool)]
    if missing or not args.twinfer.is_file():
        sys.exit(f"missing: {', '.join(missing) or args.twinfer}")
    results = []
    for megabytes in [int(size) for size in args.sizes.split(",")]:
        size = megabytes * 1_000_000
        rounds = []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory(dir=args.scratch) as place:
                rounds.append(round_of(size, args.twinfer.resolve(), Path(place)))
        for step in rounds[0]:
            seconds = statistics.median(r[step][0] for r in rounds)
            memory = max(r[step][1] for r in rounds)
            results.append(
                {
                    "megabytes": megabytes,
                    "step": step,
                    "seconds": round(seconds, 4),
                    "megabytes_per_second": round(megabytes / seconds, 1),
                    "peak_memory_mb": round(memory / 1e6, 1),
                }
            )
            last = results[-1]
            print(f"{megabytes:>5} MB  {step:<12} {seconds:9.3f} s {last['megabytes_per_second']:9.1f} MB/s {last['peak_memory_mb']:9.1f} MB", flush=True)
    profile = args.twinfer.resolve().parent.name
    machine = {"system": f"{platform.system()} {platform.machine()}", "processors": os.cpu_count(), "load_at_end": os.getloadavg()[0]}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(
        json.dumps({"profile": profile, "rounds": args.rounds, "machine": machine, "results": results}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
