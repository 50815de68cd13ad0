//! MLflow's scoring server. `tests/clients/mlflow_client.py` compares with MLflow itself.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::onnx_file::{Type, dict_vectorizer, identity};
use crate::support::{Answer, Fixture, recipe};
use crate::tensorflow::add;

fn data(name: &str) -> PathBuf {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../twinfer-cli/tests/data");
    Path::new(data).join(name)
}

fn of_file(name: &str, file: &Path) -> Fixture {
    let fixture = Fixture::new(&[]);
    add(&fixture, file, name, "1.0.0");
    fixture
}

fn of_bytes(file: &[u8]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).unwrap();
    of_file("model", &path)
}

/// A record of four columns: numbers, a whole number, and a text.
static PEOPLE: LazyLock<Fixture> = LazyLock::new(|| of_file("people", &data("columns/model.onnx")));
/// `1 a + 2 b + 3 c` of a matrix.
static DOSE: LazyLock<Fixture> =
    LazyLock::new(|| of_file("dose", &data("mlflow/onnx-tensor/model.onnx")));
static RISK: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(&["tumour-risk"]));
static FILE: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(&["file-type"]));
static TYPES: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(&["types"]));

fn invoke(fixture: &Fixture, body: &Value) -> Answer {
    fixture.post_json("/invocations", body)
}

fn csv(fixture: &Fixture, body: &str) -> Answer {
    fixture.post("/invocations", "text/csv", body.to_owned())
}

