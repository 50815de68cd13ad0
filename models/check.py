"""Checks that the sample models are what their scripts make.

For each model: golden.json is made again by the reference libraries and compared, number by
number, within the tolerance of each case; what twinfer.toml says is compared with the sources
it was taken from; a model that is trained here is trained again and compared.

Run: python models/check.py [MODEL ...]
Needs models/requirements.txt. Exit code 1 when anything differs.
"""

import importlib.util
import json
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType

MODELS = Path(__file__).resolve().parent
sys.path.insert(0, str(MODELS))
import recipes  # noqa: E402

# What describes a case rather than being expected of it: `reason` has a measured number in it.
TEXT = ("reason",)


def script(folder: Path) -> ModuleType:
    path = next(path for path in (folder / "train.py", folder / "reference.py") if path.exists())
    spec = importlib.util.spec_from_file_location(folder.name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_golden(folder: Path, module: ModuleType) -> list[str]:
    """golden.json against what the script makes now."""
    stored = json.loads((folder / "golden.json").read_text(encoding="utf-8"))["cases"]
    made = json.loads(json.dumps(module.golden()["cases"]))
    if [case["name"] for case in stored] != [case["name"] for case in made]:
        return ["golden.json has other cases than the script makes"]
    found = []
    for old, new in zip(stored, made):
        old, new = ({key: value for key, value in case.items() if key not in TEXT} for case in (old, new))
        found += [f"golden.json: {old['name']}{d}" for d in recipes.differences(old, new, old["tolerance"])]
    return found


def check_recipe(folder: Path, recipe: dict, module: ModuleType) -> list[str]:
    """The recipe against the files that it names and the sources that its numbers come from."""
    found = []
    if recipe["package"]["name"] != folder.name:
        found.append("package.name is not the name of the folder")
    model = (folder / recipe["model"]["file"]).read_bytes()
    if "source" in recipe and recipe["source"]["sha256"] != recipes.sha256(model):
        found.append("source.sha256 is not that of the model file")
    if hasattr(module, "check"):
        found += module.check(recipe, model)
    elif "source" not in recipe:
        found += check_trained(folder, recipe, model, module)
    if folder.name == "file-type":
        found += check_file_type(folder, recipe, module)
    if folder.name == "face-detector":
        found += check_face_detector(recipe, module)
    return [f"twinfer.toml: {problem}" for problem in found]


def check_trained(folder: Path, recipe: dict, model: bytes, module: ModuleType) -> list[str]:
    import tumour

    data, pipeline, made = module.make()
    found = []
    if [column["name"] for column in recipe["pipeline"]["input"]["columns"]] != data.columns:
        found.append("the columns are not those of the data")
    if recipe["training"]["data"][0]["digest"] != f"sha256:{tumour.DATA_SHA256}":
        found.append("training.data is not the data of tumour.py")
    stored = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    fresh = tumour.metrics(pipeline, made, data)
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("test", "test_with_a_tenth_missing"):
        for name in ("accuracy", "roc_auc", "brier", "malignant_found", "benign_found"):
            if f"{stored[part][name]:.4f}" not in card:
                found.append(f"README.md does not have {part}.{name} of metrics.json")
    found += [f"metrics.json{d}" for d in recipes.differences(stored, fresh, {"relative": 0.0, "absolute": 1e-3})]
    if made != model:
        # Other processors have other vector units, which add in another order.
        print(f"  {folder.name}: model.onnx has other bytes when trained here; its answers are compared")
        rows = data.test_with_gaps()
        for old, new in zip(*(tumour.run(onnx, rows)[1] for onnx in (model, made)), strict=True):
            if any(abs(old[key] - new[key]) > 1e-3 for key in old):
                return [*found, "model.onnx is not what train.py makes"]
    return found


def check_file_type(folder: Path, recipe: dict, module: ModuleType) -> list[str]:
    magika = module.Magika(folder)
    config, pipeline = magika.config, recipe["pipeline"]
    given, decision = pipeline["input"], pipeline["outputs"][0]
    pairs = {
        "begin": (given["begin"], config["beg_size"]),
        "end": (given["end"], config["end_size"]),
        "block": (given["block"], config["block_size"]),
        "padding": (given["padding"], config["padding_token"]),
        "short.below": (given["short"]["below"], config["min_file_size_for_dl"]),
        "threshold": (decision["threshold"], config["medium_confidence_threshold"]),
        "thresholds": (decision["thresholds"], config["thresholds"]),
        "overwrite": (decision["overwrite"], config["overwrite_map"]),
        "labels.json": (json.loads((folder / "labels.json").read_text())["content_types"], magika.labels()),
    }
    return [f"{name} is not as in config.min.json" for name, (ours, theirs) in pairs.items() if ours != theirs]


def check_face_detector(recipe: dict, module: ModuleType) -> list[str]:
    steps, boxes = recipe["pipeline"]["input"]["steps"], recipe["pipeline"]["outputs"][0]
    ours = (steps[0]["resize"]["width"], steps[0]["resize"]["height"], boxes["score_threshold"], boxes["iou_threshold"])
    same = ours == (module.WIDTH, module.HEIGHT, module.SCORE, module.OVERLAP)
    return [] if same else ["size or thresholds are not those of reference.py"]


def main(names: list[str]) -> int:
    folders = sorted(path.parent for path in MODELS.glob("*/twinfer.toml"))
    if unknown := set(names) - {folder.name for folder in folders}:
        print(f"no such model: {', '.join(sorted(unknown))}")
        return 1
    passed = failed = 0
    for folder in folders:
        if names and folder.name not in names:
            continue
        start = time.monotonic()
        module = script(folder)
        recipe = tomllib.loads((folder / "twinfer.toml").read_text(encoding="utf-8"))
        problems = check_recipe(folder, recipe, module) + check_golden(folder, module)
        failed += bool(problems)
        passed += not problems
        verdict = f"{len(problems)} differences" if problems else "as its script makes it"
        print(f"{folder.name}: {verdict} ({time.monotonic() - start:.1f} s)")
        for problem in problems[:20]:
            print(f"  {problem}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
