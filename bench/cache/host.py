#!/usr/bin/env python3
"""Cold and warm loads through our cache, beside the ways of huggingface_hub and transformers.js.

    python3 bench/cache/host.py [--sizes 1,100] [--rounds 5] [--profile release] [--no-page]

Needs the PyPI packages numpy, onnx and huggingface_hub; `twinfer` and `twinfer-cache-bench` in
target/<profile>. Both get the same files from the same server on this machine, in turns, each in a
process of its own, and are timed inside of it: starting Python is not what is compared. A load ends
when every byte of the package is in memory. The page is measured by page.mjs, which see; it needs
the built npm package (web/dist) and TWINFER_BROWSER. Writes bench/results/cache.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from registry import NAME, model  # noqa: E402
from serve import REPOSITORY, Server  # noqa: E402

# Timed inside the process, after its imports.
RIVAL = """
import json, shutil, sys, time
from pathlib import Path
from huggingface_hub import snapshot_download
repository, folder, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
times = {"cold": [], "warm, asking": [], "warm, offline": []}
for _ in range(rounds):
    shutil.rmtree(folder, ignore_errors=True)
    for step in times:
        begun = time.perf_counter()
        where = snapshot_download(repository, cache_dir=folder, local_files_only=step == "warm, offline")
        contents = [path.read_bytes() for path in Path(where).rglob("*") if path.is_file()]
        times[step].append((time.perf_counter() - begun) * 1000)
print(json.dumps({"bytes": sum(map(len, contents)), "milliseconds": times}))
"""


def package(size: int, twinfer: Path, place: Path) -> Path:
    """A registry with one package of this many bytes."""
    recipe, registry = place / "recipe", place / "registry"
    recipe.mkdir(parents=True)
    model(recipe / "model.onnx", size)
    (recipe / "twinfer.toml").write_text(
        f'[package]\nname = "{NAME}"\nversion = "1.0.0"\ncreated = "2026-11-25T00:00:00Z"\n[model]\nfile = "model.onnx"\n'
    )
    subprocess.run([twinfer, "pack", recipe, "--no-self-test", "--registry", registry], check=True, stdout=subprocess.DEVNULL)
    return registry


def ours(bench: Path, server: Server, folder: Path) -> dict:
    command = [bench, "--server", f"{server.address}/registry", "--reference", f"{NAME}:1.0.0", "--folder", folder, "--rounds", 1]
    return run([str(part) for part in command], {})


def rival(server: Server, folder: Path) -> dict:
    variables = {"HF_ENDPOINT": server.address, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    return run([sys.executable, "-c", RIVAL, REPOSITORY, str(folder), "1"], variables)


def run(command: list, variables: dict) -> dict:
    said = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE)
    if said.returncode != 0:
        sys.exit(f"{command[0]} ended with {said.returncode}")
    return json.loads(said.stdout)


def in_page(registry: Path, tiny: Path, rounds: int, out: Path) -> dict:
    command = ["node", HERE / "page.mjs", "--registry", registry, "--tiny", tiny, "--reference", f"{NAME}:1.0.0", "--rounds", rounds, "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def measure(megabytes: int, rounds: int, target: Path, scratch, page: bool) -> dict:
    with tempfile.TemporaryDirectory(dir=scratch) as text:
        place = Path(text)
        server = Server(package(megabytes * 1_000_000, target / "twinfer", place))
        results, requests = {"twinfer": [], "huggingface_hub": []}, {}
        for turn in range(rounds):
            both = [
                ("twinfer", lambda: ours(target / "twinfer-cache-bench", server, place / "ours")),
                ("huggingface_hub", lambda: rival(server, place / "theirs")),
            ]
            for name, load in both if turn % 2 == 0 else both[::-1]:
                server.requests.clear()
                results[name].append(load())
                requests[name] = len(server.requests)
        server.shutdown()
        paged = None
        if page:
            tiny = package(4000, target / "twinfer", place / "tiny")
            paged = in_page(server.registry, tiny, rounds, place / "page.json")
    merged = {"megabytes": megabytes, "requests of a cold load and a warm one": requests}
    for name, all_rounds in results.items():
        steps = all_rounds[0]["milliseconds"]
        merged[name] = {step: round(statistics.median(r["milliseconds"][step][0] for r in all_rounds), 3) for step in steps}
        merged[name]["bytes"] = all_rounds[0]["bytes"]
    if paged:
        merged["page"] = paged
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,100", help="MB, with a comma between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="release", help="folder of target/ with the programs")
    parser.add_argument("--no-page", action="store_true", help="only on the host")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/cache.json")
    parser.add_argument("--scratch", type=Path, help="where to work; the disk matters")
    args = parser.parse_args()
    import huggingface_hub

    target = ROOT / "target" / args.profile
    results = [measure(int(size), args.rounds, target, args.scratch, not args.no_page) for size in args.sizes.split(",")]
    document = {
        "profile": args.profile,
        "rounds": args.rounds,
        "huggingface_hub": huggingface_hub.__version__,
        "python": platform.python_version(),
        "machine": {"system": platform.system(), "processors": os.cpu_count()},
        "results": results,
    }
    args.output.write_text(json.dumps(document, indent=2) + "\n")
    for result in results:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