#[track_caller]
fn refused(answer: &Answer, status: u16, name: &str, code: &str) -> String {
    let json = answer.json();
    // What breaks the schema of a model has a name of its own among those of status 400.
    let name = match code {
        "missing_input" | "wrong_shape" | "invalid_parameter" => "INVALID_PARAMETER_VALUE",
        _ => name,
    };
    assert_eq!(answer.status, status, "{json}");
    assert_eq!(
        (&json["error_code"], &json["code"]),
        (&json!(name), &json!(code)),
        "{json}"
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    json["message"].as_str().expect("a message").to_owned()
}

fn person(age: f64, city: &str) -> Value {
    json!({"age": age, "fare": 7.25, "city": city, "children": 0})
}

#[test]
fn health_and_version() {
    for path in ["/ping", "/health"] {
        let answer = DOSE.get(path);
        // MLflow answers an empty line, and its clients look at the status.
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        // No model, and no way to tell which of two.
        let empty = Fixture::new(&[]).get(path);
        refused(&empty, 404, "RESOURCE_DOES_NOT_EXIST", "unknown_model");
        let two = Fixture::new(&["types", "untidy"]);
        let message = refused(
            &two.get(path),
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "unknown_model",
        );
        assert!(message.contains("--default-model"), "{message}");
        let chosen = Fixture::with(&["types", "untidy"], |options| {
            options.default_model = Some("untidy".parse().unwrap());
        });
        assert_eq!(chosen.get(path).status, 200);
        let gone = Fixture::with(&["types"], |options| {
            options.default_model = Some("types:9.0.0".parse().unwrap());
        });
        refused(
            &gone.get(path),
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "unknown_version",
        );
        assert_eq!(DOSE.post_json(path, &json!({})).status, 405);
    }
    let version = DOSE.get("/version");
    let requirements = data("../../../../tests/python/requirements.txt");
    let requirements = std::fs::read_to_string(requirements).unwrap();
    let text = std::str::from_utf8(&version.body).unwrap();
    assert!(
        requirements
            .lines()
            .any(|line| line == format!("mlflow=={text}")),
        "{text}"
    );
    assert_eq!(DOSE.get("/invocations").status, 405);
}

#[test]
fn every_form_of_a_table_gives_the_same() {
    let (one, two) = (person(3.0, "Bern"), person(71.5, "Zürich"));
    let columns = json!(["city", "age", "children", "fare"]);
    let rows = json!([["Bern", 3, 0, 7.25], ["Zürich", 71.5, 0, 7.25]]);
    let expected = json!({"predictions": ["no", invoke(&PEOPLE, &json!({"dataframe_records": [two]})).ok()["predictions"][0]]});
    for body in [
        json!({"dataframe_split": {"columns": columns, "data": rows}}),
        json!({"dataframe_split": {"columns": columns, "data": rows, "index": [7, "b"]}}),
        json!({"dataframe_records": [one, two]}),
        json!({"instances": [one, two]}),
        json!({"inputs": [one, two]}),
        json!({"inputs": {"age": [3, 71.5], "fare": [7.25, 7.25], "city": ["Bern", "Zürich"], "children": [0, 0]}}),
        json!({"dataframe_records": [one, two], "params": {"unknown": 1}, "other": 1}),
    ] {
        assert_eq!(invoke(&PEOPLE, &body).ok(), expected, "{body}");
    }
    for body in [
        "city,age,children,fare\nBern,3,0,7.25\nZürich,71.5,0,7.25\n",
        "\u{feff}fare,\"city\",age,children,more\r\n7.25,\"Bern\",3, 0,x\r\n\r\n7.25,Zürich,+71.5,0,\r\n",
    ] {
        assert_eq!(csv(&PEOPLE, body).ok(), expected, "{body}");
    }
    let scalars = json!({"inputs": one});
    assert_eq!(
        invoke(&PEOPLE, &scalars).ok(),
        json!({"predictions": ["no"]})
    );
}

#[test]
fn columns_are_enforced() {
    let with = |name: &str, value: Value| {
        let mut row = person(3.0, "Bern");
        row[name] = value;
        json!({"dataframe_records": [row]})
    };
    let without = |name: &str| {
        let mut row = person(3.0, "Bern");
        row.as_object_mut().unwrap().remove(name);
        json!({"dataframe_records": [row]})
    };
    // Extra columns are ignored, whole numbers become floats and floats that are whole do the
    // other way round; what the model fills may be missing.
    for good in [
        with("pet", json!({"any": ["thing"]})),
        with("age", json!(3)),
        with("children", json!(0.0)),
        with("age", json!(true)),
        with("fare", Value::Null),
        with("fare", json!("NaN")),
        without("fare"),
    ] {
        assert_eq!(invoke(&PEOPLE, &good).status, 200, "{good}");
    }
    for bad in [
        without("children"),
        without("city"),
        with("children", json!(1.5)),
        with("children", json!("1")),
        with("children", Value::Null),
        with("age", json!("old")),
        with("age", json!([3])),
        with("age", json!(1e39)),
        with("city", json!(4)),
    ] {
        refused(&invoke(&PEOPLE, &bad), 400, "BAD_REQUEST", "invalid_record");
    }
    for bad in [
        "age,fare,city,children\n3,7.25,Bern,1.5\n",
        "age,fare,city,children\n3,7.25,Bern\n",
        "age,fare,city,children\nold,7.25,Bern,0\n",
        "age,city,children,x\n3,7.25,Bern,0\n",
    ] {
        refused(&csv(&PEOPLE, bad), 400, "BAD_REQUEST", "invalid_record");
    }
    let hole = "age,fare,city,children\n3,NA,Bern,0\n3,,Bern,0\nTrue,nan,NA,0\n";
    assert_eq!(
        csv(&PEOPLE, hole).ok()["predictions"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    // NaN as Python writes it.
    let body = r#"{"dataframe_split": {"columns": ["age", "fare", "city", "children"], "data": [[3, NaN, "Bern", 0]]}}"#;
    assert_eq!(
        PEOPLE.post("/invocations", "application/json", body).status,
        200
    );
    let body = body.replace("NaN", "-Infinity");
    let infinite = PEOPLE.post("/invocations", "application/json", body);
    refused(&infinite, 400, "BAD_REQUEST", "invalid_record");
}

#[test]
fn tensors_and_their_answers() {
    let rows = json!([[1, 2, 3], [0.5, -1, -0.25]]);
    // What skl2onnx calls `variable` is the number of a regressor: a list, as scikit-learn gives it.
    let expected = json!({"predictions": [14.0, -2.25]});
    for body in [
        json!({"instances": rows}),
        json!({"inputs": rows}),
        json!({"inputs": {"X": rows}}),
        json!({"inputs": {"X": rows, "other": 1}}),
        json!({"instances": [{"X": [1, 2, 3], "y": 0}, {"X": [0.5, -1, -0.25], "y": 0}]}),
        json!({"dataframe_split": {"data": rows}}),
        json!({"dataframe_split": {"columns": ["c", "b", "a"], "data": rows}}),
        json!({"dataframe_split": {"columns": ["X"], "data": [[[1, 2, 3]], [[0.5, -1, -0.25]]]}}),
        json!({"dataframe_records": [{"a": 1, "b": 2, "c": 3}, {"a": 0.5, "b": -1, "c": -0.25}]}),
    ] {
        assert_eq!(invoke(&DOSE, &body).ok(), expected, "{body}");
    }
    assert_eq!(csv(&DOSE, "a,b,c\n1,2,3\n.5,-1e0,-0.25\n").ok(), expected);
    // Other outputs have their names; a table with columns of the names of inputs gives rows.
    let types = json!({"inputs": {"i": [1, -2, 0], "b": [true, false], "d": [0.5]}});
    let answer = invoke(&TYPES, &types).ok();
    assert_eq!(answer["predictions"]["i2"], json!([2, -4, 0]));
    let floats = of_bytes(&identity(&Type::Tensor(1)));
    let bare = r#"{"inputs": [1.5, NaN, -Infinity]}"#;
    let answer = floats.post("/invocations", "application/json", bare);
    assert_eq!(
        &answer.body[..],
        br#"{"predictions": {"y":[1.5,NaN,-Infinity]}}"#
    );
    let table = json!({"dataframe_split": {"columns": ["z", "x"], "data": [["a", 1.5], ["b", 2]]}});
    assert_eq!(
        invoke(&floats, &table).ok(),
        json!({"predictions": [{"y": 1.5}, {"y": 2.0}]})
    );
    assert_eq!(
        csv(&floats, "x\n1.5\n").ok(),
        json!({"predictions": [{"y": 1.5}]})
    );
    let ints = of_bytes(&identity(&Type::Tensor(7)));
    assert_eq!(
        csv(&ints, "x\n-7\n").ok(),
        json!({"predictions": [{"y": -7}]})
    );
    let bools = of_bytes(&identity(&Type::Tensor(9)));
    assert_eq!(
        csv(&bools, "x\nTrue\nfalse\n").ok(),
        json!({"predictions": [{"y": true}, {"y": false}]})
    );
    let words = of_bytes(&dict_vectorizer(&["a", "b"]));
    let maps = json!({"dataframe_records": [{"a": 1}, {"b": 2, "a": 0.5}]});
    let answer = invoke(&words, &maps).ok();
    assert_eq!(
        answer["predictions"],
        json!([[1.0, 0.0], [0.5, 2.0]]),
        "{answer}"
    );
    for (fixture, body, code) in [
        (&*DOSE, json!({"inputs": [[1, 2]]}), "wrong_shape"),
        (&DOSE, json!({"inputs": [1, 2, 3]}), "wrong_shape"),
        (&DOSE, json!({"inputs": [["a", 2, 3]]}), "invalid_input"),
        (&DOSE, json!({"inputs": {"Y": rows}}), "missing_input"),
        (&DOSE, json!({"inputs": 1}), "invalid_request"),
        (
            &DOSE,
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}),
            "wrong_shape",
        ),
        (
            &DOSE,
            json!({"inputs": [{"a": 1, "b": 2, "c": 3}]}),
            "missing_input",
        ),
        (
            &DOSE,
            json!({"instances": [[1, 2, 3], [1, 2]]}),
            "wrong_shape",
        ),
        (
            &DOSE,
            json!({"instances": [{"Y": [1, 2, 3]}]}),
            "missing_input",
        ),
        (&ints, json!({"inputs": [1.5]}), "invalid_input"),
        (&ints, json!({"inputs": ["1"]}), "invalid_input"),
        (&bools, json!({"inputs": [1]}), "invalid_input"),
        (&TYPES, json!({"inputs": [1]}), "invalid_input"),
        (&TYPES, json!({"inputs": {"i": [1, 2, 3]}}), "missing_input"),
        (
            &TYPES,
            json!({"dataframe_split": {"columns": ["i"], "data": [[1]]}}),
            "missing_input",
        ),
    ] {
        refused(&invoke(fixture, &body), 400, "BAD_REQUEST", code);
    }
    refused(&csv(&ints, "x\n1.5\n"), 400, "BAD_REQUEST", "invalid_input");
}

#[test]
fn content_and_parameters() {
    let script = "IyEvYmluL3NoCnNldCAtZXUKZm9yIGYgaW4gKjsgZG8gZWNobyAiJGYiOyBkb25lCg==";
    let expected = invoke(&FILE, &json!({"instances": [{"b64": script}]})).ok();
    assert_eq!(expected["predictions"][0]["label"], "shell", "{expected}");
    for body in [
        json!({"instances": [script]}),
        json!({"inputs": [script]}),
        json!({"inputs": {"content": [script]}}),
        json!({"dataframe_split": {"columns": ["content"], "data": [[script]]}}),
        json!({"dataframe_split": {"data": [[script]]}}),
        json!({"dataframe_records": [{"content": script, "name": "x"}], "params": null}),
        json!({"instances": [script], "params": {"unknown": 1}}),
        json!({"instances": [script], "params": {"prediction_mode": "high_confidence"}}),
    ] {
        assert_eq!(invoke(&FILE, &body).ok(), expected, "{body}");
    }
    assert_eq!(
        csv(&FILE, &format!("name,content\nx,{script}\n")).ok(),
        expected
    );
    for (body, code) in [
        (
            json!({"instances": [script], "params": {"prediction_mode": "wild"}}),
            "invalid_parameter",
        ),
        (
            json!({"instances": [script], "params": [1]}),
            "invalid_parameter",
        ),
        (json!({"instances": ["%"]}), "invalid_input"),
        (json!({"instances": [1]}), "invalid_input"),
        (
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [["", ""]]}}),
            "missing_input",
        ),
    ] {
        refused(&invoke(&FILE, &body), 400, "BAD_REQUEST", code);
    }
    // Parameters of a model that declares none are left out, whatever they are.
    let body = json!({"inputs": [[1, 2, 3]], "params": [1]});
    assert_eq!(invoke(&DOSE, &body).status, 200);
}

