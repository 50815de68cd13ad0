//! `predict` in other forms than JSON.

use serde_json::{Value, json};

use crate::cases::{line, names, records};
use crate::support::{Answer, SHARED, recipe};

const FACE: &str = "/v2/models/face-detector/predict";
const FILE: &str = "/v2/models/file-type/predict";
const RISK: &str = "/v2/models/tumour-risk/predict";

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

fn ask(path: &str, content_type: &str, accept: &str, body: impl Into<bytes::Bytes>) -> Answer {
    SHARED.call(
        "POST",
        path,
        &[("content-type", content_type), ("accept", accept)],
        body,
    )
}

#[test]
fn a_bad_line_is_answered_in_its_place() {
    let cases = records();
    let body = format!(
        "{}\n\n{{\"mean radius\": \"wide\"}}\nnot json\n{}\n{}\r\n",
        cases[0].0,
        json!({"inputs": {"record": cases[1].0}}),
        Value::Array(crate::cases::cells(&cases[2].0)),
    );
    for content_type in ["application/x-ndjson", "application/jsonlines"] {
        let answer = SHARED.post(RISK, content_type, body.clone());
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["vary"], "accept");
        let found = lines(&answer);
        assert_eq!(found.len(), 5);
        for (at, case) in [(0, 0), (3, 1), (4, 2)] {
            assert_eq!(found[at]["outputs"]["label"], cases[case].1);
        }
        assert_eq!(
            (&found[1]["code"], &found[1]["line"]),
            (&json!("invalid_record"), &json!(3))
        );
        assert_eq!(
            (&found[2]["code"], &found[2]["line"]),
            (&json!("invalid_json"), &json!(4))
        );
        assert!(found[1]["error"].as_str().unwrap().contains("line 3"));
    }
    let json = ask(
        RISK,
        "application/x-ndjson",
        "application/json",
        body.clone(),
    )
    .ok();
    assert_eq!(json["predictions"].as_array().unwrap().len(), 5);
    assert_eq!(json["predictions"][1]["code"], "invalid_record");
    assert_eq!(json["model_version"], "1.0.0");
    let csv = ask(RISK, "application/x-ndjson", "text/csv", body);
    let head = "label,probabilities.benign,probabilities.malignant,error,code";
    assert_eq!(csv.text().lines().next(), Some(head));
}

#[test]
fn lines_with_base64() {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode("#!/bin/sh\nset -eu\n");
    let body = format!(
        "{}\n{}\n",
        json!({"b64": text}),
        json!({"inputs": {"content": {"base64": text}}, "parameters": {"prediction_mode": "best_guess"}})
    );
    let found = lines(&SHARED.post(FILE, "application/x-ndjson", body));
    assert!(
        found[0]["outputs"]["content_type"]["label"].is_string(),
        "{found:?}"
    );
    assert!(
        found[1]["outputs"]["content_type"]["label"].is_string(),
        "{found:?}"
    );
}

#[test]
fn tables_as_csv() {
    let cases = records();
    let body = format!(
        "{}\n{}\n{}\n",
        names(&cases[0].0).join(","),
        line(&cases[0].0),
        line(&cases[1].0)
    );
    let answer = SHARED.post(RISK, "text/csv", body.clone());
    assert_eq!(answer.headers["content-type"], "text/csv");
    let rows: Vec<&str> = answer.text().lines().collect();
    assert_eq!(
        rows[0],
        "label,probabilities.benign,probabilities.malignant"
    );
    for (row, (record, label)) in rows[1..].iter().zip(&cases) {
        let wanted = SHARED.post_json(RISK, record).ok()["outputs"].clone();
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells[0], label);
        let benign: f64 = cells[1].parse().unwrap();
        assert_eq!(Some(benign), wanted["probabilities"]["benign"].as_f64());
    }
    // An empty cell is a missing value.
    let missing = "mean radius,mean texture\n17.5,\n";
    let with_null = SHARED
        .post_json(RISK, &json!({"mean radius": 17.5, "mean texture": null}))
        .ok();
    let found = ask(RISK, "text/csv", "application/json", missing).ok();
    assert_eq!(found["predictions"][0]["outputs"], with_null["outputs"]);
    for (content_type, body, status, code) in [
        (
            "text/csv",
            "mean radius,nothing\n1,2\n",
            400,
            "invalid_record",
        ),
        ("text/csv", "mean radius\nwide\n", 400, "invalid_record"),
        ("text/csv", "mean radius\n1,2\n", 400, "invalid_request"),
        ("text/csv; header=never", "1", 415, "unsupported_media_type"),
        (
            "text/csv; charset=latin-1",
            "1",
            415,
            "unsupported_media_type",
        ),
    ] {
        SHARED
            .post(RISK, content_type, body)
            .expect_error(status, code);
    }
    SHARED
        .post(FACE, "text/csv", "a\n1\n")
        .expect_error(415, "unsupported_media_type");
}

