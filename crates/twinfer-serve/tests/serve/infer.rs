//! Tensors in, tensors out.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Answer, SHARED};

const TYPES: &str = "/v2/models/types/infer";

fn inputs() -> Value {
    json!([
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 281474976710656i64]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
    ])
}

fn with_header(path: &str, length: usize, body: Vec<u8>) -> Answer {
    let request =
        http::Request::post(path).header("Inference-Header-Content-Length", length.to_string());
    SHARED.send(request.body(Bytes::from(body)).unwrap())
}

fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[test]
fn json_in_and_out() {
    let answer = SHARED
        .post_json(TYPES, &json!({"id": "x-1", "inputs": inputs()}))
        .ok();
    assert_eq!(
        (
            &answer["model_name"],
            &answer["model_version"],
            &answer["id"]
        ),
        (&json!("types"), &json!("1.0.0"), &json!("x-1"))
    );
    assert!(
        answer["parameters"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(
        output(&answer, "i2"),
        &json!({"name": "i2", "datatype": "INT64", "shape": [3], "data": [2, -4, 562949953421312i64]})
    );
    assert_eq!(output(&answer, "nb")["data"], json!([false, true]));
    assert_eq!(output(&answer, "d2")["data"], json!([0.25]));
}

#[test]
fn a_missing_content_type_and_a_version_are_fine() {
    let body = json!({"inputs": inputs()}).to_string();
    let request = http::Request::post("/v2/models/types/versions/1.0.0/infer")
        .body(Bytes::from(body))
        .unwrap();
    let answer = SHARED.send(request).ok();
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 4);
    assert!(answer.get("id").is_none());
}

#[test]
fn chosen_outputs_come_in_the_order_asked() {
    let answer = SHARED
        .post_json(
            TYPES,
            &json!({"inputs": inputs(), "outputs": [{"name": "nb"}, {"name": "i2"}]}),
        )
        .ok();
    let names: Vec<_> = answer["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["nb", "i2"]);
}

#[test]
fn binary_in_and_out() {
    let mut body = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [
            {"name": "i", "shape": [3], "datatype": "INT64", "parameters": {"binary_data_size": 24}},
            {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
            {"name": "d", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
        ],
        "outputs": [{"name": "i2"}, {"name": "nb", "parameters": {"binary_data": false}}, {"name": "d2"}],
    })
    .to_string()
    .into_bytes();
    let length = body.len();
    for value in [1i64, -2, 281474976710656] {
        body.extend_from_slice(&value.to_le_bytes());
    }
    body.extend_from_slice(&0.5f64.to_le_bytes());
    let answer = with_header(TYPES, length, body);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let header: usize = answer.headers["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let json: Value = serde_json::from_slice(&answer.body[..header]).unwrap();
    assert_eq!(output(&json, "i2")["parameters"]["binary_data_size"], 24);
    assert_eq!(output(&json, "nb")["data"], json!([false, true]));
    let rest = &answer.body[header..];
    assert_eq!(
        rest[..24],
        [
            2i64.to_le_bytes(),
            (-4i64).to_le_bytes(),
            562949953421312i64.to_le_bytes()
        ]
        .concat()
    );
    assert_eq!(rest[24..], 0.25f64.to_le_bytes());
}

#[test]
fn a_raw_request_is_the_one_input() {
    let pixels = vec![0u8; 3 * 240 * 320 * 4];
    let answer = with_header("/v2/models/face-detector/infer", 0, pixels);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let header: usize = answer.headers["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let json: Value = serde_json::from_slice(&answer.body[..header]).unwrap();
    let scores = output(&json, "scores");
    assert_eq!(scores["shape"], json!([1, 4420, 2]));
    assert_eq!(answer.body.len() - header, (4420 * 2 + 4420 * 4) * 4);
    with_header(TYPES, 0, vec![0; 8]).expect_error(400, "invalid_request");
}

#[test]
fn strings_and_maps_come_out() {
    let answer = SHARED.post_json(
        "/v2/models/tumour-risk/infer",
        &json!({"inputs": [{"name": input_name(), "shape": [1, 30], "datatype": "FP32", "data": vec![1.0; 30]}]}),
    );
    let json = answer.ok();
    let label = output(&json, "output_label");
    assert_eq!(
        (&label["datatype"], &label["shape"]),
        (&json!("BYTES"), &json!([1]))
    );
    assert!(label["data"][0].is_string());
    let probabilities = output(&json, "output_probability");
    assert_eq!(probabilities["shape"], json!([1, 2]));
    assert_eq!(
        probabilities["parameters"]["map_keys"],
        r#"["benign","malignant"]"#
    );
}

fn input_name() -> Value {
    SHARED.get("/v2/models/tumour-risk").ok()["inputs"][0]["name"].clone()
}