#[test]
fn the_form_of_a_request() {
    let row = person(3.0, "Bern");
    for body in [
        json!("text"),
        json!({}),
        json!({"params": {}}),
        json!({"instances": [row], "inputs": [row]}),
        json!({"messages": [{"role": "user", "content": "hi"}]}),
        json!({"dataframe_split": null}),
        json!({"dataframe_split": [[1]]}),
        json!({"dataframe_split": {"columns": ["age"]}}),
        json!({"dataframe_split": {"columns": ["age"], "data": {}}}),
        json!({"dataframe_split": {"columns": "age", "data": [[1]]}}),
        json!({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}),
        json!({"dataframe_split": {"columns": ["age"], "data": [[1]], "index": [1, 2]}}),
        json!({"dataframe_split": {"columns": ["age"], "data": [[1]], "index": 1}}),
        json!({"dataframe_split": {"columns": ["age"], "data": [[1]], "more": 1}}),
        json!({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}),
        json!({"dataframe_records": row}),
        json!({"dataframe_records": [1]}),
        json!({"dataframe_records": [row, 1]}),
        json!({"instances": row}),
        json!({"instances": [row, {"age": 1}]}),
        json!({"instances": [row, 1]}),
        json!({"inputs": {"age": [1, 2], "city": ["Bern"]}}),
        json!({"inputs": {"age": [1], "city": "Bern"}}),
        json!({"inputs": "Bern"}),
    ] {
        let answer = invoke(&PEOPLE, &body);
        assert_eq!(answer.status, 400, "{body}");
        refused(&answer, 400, "BAD_REQUEST", "invalid_request");
    }
    for body in [
        json!({"instances": [[3, 7.25, "Bern", 0]]}),
        json!({"inputs": [[3, 7.25, "Bern", 0]]}),
        json!({"dataframe_split": {"data": [[3, 7.25, "Bern", 0]]}}),
    ] {
        // Columns go by name: their order is nobody's to guess.
        refused(
            &invoke(&PEOPLE, &body),
            400,
            "BAD_REQUEST",
            "invalid_record",
        );
    }
    for body in [
        json!({"dataframe_split": {"columns": ["age", "fare", "city", "children"], "data": []}}),
        json!({"dataframe_records": []}),
        json!({"instances": []}),
    ] {
        let answer = invoke(&PEOPLE, &body);
        assert_eq!(answer.status, 400, "{body}");
    }
    for body in ["", "{", "\u{0}", "{\"inputs\": [nan]}"] {
        let answer = PEOPLE.post("/invocations", "application/json", body);
        refused(&answer, 400, "BAD_REQUEST", "invalid_json");
    }
    let deep = format!("{{\"inputs\": {}", "[".repeat(100_000));
    let answer = PEOPLE.post("/invocations", "application/json", deep);
    refused(&answer, 400, "BAD_REQUEST", "invalid_json");
    for body in [&b""[..], b"age\n\xff\n", b"age\n1,2\n"] {
        let answer = PEOPLE.post("/invocations", "text/csv", body);
        refused(&answer, 400, "BAD_REQUEST", "invalid_input");
    }
    let only_names = csv(&PEOPLE, "age,fare,city,children\n");
    refused(&only_names, 400, "BAD_REQUEST", "invalid_input");
}

