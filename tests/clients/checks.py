"""What the scripts in this folder share: their options, their checks, and their last line.

    import checks

    here = checks.options()

    @checks.check("the server is alive")
    def _():
        assert get(f"{here.url}/ping").status == 200

    checks.finish()
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(__file__).resolve().parent / "data"

_passed = 0
_failed = 0


@dataclasses.dataclass
class Options:
    """Where the server is, and what it serves."""

    address: str
    registry: pathlib.Path
    twinfer: pathlib.Path

    @property
    def url(self):
        return f"http://{self.address}"


def options():
    """Reads the command line that `cargo xtask test --only clients` gives every script."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--address", required=True, help="HOST:PORT of a running server")
    parser.add_argument("--registry", required=True, type=pathlib.Path, help="the folder that it serves")
    parser.add_argument("--twinfer", required=True, type=pathlib.Path, help="the command")
    given = parser.parse_args()
    return Options(given.address, given.registry, given.twinfer)


def check(name):
    """Runs a function as a check: it passes unless it raises."""

    def run(function):
        global _passed, _failed
        try:
            function()
        # A client may raise anything; schemathesis raises groups that are no `Exception`.
        except (Exception, BaseExceptionGroup) as error:
            _failed += 1
            # The line of the script itself, not one inside of a client.
            own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == sys.argv[0]]
            where = f" (line {own[-1].lineno}: {own[-1].line})" if own else ""
            parts = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
            text = " ".join(" ".join(f"{type(part).__name__}: {part}".split()) for part in parts)
            print(f"not ok {name}: {text[:2000]}{where}", flush=True)
        else:
            _passed += 1
            print(f"ok {name}", flush=True)
        return function

    return run


def expect(found, wanted):
    """Says what was found where that is not what was wanted."""
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def finish():
    """Prints the last line, and ends with a failure where there was one."""
    print(f"{_passed} passed, {_failed} failed", flush=True)
    sys.exit(1 if _failed or not _passed else 0)


@dataclasses.dataclass
class Answer:
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def _lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def request(url, body=None, headers=None, method=None):
    """One request with no client's manners: errors are answers, too."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    made = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    if data is not None and not any(name.lower() == "content-type" for name in headers or {}):
        made.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(made, timeout=60) as answer:
            return Answer(answer.status, _lower(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), error.read())


def pack(here, what, *more):
    """Packs a model file or a recipe into the registry that is served."""
    ran = subprocess.run(
        [here.twinfer, "pack", what, "--registry", here.registry, *more], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def until(done, seconds=60):
    """Waits for what the server does by itself, such as following its registry."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
