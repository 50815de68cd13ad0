//! Golden examples in the package.

use serde_json::json;
use twinfer_package::{GoldenInput, MemoryStore, Package};

use crate::fixture::{Recipe, golden, reference};

#[test]
fn files_beside_the_recipe_are_put_in() {
    let recipe = Recipe::new();
    let mut examples = golden("mlp_binary", 1);
    let tensors = examples["cases"][0].clone();
    examples["cases"] = json!([tensors, {
        "name": "file",
        "input": {"picture": {"file": "photo.jpg", "media_type": "image/jpeg"}},
        "expect": {"outputs": {}},
    }]);
    recipe.write("golden.json", examples.to_string());
    recipe.write("photo.jpg", b"\xff\xd8\xff");
    let store = MemoryStore::new();
    recipe.pack_untested(&store).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    let GoldenInput::Picture(blob) = &package.golden().unwrap().cases[1].input else {
        panic!("a picture")
    };
    assert_eq!(blob.bytes().unwrap(), b"\xff\xd8\xff");
    assert_eq!(blob.file, None);
    assert_eq!(blob.media_type.as_deref(), Some("image/jpeg"));
}

#[test]
fn a_report_names_every_case_and_what_is_wrong() {
    let recipe = Recipe::new();
    let mut examples = golden("mlp_binary", 3);
    examples["cases"][1]["expect"]["tensors"][1]["keys"] = json!(["no", "yes"]);
    recipe.write("golden.json", examples.to_string());
    let store = MemoryStore::new();
    recipe.pack_untested(&store).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    let report = package.self_test(&package.load().unwrap()).unwrap();
    assert_eq!(
        (report.passed, report.failed, report.cases.len()),
        (2, 1, 3)
    );
    assert_eq!(report.cases[1].differences, 1);
    assert!(report.cases[1].first[0].path.contains("keys"), "{report:?}");
    assert_eq!(
        serde_json::to_value(&report).unwrap()["cases"][0]["passed"],
        true
    );
}
