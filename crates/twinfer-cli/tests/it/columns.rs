//! A model with an input for each column takes records (see `data/columns/columns_reference.py`).

use serde_json::{Value as Json, json};

use crate::support::Place;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/columns");

fn answers() -> Vec<Json> {
    let text = std::fs::read(format!("{FOLDER}/answers.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A number of single precision beside one of double: the graph computes in the first.
fn near(got: &Json, want: &Json) -> bool {
    (got.as_f64().unwrap() - want.as_f64().unwrap()).abs() < 1e-6
}

#[track_caller]
fn answers_as_scikit_learn(place: &Place, model: &str) {
    let cases = answers();
    assert!(cases.len() > 3);
    for case in &cases {
        let input = format!("record={}", case["record"]);
        let outputs = &place.json(&["predict", model, "--input", &input])["outputs"];
        assert_eq!(outputs["label"], case["label"], "{case}");
        for (label, probability) in case["probabilities"].as_object().unwrap() {
            let got = &outputs["probabilities"][label];
            assert!(near(got, probability), "{case}: {outputs}");
        }
    }
}

#[test]
fn a_model_file_of_columns_takes_records() {
    let place = Place::new();
    place.good(&["pack", &format!("{FOLDER}/model.onnx"), "--name", "columns"]);
    answers_as_scikit_learn(&place, "columns");
    let bad = |record: Json, text: &str| {
        let input = format!("record={record}");
        let said = place.bad(
            &["predict", "columns", "--input", &input],
            "invalid_record",
            1,
        );
        assert!(said.contains(text), "{said}");
    };
    let full = json!({"age": 3, "fare": 1.5, "city": "Bern", "children": 1});
    let with = |key: &str, value: Json| {
        let mut record = full.clone();
        record[key] = value;
        record
    };
    // Only the fare is filled in by the graph.
    bad(with("age", Json::Null), "column `age` is null");
    bad(with("city", json!(3000)), "column `city`: expected a text");
    bad(
        with("children", json!("two")),
        "column `children`: expected a number",
    );
    bad(with("town", json!("Bern")), "does not take");
}

#[test]
fn the_recipe_of_such_a_file_has_its_pipeline() {
    let place = Place::new();
    let model = format!("{FOLDER}/model.onnx");
    place.good(&[
        "pack",
        &model,
        "--name",
        "columns",
        "--write-recipe",
        "recipe",
    ]);
    let recipe = std::fs::read_to_string(place.path("recipe/twinfer.toml")).unwrap();
    assert!(recipe.contains("[[pipeline.input.columns]]"), "{recipe}");
    place.good(&["pack", "recipe"]);
    answers_as_scikit_learn(&place, "columns");
}