#[test]
fn cbor_and_msgpack() {
    let (record, _) = records().remove(0);
    let wanted = SHARED.post_json(RISK, &record).ok()["outputs"].clone();
    let mut cbor = Vec::new();
    ciborium::into_writer(&record, &mut cbor).unwrap();
    let answer = SHARED.post(RISK, "application/cbor", cbor.clone());
    assert_eq!(answer.headers["content-type"], "application/cbor");
    let found: Value = ciborium::from_reader(&answer.body[..]).unwrap();
    assert_eq!(found["outputs"], wanted);
    for name in [
        "application/msgpack",
        "application/vnd.msgpack",
        "application/x-msgpack",
    ] {
        let answer = SHARED.post(RISK, name, rmp_serde::to_vec(&record).unwrap());
        assert_eq!(answer.headers["content-type"], name);
        let found: Value = rmp_serde::from_slice(&answer.body).unwrap();
        assert_eq!(found["outputs"], wanted);
    }
    let json = ask(RISK, "application/cbor", "application/json", cbor).ok();
    assert_eq!(json["outputs"], wanted);
    // Bytes are bytes.
    let bytes = ciborium::Value::Bytes(b"#!/bin/sh\nset -eu\n".to_vec());
    let key = |name: &str| ciborium::Value::Text(name.into());
    let inputs = ciborium::Value::Map(vec![(key("content"), bytes)]);
    let envelope = ciborium::Value::Map(vec![(key("inputs"), inputs)]);
    let mut body = Vec::new();
    ciborium::into_writer(&envelope, &mut body).unwrap();
    let found = ask(FILE, "application/cbor", "application/json", body).ok();
    assert!(found["outputs"]["content_type"]["label"].is_string());
    for name in ["application/cbor", "application/msgpack"] {
        SHARED
            .post(RISK, name, &b"\xdf\xff"[..])
            .expect_error(400, "invalid_request");
        SHARED
            .post(RISK, name, "")
            .expect_error(400, "invalid_request");
    }
}

