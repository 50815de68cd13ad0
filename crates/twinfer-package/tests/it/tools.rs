//! Tests that need tools of others: the JSON schema of ModelPack with Python's `jsonschema`,
//! `onnxruntime` on an unpacked package, and a real fine-tuned pair of scikit-learn.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinfer_package::{MemoryStore, PackOptions, Package, PackageDiff, Parts, Store, pack, unpack};

/// Says that a test could not run.
pub fn skipped(test: &str, missing: &str) {
    assert!(
        std::env::var_os("TWINFER_TEST_ALL").is_none(),
        "{test}: {missing} is missing"
    );
    // Not captured, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing} is missing");
}

/// Runs Python with the packages of `tests/python/requirements.txt`; `None` when there is none,
/// or it lacks one of these modules.
fn python(test: &str, modules: &str, arguments: &[&str]) -> Option<String> {
    let Some(program) = std::env::var_os("TWINFER_TEST_PYTHON") else {
        skipped(test, "TWINFER_TEST_PYTHON");
        return None;
    };
    let import = Command::new(&program)
        .args(["-c", &format!("import {modules}")])
        .output()
        .unwrap();
    if !import.status.success() {
        skipped(test, &format!("one of the Python modules {modules}"));
        return None;
    }
    let output = Command::new(&program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const VALIDATE: &str = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
for path in sys.argv[2:]:
    config = json.load(open(path))
    checker.validate(config)
    broken = dict(config, extra=1)
    assert not checker.is_valid(broken)
    print('valid')
";

#[test]
fn configurations_fit_the_schema_of_modelpack() {
    let folder = tempfile::tempdir().unwrap();
    let schema = root().join("crates/twinfer-package/tests/data/modelpack/config-schema.json");
    let mut arguments = vec!["-c".to_owned(), VALIDATE.into(), text(&schema).to_owned()];
    let store = MemoryStore::new();
    let samples = [
        "face-detector",
        "file-type",
        "tumour-risk",
        "tumour-risk-mlp",
        "tumour-risk-forest",
    ];
    for name in samples {
        let options = PackOptions {
            self_test: false,
            ..PackOptions::default()
        };
        pack(&root().join("models").join(name), &store, options).unwrap();
        let package =
            Package::open_parts(&store, &name.parse().unwrap(), Parts::Description).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, store.blob(&package.manifest().config).unwrap()).unwrap();
        arguments.push(text(&path).to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = python(
        "configurations_fit_the_schema_of_modelpack",
        "jsonschema",
        &arguments,
    );
    if let Some(said) = said {
        assert_eq!(said.matches("valid").count(), samples.len(), "{said}");
    }
}

const RUN: &str = "
import sys, numpy, onnx, onnxruntime
x = numpy.arange(240 * 320 * 3, dtype=numpy.float32).reshape(1, 3, 240, 320) % 7
answers = [onnxruntime.InferenceSession(path).run(None, {'input': x}) for path in sys.argv[1:]]
for path in sys.argv[1:]:
    onnx.checker.check_model(path)
    onnx.load(path)
for a, b in zip(*answers):
    assert (a == b).all()
print('equal')
";

#[test]
fn an_unpacked_package_is_a_model_for_onnxruntime() {
    let store = MemoryStore::new();
    let recipe = root().join("models/face-detector");
    let options = PackOptions {
        self_test: false,
        ..PackOptions::default()
    };
    pack(&recipe, &store, options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("unpacked");
    let package = unpack(&store, &"face-detector".parse().unwrap(), &target, false).unwrap();
    assert!(package.layers().len() > 10);
    assert!(target.join("weights").is_dir());
    let (one, other) = (
        target.join("model.onnx"),
        recipe.join("version-RFB-320.onnx"),
    );
    let test = "an_unpacked_package_is_a_model_for_onnxruntime";
    let arguments = ["-c", RUN, text(&one), text(&other)];
    if let Some(said) = python(test, "onnx, onnxruntime, numpy", &arguments) {
        assert_eq!(said.trim(), "equal");
    }
}

#[test]
fn a_fine_tuned_head_is_all_that_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("tests/models/fine_tuned.py");
    let test = "a_fine_tuned_head_is_all_that_is_loaded";
    let arguments = [text(&script), text(folder.path())];
    let Some(said) = python(test, "sklearn, skl2onnx, onnx", &arguments) else {
        return;
    };
    let store = MemoryStore::new();
    for version in ["1.0.0", "1.1.0"] {
        pack(&folder.path().join(version), &store, PackOptions::default()).unwrap();
    }
    let open = |tag: &str| {
        let reference = format!("digits:{tag}").parse().unwrap();
        Package::open_parts(&store, &reference, Parts::Description).unwrap()
    };
    let diff = PackageDiff::of(&open("1.0.0"), &open("1.1.0"));
    // For the report: what a puller of the new version loads.
    println!("{said}{:?} of {:?}", diff.to_load, diff.total);
    assert!(!diff.breaking, "{:?}", diff.changes);
    assert!(diff.total.bytes > 2_000_000, "{:?}", diff.total);
    assert!(
        diff.to_load.bytes < diff.total.bytes / 20,
        "{:?}",
        diff.to_load
    );
    let removed = diff.layers.iter().filter(|l| l.new.is_none()).count();
    assert!(removed <= 1, "{:?}", diff.layers);
}
