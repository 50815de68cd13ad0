//! What a container of Azure Machine Learning must do.

use serde_json::{Value, json};

use crate::cases::{cells, names, only_risk, records};
use crate::support::{Fixture, recipe};

#[test]
fn rows_in_the_forms_of_its_clients() {
    let fixture = only_risk();
    let (rows, labels): (Vec<Value>, Vec<String>) = records().into_iter().unzip();
    let lists: Vec<Value> = rows.iter().map(|row| json!(cells(row))).collect();
    let labels_of = |answers: &Value| {
        let answers = answers.as_array().unwrap().iter();
        json!(
            answers
                .map(|answer| answer["label"].clone())
                .collect::<Vec<_>>()
        )
    };
    for body in [json!(rows), json!({"data": rows}), json!({"data": lists})] {
        assert_eq!(
            labels_of(&fixture.post_json("/score", &body).ok()),
            json!(labels)
        );
    }
    let body = json!({"Inputs": {"data": rows}, "GlobalParameters": 1.0});
    assert_eq!(
        labels_of(&fixture.post_json("/score", &body).ok()["Results"]),
        json!(labels)
    );
    // As for models of MLflow without a scoring script.
    let split = json!({"columns": names(&rows[0]), "index": [0, 1, 2], "data": lists});
    for data in [split, json!(rows)] {
        let answer = fixture
            .post_json("/score", &json!({"input_data": data}))
            .ok();
        assert_eq!(answer, json!(labels));
    }
    // What `predict` takes.
    assert_eq!(
        fixture.post_json("/score", &rows[0]).ok()["label"],
        labels[0]
    );
}

#[test]
fn ids_go_back() {
    let fixture = only_risk();
    let headers = [
        ("content-type", "application/json"),
        ("x-ms-client-request-id", "a"),
        ("x-ms-request-id", "b"),
    ];
    let answer = fixture.call("POST", "/score", &headers, records()[0].0.to_string());
    assert_eq!(answer.headers["x-ms-client-request-id"], "a");
    assert_eq!(answer.headers["x-ms-request-id"], "b");
}

#[test]
fn its_description() {
    let swagger = only_risk().get("/swagger.json").ok();
    assert!(swagger["paths"]["/score"]["post"].is_object());
}

#[test]
fn a_picture() {
    let fixture = Fixture::new(&["face-detector"]);
    let jpeg = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    let answer = fixture.post("/score", "image/jpeg", jpeg).ok();
    assert!(answer["boxes"].as_array().unwrap().len() > 2);
}

#[test]
fn what_is_wrong_is_said() {
    let fixture = only_risk();
    for (body, code) in [
        (json!(1), "invalid_request"),
        (json!([[1, 2]]), "invalid_record"),
        (json!({"data": [{"no column": 1}]}), "invalid_record"),
        (json!({"data": [], "parameters": "x"}), "invalid_parameter"),
        (json!({"Inputs": {"data": 1}}), "invalid_request"),
        (json!({"input_data": 1}), "invalid_request"),
        (
            json!({"input_data": {"columns": ["a"], "data": 1}}),
            "invalid_request",
        ),
    ] {
        fixture.post_json("/score", &body).expect_error(400, code);
    }
    fixture
        .post("/score", "application/json", "{")
        .expect_error(400, "invalid_json");
    fixture
        .post("/score", "text/html", "{")
        .expect_error(415, "unsupported_media_type");
    assert_eq!(fixture.get("/score").status, 405);
}
