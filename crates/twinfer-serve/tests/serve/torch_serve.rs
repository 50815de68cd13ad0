//! What clients of TorchServe ask.

use serde_json::{Value, json};

use crate::cases::{RISK, cells, records};
use crate::support::{Answer, Fixture, SHARED, recipe};

const RISK_PATH: &str = "/predictions/tumour-risk";

#[test]
fn predictions_in_its_forms() {
    let (rows, labels): (Vec<Value>, Vec<String>) = records().into_iter().unzip();
    assert_eq!(
        SHARED.post_json(RISK_PATH, &rows[0]).ok()["label"],
        labels[0]
    );
    let version = format!("{RISK_PATH}/1.0.0");
    assert_eq!(
        SHARED.post_json(&version, &rows[0]).ok()["label"],
        labels[0]
    );
    let list = SHARED
        .post_json(RISK_PATH, &json!([cells(&rows[0]), rows[1]]))
        .ok();
    assert_eq!(
        (&list[0]["label"], &list[1]["label"]),
        (&json!(labels[0]), &json!(labels[1]))
    );
    let instances = SHARED
        .post_json(RISK_PATH, &json!({"instances": rows}))
        .ok();
    assert_eq!(instances["predictions"][2]["label"], labels[2]);
    // With `curl -d` and nothing else.
    let answer = SHARED.post(
        RISK_PATH,
        "application/x-www-form-urlencoded",
        rows[0].to_string(),
    );
    assert_eq!(answer.ok()["label"], labels[0]);
    // A record in the query string: what is missing there is missing.
    let got = SHARED
        .get(&format!("{RISK_PATH}?mean%20radius=20.5&worst%20area=2000"))
        .ok();
    let posted = SHARED
        .post_json(RISK_PATH, &json!({"mean radius": 20.5, "worst area": 2000}))
        .ok();
    assert_eq!(got, posted);
}

#[test]
fn a_picture_as_body_and_as_file_of_a_form() {
    let jpeg = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    let path = "/predictions/face-detector";
    let raw = SHARED
        .post(path, "application/octet-stream", jpeg.clone())
        .ok();
    assert!(raw["boxes"].as_array().unwrap().len() > 2);
    for head in [
        "",
        "content-type: image/jpeg\r\n",
        "content-type: application/octet-stream\r\n",
    ] {
        let head = format!(
            "--b\r\ncontent-disposition: form-data; name=\"data\"; filename=\"a.jpg\"\r\n{head}\r\n"
        );
        let body = [head.as_bytes(), &jpeg, b"\r\n--b--\r\n"].concat();
        let form = SHARED
            .post(path, "multipart/form-data; boundary=b", body)
            .ok();
        assert_eq!(form, raw);
    }
}

#[test]
fn models_page_by_page() {
    let fixture = Fixture::new(&[RISK, "types", "untidy"]);
    let all = fixture.get("/models").ok();
    let names = |answer: &Value| {
        let models = answer["models"].as_array().unwrap().iter();
        models
            .map(|m| m["modelName"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&all), [RISK, "types", "untidy"]);
    assert!(all.get("nextPageToken").is_none());
    assert!(
        all["models"][0]["modelUrl"]
            .as_str()
            .unwrap()
            .starts_with("tumour-risk@sha256:")
    );
    let first = fixture.get("/models?limit=2").ok();
    assert_eq!(
        (names(&first), &first["nextPageToken"]),
        (vec![RISK.to_owned(), "types".into()], &json!("2"))
    );
    let last = fixture.get("/models?limit=2&next_page_token=2").ok();
    assert_eq!(names(&last), ["untidy"]);
    assert!(last.get("nextPageToken").is_none());
    expect(
        &fixture.get("/models?limit=many"),
        400,
        "BadRequestException",
        "invalid_parameter",
    );
}

#[test]
fn what_a_model_is() {
    let fixture = Fixture::new(&[RISK]);
    fixture.pack_version(RISK, "1.1.0");
    let described = fixture.get("/models/tumour-risk").ok();
    assert_eq!(described[0]["modelVersion"], "1.1.0");
    assert_eq!(described[0]["workers"][0]["status"], "UNLOADED");
    fixture.post_json(RISK_PATH, &records()[0].0).ok();
    assert_eq!(
        fixture.get("/models/tumour-risk").ok()[0]["workers"][0]["status"],
        "READY"
    );
    assert_eq!(
        fixture.get("/models/tumour-risk/1.0.0").ok()[0]["modelVersion"],
        "1.0.0"
    );
    let all = fixture.get("/models/tumour-risk/all").ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let description = fixture.get("/api-description").ok();
    for path in ["/predictions/{model}", "/predictions/{model}/{version}"] {
        assert!(description["paths"][path]["post"].is_object(), "{path}");
    }
    assert!(description["paths"]["/ping"]["get"].is_object());
    let options = fixture.call("OPTIONS", RISK_PATH, &[], "");
    assert_eq!(options.ok(), description);
    assert_eq!(fixture.get("/ping").ok()["status"], "Healthy");
}

#[track_caller]
fn expect(answer: &Answer, status: u16, kind: &str, code: &str) {
    let json = answer.json();
    assert_eq!(answer.status, status, "{json}");
    assert_eq!(
        (&json["code"], &json["type"], &json["error_code"]),
        (&json!(status), &json!(kind), &json!(code))
    );
    assert!(json["message"].is_string());
}

#[test]
fn errors_have_its_form() {
    let post = |path: &str, body: &str| SHARED.post(path, "application/json", body.to_owned());
    expect(
        &post("/predictions/none", "{}"),
        404,
        "ModelNotFoundException",
        "unknown_model",
    );
    expect(
        &post("/predictions/tumour-risk/9.9.9", "{}"),
        404,
        "ModelVersionNotFoundException",
        "unknown_version",
    );
    expect(
        &post(RISK_PATH, "{"),
        400,
        "BadRequestException",
        "invalid_json",
    );
    expect(
        &post(RISK_PATH, "[[1]]"),
        400,
        "BadRequestException",
        "invalid_record",
    );
    expect(
        &SHARED.post(RISK_PATH, "text/html", ""),
        415,
        "BadRequestException",
        "unsupported_media_type",
    );
    expect(
        &SHARED.get("/models/none"),
        404,
        "ModelNotFoundException",
        "unknown_model",
    );
    expect(
        &SHARED.get(&format!("{RISK_PATH}?none=1")),
        400,
        "BadRequestException",
        "invalid_record",
    );
    assert_eq!(
        SHARED.call("DELETE", "/models/tumour-risk", &[], "").status,
        405
    );
}
