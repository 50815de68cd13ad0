//! Requests that must be refused, each with its code, while the application
//! goes on serving.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Fixture, SHARED, recipe};

const FACE: &str = "/v2/models/face-detector/predict";
const TYPES: &str = "/v2/models/types/infer";

fn tensor(name: &str, datatype: &str, shape: Value, data: Value) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
}

fn good() -> Vec<Value> {
    vec![
        tensor("i", "INT64", json!([3]), json!([1, 2, 3])),
        tensor("b", "BOOL", json!([2]), json!([true, false])),
        tensor("d", "FP64", json!([1]), json!([0.5])),
    ]
}

#[test]
fn tensors_that_are_not_the_signatures() {
    let change = |at: usize, to: Value| {
        let mut inputs = good();
        inputs[at] = to;
        json!({"inputs": inputs})
    };
    let cases = [
        (json!({"inputs": []}), 400, "missing_input"),
        (json!({"inputs": good()[..2]}), 400, "missing_input"),
        (
            change(0, tensor("i", "INT32", json!([3]), json!([1, 2, 3]))),
            400,
            "wrong_dtype",
        ),
        (
            change(0, tensor("i", "INT65", json!([3]), json!([1, 2, 3]))),
            400,
            "wrong_dtype",
        ),
        (
            change(0, tensor("i", "INT64", json!([3, 1, 1]), json!([1, 2, 3]))),
            400,
            "wrong_shape",
        ),
        (
            change(0, tensor("i", "INT64", json!([4]), json!([1, 2, 3]))),
            400,
            "wrong_shape",
        ),
        (
            change(
                0,
                tensor(
                    "i",
                    "INT64",
                    json!([4294967295u32, 4294967295u32]),
                    json!([1]),
                ),
            ),
            400,
            "wrong_shape",
        ),
        (
            change(0, tensor("i", "INT64", json!([3]), json!([1, 2.5, 3]))),
            400,
            "invalid_input",
        ),
        (
            json!({"inputs": good(), "outputs": [{"name": "nothing"}]}),
            400,
            "unknown_output",
        ),
        (
            json!({"inputs": good(), "outputs": [{"name": "i2"}, {"name": "i2"}]}),
            400,
            "invalid_request",
        ),
    ];
    for (body, status, code) in cases {
        SHARED.post_json(TYPES, &body).expect_error(status, code);
    }
    let mut more = good();
    more.push(tensor("x", "FP32", json!([1]), json!([1])));
    let message = SHARED
        .post_json(TYPES, &json!({"inputs": more}))
        .expect_error(400, "unknown_input");
    assert!(
        message.contains("`x`") && message.contains("`i`"),
        "{message}"
    );
    SHARED.post_json(TYPES, &json!({"inputs": good()})).ok();
}

#[test]
fn text_that_is_no_json() {
    for body in ["", "{", "nonsense", "{\"inputs\": [NaN]}", "\u{0}"] {
        SHARED
            .post(TYPES, "application/json", body)
            .expect_error(400, "invalid_json");
    }
    SHARED
        .post(TYPES, "application/json", &b"\xff\xfe"[..])
        .expect_error(400, "invalid_json");
    for open in ["[", "{\"a\":", "{\"inputs\":["] {
        SHARED
            .post(TYPES, "application/json", open.repeat(200_000))
            .expect_error(400, "invalid_json");
        SHARED
            .post(
                "/v2/models/tumour-risk/predict",
                "application/json",
                open.repeat(200_000),
            )
            .expect_error(400, "invalid_json");
    }
    let deep = format!(
        "{{\"mean radius\": {}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    SHARED
        .post("/v2/models/tumour-risk/predict", "application/json", deep)
        .expect_error(400, "invalid_json");
}

#[test]
fn truncated_binary_tensors() {
    let head = json!({"inputs": [
        {"name": "i", "shape": [3], "datatype": "INT64", "parameters": {"binary_data_size": 24}},
        good()[1], good()[2],
    ]})
    .to_string();
    let send = |length: String, tail: usize| {
        let body = [head.as_bytes(), &vec![0; tail]].concat();
        SHARED.send(
            http::Request::post(TYPES)
                .header("inference-header-content-length", length)
                .body(Bytes::from(body))
                .unwrap(),
        )
    };
    let length = head.len().to_string();
    assert_eq!(send(length.clone(), 24).status, 200);
    for tail in [0, 1, 23, 25] {
        send(length.clone(), tail).expect_error(400, "invalid_request");
    }
    send("x".into(), 24).expect_error(400, "invalid_request");
    send((head.len() + 25).to_string(), 24).expect_error(400, "invalid_request");
    send((head.len() - 1).to_string(), 24).expect_error(400, "invalid_json");
}

#[test]
fn pictures_that_are_none() {
    let png = std::fs::read(recipe("face-detector").join("pictures/faces.png")).unwrap();
    for (what, body) in [
        ("empty", vec![]),
        ("text", b"not a picture".to_vec()),
        ("half", png[..png.len() / 2].to_vec()),
        ("head only", png[..30].to_vec()),
        ("0 x 0", png_of(0, 0)),
        ("gif", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec()),
    ] {
        let answer = SHARED.post(FACE, "image/png", body);
        assert_eq!(answer.status, 400, "{what}: {:?}", answer.body);
        answer.expect_error(400, "invalid_picture");
    }
    SHARED
        .post(FACE, "image/png", png_of(30_000, 30_000))
        .expect_error(413, "picture_too_large");
    SHARED.post(FACE, "image/png", png).ok();
}

/// The start of a PNG of this size, with no pixels in it.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend_from_slice(&width.to_be_bytes());
    ihdr.extend_from_slice(&height.to_be_bytes());
    ihdr.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let crc = crc32(&ihdr);
    png.extend_from_slice(&ihdr);
    png.extend_from_slice(&crc.to_be_bytes());
    let end = b"IEND";
    png.extend_from_slice(&[0; 4]);
    png.extend_from_slice(end);
    png.extend_from_slice(&crc32(end).to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_compressed_body() {
    let request = http::Request::post(TYPES).header("content-encoding", "gzip");
    let answer = SHARED.send(request.body(Bytes::from_static(b"\x1f\x8b")).unwrap());
    answer.expect_error(415, "unsupported_media_type");
}

#[test]
fn a_body_over_the_limit() {
    let fixture = Fixture::with(&["types"], |options| options.max_body = 1000);
    fixture
        .post(TYPES, "application/json", vec![b' '; 1001])
        .expect_error(413, "body_too_large");
    fixture.post_json(TYPES, &json!({"inputs": good()})).ok();
}

#[test]
fn names_that_are_not_there() {
    SHARED
        .get("/v2/models/nobody")
        .expect_error(404, "unknown_model");
    SHARED
        .post_json("/v2/models/nobody/infer", &json!({}))
        .expect_error(404, "unknown_model");
    SHARED
        .get("/v2/models/types/versions/9.9.9")
        .expect_error(404, "unknown_version");
    SHARED
        .get(&format!(
            "/v2/models/types/versions/sha256:{}",
            "0".repeat(64)
        ))
        .expect_error(404, "unknown_version");
    SHARED
        .get("/v2/models/types/versions/sha256:123")
        .expect_error(400, "invalid_digest");
    for name in ["UPPER", "a%20b", "%2e%2e", "a%2fb", "%00"] {
        SHARED
            .get(&format!("/v2/models/{name}"))
            .expect_error(400, "invalid_reference");
    }
}