#[test]
fn a_form_with_files() {
    let jpeg = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    let file = |name: &str, content: &[u8]| {
        let head = format!(
            "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}.jpg\"\r\ncontent-type: image/jpeg\r\n\r\n"
        );
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let form = "multipart/form-data; boundary=b";
    let one = [file("x", &jpeg), b"--b--\r\n".to_vec()].concat();
    let wanted = SHARED.post(FACE, "image/jpeg", jpeg.clone()).ok()["outputs"].clone();
    assert_eq!(SHARED.post(FACE, form, one).ok()["outputs"], wanted);
    let three = [
        file("x", &jpeg),
        file("y", b"no picture"),
        file("z", &jpeg),
        b"--b--".to_vec(),
    ]
    .concat();
    let found = SHARED.post(FACE, form, three).ok();
    let found = found["predictions"].as_array().unwrap();
    assert_eq!(
        (&found[0]["outputs"], &found[0]["file"]),
        (&wanted, &json!("x.jpg"))
    );
    assert_eq!(
        (&found[1]["code"], &found[1]["file"]),
        (&json!("invalid_picture"), &json!("y.jpg"))
    );
    assert_eq!(found[2]["outputs"], wanted);

    let field = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let script = "#!/bin/sh\nset -eu\n";
    let with_parameter = format!(
        "{}{}--b--",
        field("prediction_mode", "best_guess"),
        field("content", script)
    );
    let query = format!("{FILE}?prediction_mode=best_guess");
    let raw = SHARED.post(&query, "application/octet-stream", script).ok();
    assert_eq!(
        SHARED.post(FILE, form, with_parameter).ok()["outputs"],
        raw["outputs"]
    );

    let record = format!(
        "{}{}--b--",
        field("mean radius", "20.5"),
        field("worst area", "")
    );
    let posted = SHARED
        .post_json(RISK, &json!({"mean radius": 20.5, "worst area": null}))
        .ok();
    assert_eq!(
        SHARED.post(RISK, form, record).ok()["outputs"],
        posted["outputs"]
    );

    for (path, body, status, code) in [
        (FACE, "--b--".to_owned(), 400, "invalid_request"),
        (FACE, "no form".to_owned(), 400, "invalid_request"),
        (
            FACE,
            field("other", "1") + "--b--",
            400,
            "unknown_parameter",
        ),
        (RISK, field("other", "1") + "--b--", 400, "invalid_record"),
        (
            RISK,
            field("mean radius", "wide") + "--b--",
            400,
            "invalid_record",
        ),
        (
            RISK,
            field("mean radius", "1") + &field("mean radius", "1") + "--b--",
            400,
            "invalid_record",
        ),
        (
            RISK,
            String::from_utf8(file("x", b"1")).unwrap() + "--b--",
            415,
            "unsupported_media_type",
        ),
    ] {
        SHARED.post(path, form, body).expect_error(status, code);
    }
    SHARED
        .post(FACE, "multipart/form-data", "x")
        .expect_error(415, "unsupported_media_type");
    SHARED
        .post("/v2/models/types/predict", form, "--b--")
        .expect_error(415, "unsupported_media_type");
}

#[test]
fn what_cannot_be_given_is_not_computed() {
    let (record, _) = records().remove(0);
    for accept in ["text/html", "application/json;q=0, text/xml", "nonsense"] {
        let answer = ask(RISK, "application/json", accept, record.to_string());
        let message = answer.expect_error(415, "unsupported_media_type");
        assert!(message.contains("application/json"), "{message}");
    }
    let answer = ask(
        RISK,
        "application/json",
        "text/html, application/cbor;q=0.5, */*;q=0.1",
        record.to_string(),
    );
    assert_eq!(answer.headers["content-type"], "application/cbor");
    let one = ask(
        RISK,
        "application/json",
        "application/x-ndjson",
        record.to_string(),
    );
    assert_eq!(lines(&one).len(), 1);
}

#[cfg(feature = "arrow")]
#[test]
fn tables_as_arrow() {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use arrow_ipc::reader::StreamReader;
    use arrow_ipc::writer::StreamWriter;

    const ARROW: &str = "application/vnd.apache.arrow.stream";
    let stream = |columns: Vec<(String, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let cases = records();
    let column = |name: &String| {
        let cells = cases.iter().map(|(record, _)| record[name].as_f64());
        let array: ArrayRef = Arc::new(cells.collect::<Float64Array>());
        (name.clone(), array)
    };
    let body = stream(names(&cases[0].0).iter().map(column).collect());
    let answer = SHARED.post(RISK, ARROW, body.clone());
    assert_eq!(answer.headers["content-type"], ARROW);
    let mut reader = StreamReader::try_new(&answer.body[..], None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 6);
    let schema = batch.schema();
    assert_eq!(schema.metadata()["model_name"], "tumour-risk");
    let labels = batch.column_by_name("label").unwrap().as_string::<i32>();
    let benign = batch.column_by_name("probabilities.benign").unwrap();
    let benign = benign.as_primitive::<Float64Type>();
    for (at, (record, label)) in cases.iter().chain(&cases).enumerate() {
        assert_eq!(labels.value(at), label);
        let wanted = &SHARED.post_json(RISK, record).ok()["outputs"]["probabilities"]["benign"];
        assert_eq!(Some(benign.value(at)), wanted.as_f64());
    }
    let json = ask(RISK, ARROW, "application/json", body.clone()).ok();
    assert_eq!(json["predictions"].as_array().unwrap().len(), 6);

    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    for (columns, code) in [
        (vec![("mean radius".to_owned(), texts)], "wrong_dtype"),
        (vec![("nothing".to_owned(), numbers)], "invalid_record"),
    ] {
        SHARED
            .post(RISK, ARROW, stream(columns))
            .expect_error(400, code);
    }
    SHARED
        .post(RISK, ARROW, "")
        .expect_error(400, "invalid_request");
    SHARED
        .post(RISK, ARROW, body[..body.len() / 2].to_vec())
        .expect_error(400, "invalid_request");
    SHARED
        .post(FACE, ARROW, body)
        .expect_error(415, "unsupported_media_type");
}
