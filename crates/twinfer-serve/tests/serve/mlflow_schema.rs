//! The signature that MLflow saved with a model, enforced. `tests/clients/mlflow_client.py` sends the same
//! to MLflow's own server.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Answer, Fixture};

/// `1 a + 2 b + 3 c`, as an array `X` of three columns; its output is `variable`.
fn dose(more: &str) -> Fixture {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../twinfer-cli/tests/data/mlflow/onnx-tensor/model.onnx"
    );
    let fixture = Fixture::new(&[]);
    fixture.pack_file("dose", &std::fs::read(Path::new(file)).unwrap(), more);
    fixture
}

const RECORD: &str = r#"
[pipeline.input]
kind = "record"
name = "record"
tensor = "X"
dtype = "FP32"
columns = [{ name = "a" }, { name = "b" }, { name = "c", missing = "nan" }]
[[pipeline.outputs]]
kind = "tensor"
name = "variable"
tensor = "variable"
"#;

const COLUMNS: &str = r#"
[mlflow.inputs]
columns = [
  { name = "a", type = "long" },
  { name = "b", type = "double" },
  { name = "c", type = "float", required = false },
  { name = "note", type = "string", required = false },
]
"#;

fn columns(flavor: &str, more: &str) -> Fixture {
    dose(&format!(
        "{RECORD}[mlflow]\nflavor = \"{flavor}\"\n{more}{COLUMNS}"
    ))
}

fn invoke(fixture: &Fixture, body: &Value) -> Answer {
    fixture.post_json("/invocations", body)
}

#[track_caller]
fn refused(answer: &Answer, name: &str, code: &str) -> String {
    let message = answer.expect_error_in(400, code);
    assert_eq!(answer.json()["error_code"], name);
    message
}

#[test]
fn cells_are_cast_to_the_types_of_the_signature() {
    let fixture = columns("sklearn", "");
    for (row, number) in [
        (json!({"a": 1, "b": 2, "c": 3}), 14.0),
        (json!({"a": "1", "b": "2", "c": "3e0"}), 14.0),
        (json!({"a": 1.9, "b": true, "c": false}), 3.0),
        (
            json!({"a": -1.9, "b": 0, "c": 0, "note": 4, "more": {}}),
            -1.0,
        ),
        (json!({"a": true, "b": 0, "c": 0, "note": null}), 1.0),
    ] {
        for body in [
            json!({"dataframe_records": [row]}),
            json!({"instances": [row]}),
            json!({"inputs": [row]}),
            json!({"inputs": row}),
        ] {
            let answer = invoke(&fixture, &body).ok();
            assert_eq!(answer, json!({"predictions": [number]}), "{body}");
        }
    }
    let csv = "b,a,c\n2,1,3\n,1,0\n";
    let answer = fixture.post("/invocations", "text/csv", csv);
    // The second row has no `b`, and the model does not fill it.
    refused(&answer, "BAD_REQUEST", "invalid_record");
    let csv = fixture.post("/invocations", "text/csv", "note,b,a,c\nx,2,1,3\n");
    assert_eq!(csv.ok(), json!({"predictions": [14.0]}));
    // Without a line of names, as SageMaker sends it: the columns are in the order of the signature.
    let bare = fixture.post("/invocations", "text/csv;header=absent", "1,2,3,x\n");
    assert_eq!(bare.ok(), json!({"predictions": [14.0]}));

    for row in [
        json!({"a": "often", "b": 1, "c": 1}),
        json!({"a": "1.5", "b": 1, "c": 1}),
        json!({"a": null, "b": 1, "c": 1}),
        json!({"a": 1e300, "b": 1, "c": 1}),
        json!({"a": 1, "b": "old", "c": 1}),
        json!({"a": 1, "b": [1], "c": 1}),
        json!({"a": 1, "b": 1, "c": 1, "note": {}}),
    ] {
        let answer = invoke(&fixture, &json!({"dataframe_records": [row]}));
        let message = refused(&answer, "BAD_REQUEST", "invalid_record");
        assert!(message.contains("row 0: column"), "{message}");
    }
    let answer = fixture.post("/invocations", "text/csv", "a,b,c\n1.5,1,1\n");
    refused(&answer, "BAD_REQUEST", "invalid_record");
}

