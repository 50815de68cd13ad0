//! Events in, events out.

use serde_json::{Value, json};

use crate::cases::{RISK, records};
use crate::support::{SHARED, recipe};

const PATH: &str = "/events/tumour-risk";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/clinic/7", "type": "org.example.measured",
        "subject": "patient 3", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "datacontenttype": "application/json", "data": data,
    })
}

#[test]
fn structured() {
    let (record, label) = records().remove(0);
    let answer = SHARED.post(PATH, STRUCTURED, event("a", &record).to_string());
    assert_eq!(answer.headers["content-type"], STRUCTURED);
    let found = answer.ok();
    assert_eq!(found["specversion"], "1.0");
    assert_eq!(found["type"], "dev.twinfer.prediction");
    assert_eq!(found["source"], "/v2/models/tumour-risk/versions/1.0.0");
    assert_eq!(
        (&found["correlationid"], &found["causationid"]),
        (&json!("a"), &json!("a"))
    );
    assert_eq!(found["subject"], "patient 3");
    assert!(found["traceparent"].is_string());
    assert_eq!(found["data"]["outputs"]["label"], label);
    assert_eq!(found["data"]["model_name"], RISK);
    assert!(
        found["data"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    // Delivered twice, it has the same answer; another event has another.
    let again = SHARED
        .post(PATH, STRUCTURED, event("a", &record).to_string())
        .ok();
    assert_eq!(again["id"], found["id"]);
    let mut other = event("b", &record);
    other["correlationid"] = json!("the first");
    let other = SHARED.post(PATH, STRUCTURED, other.to_string()).ok();
    assert_ne!(other["id"], found["id"]);
    assert_eq!(
        (&other["correlationid"], &other["causationid"]),
        (&json!("the first"), &json!("b"))
    );
}

#[test]
fn binary() {
    let (record, label) = records().remove(0);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b"),
        ("ce-source", "/clinic"),
        ("ce-type", "t"),
        ("ce-subject", "J%C3%BCrgen%20%22J%22"),
        ("content-type", "application/json"),
    ];
    let answer = SHARED.call("POST", PATH, &headers, record.to_string());
    assert_eq!(answer.ok()["outputs"]["label"], label);
    assert_eq!(answer.headers["content-type"], "application/json");
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "dev.twinfer.prediction"),
        ("ce-causationid", "a%20b"),
        ("ce-subject", "J%C3%BCrgen%20%22J%22"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers["ce-id"].is_empty());
    for left_out in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .filter(|(name, _)| *name != left_out)
            .collect();
        let answer = SHARED.call("POST", PATH, &headers, record.to_string());
        let message = answer.expect_error(400, "invalid_request");
        assert!(message.contains(&left_out[3..]), "{message}");
    }
}

#[test]
fn batches() {
    let (record, label) = records().remove(0);
    let batch = json!([event("a", &record), event("b", &json!({"no column": 1})), {"id": "c"}, event("d", &record)]);
    let answer = SHARED.post(PATH, BATCH, batch.to_string());
    assert_eq!(answer.headers["content-type"], BATCH);
    let answers = answer.ok();
    assert_eq!(answers.as_array().unwrap().len(), 4);
    assert_eq!(answers[0]["data"]["outputs"]["label"], label);
    assert_eq!(answers[1]["type"], "dev.twinfer.error");
    assert_eq!(answers[1]["data"]["code"], "invalid_record");
    assert_eq!(answers[1]["causationid"], "b");
    assert_eq!(answers[2]["data"]["code"], "invalid_request");
    assert_eq!(answers[3]["causationid"], "d");
    assert_eq!(SHARED.post(PATH, BATCH, "[]").ok(), json!([]));
}

#[test]
fn pictures_and_tables() {
    use base64::Engine as _;
    let jpeg = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    let mut picture = event("p", &Value::Null);
    picture.as_object_mut().unwrap().remove("data");
    picture["datacontenttype"] = json!("image/jpeg");
    picture["data_base64"] = json!(base64::engine::general_purpose::STANDARD.encode(&jpeg));
    let structured = SHARED
        .post(
            "/events/face-detector/1.0.0",
            STRUCTURED,
            picture.to_string(),
        )
        .ok();
    assert!(
        structured["data"]["outputs"]["boxes"]
            .as_array()
            .unwrap()
            .len()
            > 2
    );
    let cases = records();
    let mut table = event("t", &Value::Null);
    let names = crate::cases::names(&cases[0].0).join(",");
    table["datacontenttype"] = json!("text/csv");
    table["data"] = json!(format!("{names}\n{}\n", crate::cases::line(&cases[1].0)));
    let answer = SHARED.post(PATH, STRUCTURED, table.to_string()).ok();
    assert_eq!(answer["data"]["predictions"][0]["label"], cases[1].1);
}

#[test]
fn what_is_wrong_is_said() {
    let (record, _) = records().remove(0);
    let mut old = event("a", &record);
    old["specversion"] = json!("0.3");
    let mut html = event("a", &json!("<p>"));
    html["datacontenttype"] = json!("text/html");
    for (path, content_type, body, status, code) in [
        (PATH, STRUCTURED, "{".to_owned(), 400, "invalid_json"),
        (PATH, STRUCTURED, "[]".to_owned(), 400, "invalid_request"),
        (PATH, STRUCTURED, old.to_string(), 400, "invalid_request"),
        (
            PATH,
            STRUCTURED,
            html.to_string(),
            415,
            "unsupported_media_type",
        ),
        (
            PATH,
            STRUCTURED,
            event("a", &json!({"x": 1})).to_string(),
            400,
            "invalid_record",
        ),
        (PATH, BATCH, "{}".to_owned(), 400, "invalid_request"),
        (
            PATH,
            "application/cloudevents+avro",
            "".to_owned(),
            415,
            "unsupported_media_type",
        ),
        (
            "/events/none",
            STRUCTURED,
            event("a", &record).to_string(),
            404,
            "unknown_model",
        ),
        // Several models, and none of them the default.
        (
            "/events",
            STRUCTURED,
            event("a", &record).to_string(),
            404,
            "unknown_model",
        ),
    ] {
        SHARED
            .post(path, content_type, body)
            .expect_error(status, code);
    }
}
