//! Every type of ONNX through `y = x`: as JSON, as bytes, and what is no tensor as the text of its JSON.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::onnx_file::{Type, dict_vectorizer, file, identity};
use crate::support::{Answer, Fixture, SHARED};

const FLOAT: u64 = 1;
const INT64: u64 = 7;
const STRING: u64 = 8;

fn add(fixture: &Fixture, name: &str, file: &[u8]) {
    fixture.pack_file(name, file, "");
}

/// A record with any keys becomes the map.
const RECORD: &str = r#"
[pipeline.input]
kind = "record"
name = "record"
tensor = "x"
columns = []
[[pipeline.outputs]]
kind = "tensor"
name = "y"
tensor = "y"
"#;

fn infer(fixture: &Fixture, name: &str, datatype: &str, shape: &Value, data: &Value) -> Answer {
    let input = json!({"name": "x", "datatype": datatype, "shape": shape, "data": data});
    fixture.post_json(
        &format!("/v2/models/{name}/infer"),
        &json!({"inputs": [input]}),
    )
}

/// Name and number of the type, the bytes of two elements (of more, where they are several to a byte),
/// and their JSON where they have one.
type Row = (&'static str, u64, usize, Vec<u8>, Option<Value>);

fn table() -> Vec<Row> {
    let bytes = |all: &[&[u8]]| all.concat();
    vec![
        ("BOOL", 9, 2, vec![1, 0], Some(json!([true, false]))),
        ("UINT8", 2, 2, vec![0, 255], Some(json!([0, 255]))),
        (
            "UINT16",
            4,
            2,
            vec![1, 0, 255, 255],
            Some(json!([1, 65535])),
        ),
        (
            "UINT32",
            12,
            2,
            bytes(&[&[1, 0, 0, 0], &[255; 4]]),
            Some(json!([1, u32::MAX])),
        ),
        (
            "UINT64",
            13,
            2,
            bytes(&[&1u64.to_le_bytes(), &[255; 8]]),
            Some(json!([1, u64::MAX])),
        ),
        ("INT8", 3, 2, vec![128, 127], Some(json!([-128, 127]))),
        (
            "INT16",
            5,
            2,
            vec![0, 128, 255, 127],
            Some(json!([-32768, 32767])),
        ),
        (
            "INT32",
            6,
            2,
            bytes(&[&i32::MIN.to_le_bytes(), &i32::MAX.to_le_bytes()]),
            Some(json!([i32::MIN, i32::MAX])),
        ),
        (
            "INT64",
            7,
            2,
            bytes(&[&i64::MIN.to_le_bytes(), &i64::MAX.to_le_bytes()]),
            Some(json!([i64::MIN, i64::MAX])),
        ),
        (
            "FP32",
            1,
            2,
            bytes(&[&0.1f32.to_le_bytes(), &f32::INFINITY.to_le_bytes()]),
            Some(json!([0.10000000149011612, "Infinity"])),
        ),
        (
            "FP64",
            11,
            2,
            bytes(&[&0.1f64.to_le_bytes(), &f64::MAX.to_le_bytes()]),
            Some(json!([0.1, f64::MAX])),
        ),
        (
            "BYTES",
            STRING,
            2,
            bytes(&[&[2, 0, 0, 0], "é".as_bytes(), &[0; 4]]),
            Some(json!(["é", ""])),
        ),
        // 1 and -0.5.
        ("FP16", 10, 2, vec![0, 0x3c, 0, 0xb8], None),
        ("BF16", 16, 2, vec![0x80, 0x3f, 0, 0xbf], None),
        ("FP8E4M3FN", 17, 2, vec![0x38, 0xb0], None),
        ("FP8E4M3FNUZ", 18, 2, vec![0x40, 0xb8], None),
        ("FP8E5M2", 19, 2, vec![0x3c, 0xb8], None),
        ("FP8E5M2FNUZ", 20, 2, vec![0x40, 0xbc], None),
        ("FP8E8M0", 24, 2, vec![0x7f, 0x7e], None),
        ("UINT4", 21, 3, vec![0xf1, 0x02], None),
        ("INT4", 22, 3, vec![0x81, 0x07], None),
        ("FP4E2M1", 23, 3, vec![0x92, 0x07], None),
        ("UINT2", 25, 5, vec![0b11_10_01_00, 0b01], None),
        ("INT2", 26, 5, vec![0b11_10_01_00, 0b10], None),
        ("COMPLEX64", 14, 1, vec![0, 0, 128, 63, 0, 0, 0, 191], None),
    ]
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let fixture = Fixture::new(&[]);
    for (name, element, count, bytes, json) in table() {
        let model = name.to_lowercase();
        add(&fixture, &model, &identity(&Type::Tensor(element)));
        let path = format!("/v2/models/{model}/infer");
        let input = json!({
            "name": "x", "datatype": name, "shape": [count],
            "parameters": {"binary_data_size": bytes.len()},
        });
        let head =
            json!({"inputs": [input], "parameters": {"binary_data_output": true}}).to_string();
        let request = http::Request::post(&path)
            .header("Inference-Header-Content-Length", head.len().to_string());
        let body = [head.as_bytes(), &bytes].concat();
        let answer = fixture.send(request.body(Bytes::from(body)).unwrap());
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{name}: {text}");
        assert!(answer.body.ends_with(&bytes), "{name}: {text}");
        let length: usize = answer.headers["inference-header-content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
        assert_eq!(head["outputs"][0]["datatype"], name);
        assert_eq!(head["outputs"][0]["shape"], json!([count]));
        assert_eq!(answer.body.len(), length + bytes.len(), "{name}");
        match json {
            Some(data) => {
                let answer = infer(&fixture, &model, name, &json!([count]), &data).ok();
                assert_eq!(answer["outputs"][0]["data"], data, "{name}");
            }
            None => {
                let answer = infer(&fixture, &model, name, &json!([count]), &json!([1]));
                let message = answer.expect_error(422, "unsupported_dtype");
                assert!(message.contains("binary tensor extension"), "{message}");
            }
        }
    }
}

#[test]
fn what_a_type_does_not_hold_is_refused_with_its_place() {
    let fixture = Fixture::new(&[]);
    for (name, element, data, words) in [
        ("INT64", 7, json!([1, 1.5]), "element 1 of the data is 1.5"),
        (
            "INT64",
            7,
            json!([0, 9223372036854775808u64]),
            "element 1 of the data is 9223372036854775808",
        ),
        ("INT8", 3, json!([-129, 0]), "element 0 of the data is -129"),
        ("UINT64", 13, json!([0, -1]), "element 1 of the data is -1"),
        ("FP32", 1, json!([1e39, 0]), "element 0"),
        ("BOOL", 9, json!([true, 1]), "element 1 of the data is 1"),
        ("BYTES", 8, json!(["", 1]), "element 1 of the data is 1"),
    ] {
        let model = name.to_lowercase();
        add(&fixture, &model, &identity(&Type::Tensor(element)));
        let answer = infer(&fixture, &model, name, &json!([2]), &data);
        let message = answer.expect_error(400, "invalid_input");
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[test]
fn maps_are_given_as_objects() {
    let fixture = Fixture::new(&[]);
    fixture.pack_file("words", &dict_vectorizer(&["a", "b", "c"]), RECORD);
    let described = fixture.get("/v2/models/words").ok();
    assert_eq!(
        described["inputs"],
        json!([{"name": "x", "datatype": "BYTES", "shape": [-1]}])
    );
    assert_eq!(described["properties"]["input.x.kind"], "maps");
    let (first, second) = (r#"{"a": 1, "b": 0.5}"#, r#"{"c": -1, "z": 9}"#);
    for (shape, data) in [
        (json!([2]), json!([first, second])),
        (json!([1]), json!([format!("[{first}, {second}]")])),
    ] {
        let answer = infer(&fixture, "words", "BYTES", &shape, &data).ok();
        let output = &answer["outputs"][0];
        assert_eq!(output["shape"], json!([2, 3]));
        assert_eq!(output["data"], json!([1.0, 0.5, 0.0, 0.0, 0.0, -1.0]));
    }
    let answer = infer(&fixture, "words", "FP32", &json!([1]), &json!([1]));
    assert!(answer.expect_error(400, "wrong_dtype").contains("JSON"));
    let answer = infer(
        &fixture,
        "words",
        "BYTES",
        &json!([1]),
        &json!([r#"{"a": "x"}"#]),
    );
    let message = answer.expect_error(400, "invalid_input");
    assert!(message.contains("the value of `a` is \"x\""), "{message}");
    // As a record, and as its own input by name.
    let predicted =
        |body: Value| fixture.post_json("/v2/models/words/predict", &body).ok()["outputs"].clone();
    assert_eq!(
        predicted(json!({"a": 1, "b": 0.5})),
        json!({"y": [[1.0, 0.5, 0.0]]})
    );
    let named = json!({"inputs": {"x": [{"a": 1}, {"b": 2}]}});
    assert_eq!(
        predicted(named),
        json!({"y": [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]})
    );
}

#[test]
fn keys_are_what_the_model_says() {
    let fixture = Fixture::new(&[]);
    let maps = Type::Sequence(Box::new(Type::Map(INT64, FLOAT)));
    add(&fixture, "maps", &identity(&maps));
    let given = json!({"inputs": {"x": [{"-1": 0.5, "7": 1.0}]}});
    let answer = fixture.post_json("/v2/models/maps/predict", &given).ok();
    assert_eq!(answer["outputs"]["y"], json!([{"-1": 0.5, "7": 1.0}]));
    let answer = infer(
        &fixture,
        "maps",
        "BYTES",
        &json!([1]),
        &json!([r#"{"7": 1}"#]),
    )
    .ok();
    assert_eq!(answer["outputs"][0]["parameters"]["map_keys"], r#"["7"]"#);
    let answer = infer(
        &fixture,
        "maps",
        "BYTES",
        &json!([1]),
        &json!([r#"{"a": 1}"#]),
    );
    let message = answer.expect_error(400, "invalid_input");
    assert!(
        message.contains("the keys of the maps are INT64, and `a` is no such number"),
        "{message}"
    );
}

#[test]
fn sequences_and_optionals_are_given_as_they_come() {
    let fixture = Fixture::new(&[]);
    let sequence = Type::Sequence(Box::new(Type::Tensor(FLOAT)));
    add(&fixture, "sequence", &identity(&sequence));
    let optional = Type::Optional(Box::new(Type::Tensor(INT64)));
    add(&fixture, "optional", &identity(&optional));
    for (model, kind, texts) in [
        ("sequence", "sequence", [r#"[[1.5,"NaN"],[2.0]]"#, "[]"]),
        ("optional", "optional", ["[9007199254740993]", "null"]),
    ] {
        let described = fixture.get(&format!("/v2/models/{model}")).ok();
        assert_eq!(described["inputs"][0]["datatype"], "BYTES");
        assert_eq!(described["outputs"][0]["shape"], json!([1]));
        assert_eq!(described["properties"]["input.x.kind"], kind);
        for text in texts {
            let answer = infer(&fixture, model, "BYTES", &json!([1]), &json!([text])).ok();
            let output = &answer["outputs"][0];
            assert_eq!(output["data"], json!([text]), "{model}");
            assert_eq!(output["parameters"]["content_type"], "application/json");
        }
        let named = json!({"inputs": {"x": serde_json::from_str::<Value>(texts[0]).unwrap()}});
        let answer = fixture
            .post_json(&format!("/v2/models/{model}/predict"), &named)
            .ok();
        assert_eq!(answer["outputs"]["y"].to_string(), texts[0]);
    }
    let answer = infer(
        &fixture,
        "sequence",
        "BYTES",
        &json!([2]),
        &json!(["[]", "[]"]),
    );
    answer.expect_error(400, "wrong_shape");
    let answer = infer(&fixture, "sequence", "BYTES", &json!([1]), &json!(["[1"]));
    answer.expect_error(400, "invalid_json");
}

/// As onnxruntime has it; a build that checks for that would fail.
#[test]
fn integers_that_are_too_large_wrap_around() {
    let body = json!({"inputs": [
        {"name": "i", "datatype": "INT64", "shape": [3], "data": [i64::MAX, i64::MIN, 1]},
        {"name": "b", "datatype": "BOOL", "shape": [2], "data": [true, false]},
        {"name": "d", "datatype": "FP64", "shape": [1], "data": [1]},
    ]});
    let answer = SHARED.post_json("/v2/models/types/infer", &body).ok();
    let sum = &answer["outputs"][0];
    assert_eq!(
        (&sum["name"], &sum["data"]),
        (&json!("i2"), &json!([-2, 0, 2]))
    );
    let fixture = Fixture::new(&[]);
    for op in ["Neg", "Abs"] {
        let name = op.to_lowercase();
        let kind = || Type::Tensor(7);
        fixture.pack_file(&name, &file("", op, None, &kind(), &kind()), "");
        let body = json!({"instances": [i64::MIN, -7]});
        let answer = fixture.post_json(&format!("/v1/models/{name}:predict"), &body);
        assert_eq!(answer.ok(), json!({"predictions": [i64::MIN, 7]}));
    }
}