#[test]
fn what_is_required_must_be_there() {
    let fixture = columns("sklearn", "");
    let missing = json!({"dataframe_records": [{"b": 1, "x": 2}]});
    let message = refused(
        &invoke(&fixture, &missing),
        "INVALID_PARAMETER_VALUE",
        "missing_input",
    );
    assert!(
        message.contains(
            r#"Model is missing inputs ["a"]. Note that there were extra inputs: ["x"]."#
        ),
        "{message}"
    );
    let unnamed = json!({"dataframe_split": {"data": [[1, 2, 3]]}});
    refused(
        &invoke(&fixture, &unnamed),
        "INVALID_PARAMETER_VALUE",
        "missing_input",
    );
    let lists = json!({"instances": [[1, 2, 3]]});
    refused(
        &invoke(&fixture, &lists),
        "INVALID_PARAMETER_VALUE",
        "missing_input",
    );
}

#[test]
fn the_flavor_decides_what_an_answer_is() {
    let frame = json!({"dataframe_records": [{"a": 1, "b": 2, "c": 3}, {"a": 0, "b": 1, "c": 0}]});
    let sklearn = invoke(&columns("sklearn", ""), &frame).ok();
    assert_eq!(sklearn, json!({"predictions": [14.0, 2.0]}));
    let onnx = invoke(&columns("onnx", ""), &frame).ok();
    assert_eq!(
        onnx,
        json!({"predictions": [{"variable": 14.0}, {"variable": 2.0}]})
    );

    let tensors = |flavor: &str, spec: &str| {
        dose(&format!(
            "[mlflow]\nflavor = \"{flavor}\"\n[mlflow.inputs]\ntensors = [{spec}]\n"
        ))
    };
    let array = r#"{ dtype = "float64", shape = [-1, 3] }"#;
    let body = json!({"inputs": [[1, "2", 3]]});
    let onnx = invoke(&tensors("onnx", array), &body).ok();
    assert_eq!(onnx, json!({"predictions": {"variable": [[14.0]]}}));
    let sklearn = tensors("sklearn", array);
    for body in [
        body,
        json!({"instances": [[true, 2, 3]]}),
        json!({"dataframe_split": {"data": [[1, 2, 3]]}}),
    ] {
        assert_eq!(invoke(&sklearn, &body).ok(), json!({"predictions": [14.0]}));
    }
    // Stricter than the model file, which has any number of rows.
    let one = tensors(
        "onnx",
        r#"{ name = "X", dtype = "float32", shape = [1, 3] }"#,
    );
    let rows = json!({"inputs": {"X": [[1, 2, 3], [1, 2, 3]]}});
    refused(
        &invoke(&one, &rows),
        "INVALID_PARAMETER_VALUE",
        "wrong_shape",
    );
    let other = json!({"inputs": {"Y": [[1, 2, 3]]}});
    refused(
        &invoke(&one, &other),
        "INVALID_PARAMETER_VALUE",
        "missing_input",
    );
    let text = json!({"inputs": {"X": [["old", 2, 3]]}});
    refused(&invoke(&one, &text), "BAD_REQUEST", "invalid_input");
    let wide = json!({"dataframe_split": {"data": [[1, 2]]}});
    refused(
        &invoke(&sklearn, &wide),
        "INVALID_PARAMETER_VALUE",
        "wrong_shape",
    );
}

#[test]
fn parameters_are_checked() {
    let params = r#"params = [
  { name = "top", type = "long", default = 3 },
  { name = "rate", type = "double" },
  { name = "names", type = "string", default = ["a"], list = true },
]
"#;
    let fixture = columns("sklearn", params);
    let ask = |params: Value| {
        let body = json!({"dataframe_records": [{"a": 1, "b": 2, "c": 3}], "params": params});
        invoke(&fixture, &body)
    };
    for good in [
        json!(null),
        json!({}),
        json!({"top": 5, "rate": 1}),
        json!({"names": []}),
        json!({"unknown": {}}),
    ] {
        assert_eq!(ask(good.clone()).status, 200, "{good}");
    }
    for bad in [
        json!([1]),
        json!({"top": 1.0}),
        json!({"top": true}),
        json!({"rate": "1"}),
        json!({"names": "a"}),
        json!({"names": ["a", 1]}),
    ] {
        refused(&ask(bad), "INVALID_PARAMETER_VALUE", "invalid_parameter");
    }
    let both = ask(json!({"top": "x", "rate": "y"}));
    let message = refused(&both, "INVALID_PARAMETER_VALUE", "invalid_parameter");
    assert!(
        message.contains("`top` is long") && message.contains("`rate` is double"),
        "{message}"
    );
}