#[test]
fn content_types() {
    let body = json!({"dataframe_records": [person(3.0, "Bern")]}).to_string();
    let send = |content_type: &str| PEOPLE.post("/invocations", content_type, body.clone());
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8",
    ] {
        assert_eq!(send(good).status, 200, "{good}");
    }
    let none = http::Request::post("/invocations")
        .body(body.clone().into())
        .unwrap();
    assert_eq!(PEOPLE.send(none).status, 200);
    for bad in [
        "text/plain",
        "application/vnd.apache.parquet",
        "application/json; charset=latin-1",
        "application/json; format=pandas-split",
    ] {
        refused(&send(bad), 415, "BAD_REQUEST", "unsupported_media_type");
    }
    let request = http::Request::post("/invocations")
        .header("content-encoding", "gzip")
        .body(body.into())
        .unwrap();
    refused(
        &PEOPLE.send(request),
        415,
        "BAD_REQUEST",
        "unsupported_media_type",
    );
}

#[test]
fn which_model_answers() {
    let body = json!({"inputs": {"i": [1, -2, 0], "b": [true, false], "d": [0.5]}});
    let two = Fixture::new(&["types", "untidy"]);
    refused(
        &invoke(&two, &body),
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "unknown_model",
    );
    let chosen = Fixture::with(&["types", "untidy"], |options| {
        options.default_model = Some("types".parse().unwrap());
    });
    let answer = invoke(&chosen, &body);
    assert_eq!(answer.ok()["predictions"]["i2"], json!([2, -4, 0]));
    assert_eq!(answer.headers["x-twinfer-model"], "types");
}

#[test]
fn golden_records_have_the_same_labels() {
    let golden = std::fs::read_to_string(recipe("tumour-risk").join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        if let Some(label) = case["expect"]["outputs"].get("label") {
            let body = json!({"dataframe_records": [case["input"]["record"]]});
            assert_eq!(invoke(&RISK, &body).ok(), json!({"predictions": [label]}));
        }
    }
}
