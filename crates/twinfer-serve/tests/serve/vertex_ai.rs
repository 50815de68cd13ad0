//! What a container of Vertex AI must do.

use serde_json::{Value, json};

use crate::cases::{RISK, cells, only_risk, records};
use crate::support::Fixture;

const DEFAULT: &str = "/v1/endpoints/12/deployedModels/34:predict";

#[test]
fn predictions_at_the_default_routes() {
    let fixture = only_risk();
    assert_eq!(
        fixture.get("/v1/endpoints/12/deployedModels/34").status,
        200
    );
    let (rows, labels): (Vec<Value>, Vec<String>) = records().into_iter().unzip();
    let lists: Vec<Value> = rows.iter().map(|row| json!(cells(row))).collect();
    for instances in [rows, lists] {
        let answer = fixture
            .post_json(DEFAULT, &json!({"instances": instances, "parameters": {}}))
            .ok();
        let found: Vec<&Value> = answer["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["label"])
            .collect();
        assert_eq!(json!(found), json!(labels));
        assert_eq!(answer["deployedModelId"], "34");
        assert_eq!(
            (&answer["model"], &answer["modelVersionId"]),
            (&json!(RISK), &json!("1.0.0"))
        );
    }
}

#[test]
fn predictions_at_the_routes_of_the_environment() {
    let fixture = Fixture::with(&[RISK], |options| {
        options.health_route = Some("/health/of/it".into());
        options.predict_route = Some("/my/predict".into());
    });
    assert_eq!(fixture.get("/health/of/it").status, 200);
    let (record, label) = records().remove(0);
    let answer = fixture
        .post_json("/my/predict", &json!({"instances": [record]}))
        .ok();
    assert_eq!(answer["predictions"][0]["label"], label);
    assert!(answer.get("deployedModelId").is_none());
    // The others are as they were.
    assert_eq!(fixture.get("/v2").status, 200);
    assert_eq!(fixture.get("/my/predict").status, 405);
}

#[test]
fn what_is_wrong_is_said() {
    let fixture = only_risk();
    for (body, code) in [
        (json!({}), "invalid_request"),
        (json!([]), "invalid_request"),
        (json!({"instances": 1}), "invalid_request"),
        (json!({"instances": [{"no column": 1}]}), "invalid_record"),
        (json!({"instances": [[1, 2]]}), "invalid_record"),
        (json!({"instances": [], "parameters": 1}), "invalid_request"),
        (
            json!({"instances": [records()[0].0], "parameters": {"p": 1}}),
            "unknown_parameter",
        ),
    ] {
        fixture.post_json(DEFAULT, &body).expect_error(400, code);
    }
    fixture
        .post(DEFAULT, "application/json", "{")
        .expect_error(400, "invalid_json");
    // Not healthy without a model, or with several and none of them the default.
    for recipes in [&[][..], &[RISK, "types"]] {
        let answer = Fixture::new(recipes).get("/v1/endpoints/1/deployedModels/2");
        answer.expect_error(404, "unknown_model");
    }
    fixture
        .post(
            &DEFAULT.replace("predict", "explain"),
            "application/json",
            "{}",
        )
        .expect_error(404, "not_found");
}
