//! What a container of SageMaker must do.

use serde_json::{Value, json};

use crate::cases::{RISK, cells, line, names, only_risk, records};
use crate::support::{Fixture, recipe};

const JSON: (&str, &str) = ("content-type", "application/json");
const CSV: (&str, &str) = ("content-type", "text/csv");
const LINES: (&str, &str) = ("content-type", "application/jsonlines");

#[test]
fn it_is_pinged_and_asked_for_its_limits() {
    let fixture = only_risk();
    let ping = fixture.get("/ping");
    assert_eq!(
        (ping.status, ping.text().trim()),
        (200, "{\"status\": \"Healthy\"}")
    );
    let limits = fixture.get("/execution-parameters").ok();
    assert_eq!(limits["BatchStrategy"], "MULTI_RECORD");
    assert_eq!(limits["MaxPayloadInMB"], 64);
    // Without a model there is nothing to be healthy.
    assert_eq!(Fixture::new(&[]).get("/ping").status, 404);
}

#[test]
fn json_as_instances_and_as_a_plain_list() {
    let fixture = only_risk();
    let (rows, labels): (Vec<Value>, Vec<String>) = records().into_iter().unzip();
    let instances = fixture.call(
        "POST",
        "/invocations",
        &[JSON],
        json!({"instances": rows}).to_string(),
    );
    assert_eq!(instances.ok()["predictions"], json!(labels));
    let lists: Vec<Value> = rows.iter().map(|row| json!(cells(row))).collect();
    let plain = fixture.call("POST", "/invocations", &[JSON], json!(lists).to_string());
    assert_eq!(plain.ok()["predictions"], json!(labels));
    // As a table.
    let table = fixture.call(
        "POST",
        "/invocations",
        &[JSON, ("accept", "text/csv")],
        json!(lists).to_string(),
    );
    assert!(
        table.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    let first: Vec<&str> = table
        .text()
        .lines()
        .map(|l| l.split(',').next().unwrap())
        .collect();
    assert_eq!(first, labels);
}

#[test]
fn csv_with_names_and_without() {
    let fixture = only_risk();
    let cases = records();
    let labels: Vec<&String> = cases.iter().map(|(_, label)| label).collect();
    let lines: Vec<String> = cases.iter().map(|(record, _)| line(record)).collect();
    let plain = lines.join("\n");
    let named = format!("{}\n{plain}\n", names(&cases[0].0).join(","));
    for body in [&plain, &named] {
        let answer = fixture.call("POST", "/invocations", &[CSV], body.clone());
        assert_eq!(answer.ok()["predictions"], json!(labels));
    }
    let answer = fixture.call(
        "POST",
        "/invocations",
        &[CSV, ("accept", "text/csv")],
        plain.clone(),
    );
    let rows: Vec<Vec<&str>> = answer
        .text()
        .lines()
        .map(|l| l.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 3);
    for (row, label) in rows.iter().zip(&labels) {
        // Label, and the two probabilities.
        assert_eq!((row.len(), row[0]), (3, label.as_str()));
        let sum: f64 = row[1..]
            .iter()
            .map(|cell| cell.parse::<f64>().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    let said = ("content-type", "text/csv; header=absent");
    assert_eq!(
        fixture.call("POST", "/invocations", &[said], plain).ok()["predictions"],
        json!(labels)
    );
    for (content_type, body, status, code) in [
        (
            "text/csv; header=maybe",
            "1,2",
            415,
            "unsupported_media_type",
        ),
        ("text/csv", "1,2\n3,4\n", 400, "invalid_record"),
        ("text/csv", "", 400, "invalid_input"),
    ] {
        let answer = fixture.call(
            "POST",
            "/invocations",
            &[("content-type", content_type)],
            body,
        );
        answer.expect_error_in(status, code);
    }
}

#[test]
fn batch_transform_has_an_answer_for_each_line() {
    let fixture = only_risk();
    let cases = records();
    let mut lines: Vec<String> = cases.iter().map(|(record, _)| record.to_string()).collect();
    lines[1] = json!({"features": cells(&cases[1].0)}).to_string();
    let answer = fixture.call(
        "POST",
        "/invocations",
        &[LINES, ("accept", "application/jsonlines")],
        lines.join("\n") + "\n",
    );
    assert_eq!(answer.headers["content-type"], "application/jsonlines");
    let answers: Vec<Value> = answer
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers.len(), 3);
    for (answer, (_, label)) in answers.iter().zip(&cases) {
        assert_eq!(answer["label"], json!(label));
    }
    let json = fixture.call(
        "POST",
        "/invocations",
        &[LINES, ("accept", "application/json")],
        lines.join("\n"),
    );
    assert_eq!(json.ok()["predictions"].as_array().unwrap().len(), 3);

    for (bad, code) in [
        ("{", "invalid_json"),
        ("{\"no column\": 1}", "invalid_record"),
        ("[1]", "invalid_record"),
    ] {
        let body = format!("{}\n\n{bad}\n", lines[0]);
        let answer = fixture.call("POST", "/invocations", &[LINES], body);
        let message = answer.expect_error_in(400, code);
        assert!(message.contains("line 3"), "{message}");
    }
}

#[test]
fn attributes_go_back_and_headers_choose_the_model() {
    let fixture = Fixture::new(&[RISK, "types"]);
    fixture.alias(RISK, "blue", "1.0.0");
    let (record, label) = records().remove(0);
    let body = json!({"instances": [record]}).to_string();
    let attributes = ("x-amzn-sagemaker-custom-attributes", "trace-id=7, c=\"d\"");
    let target = |name| ("x-amzn-sagemaker-target-model", name);
    for model in [RISK, "tumour-risk.tar.gz", "/tumour-risk:blue"] {
        let answer = fixture.call(
            "POST",
            "/invocations",
            &[JSON, attributes, target(model)],
            body.clone(),
        );
        assert_eq!(answer.ok()["predictions"], json!([label]), "{model}");
        assert_eq!(answer.headers[attributes.0], attributes.1);
    }
    let variant = |name| ("x-amzn-sagemaker-target-variant", name);
    let blue = fixture.call(
        "POST",
        "/invocations",
        &[JSON, target(RISK), variant("blue")],
        body.clone(),
    );
    assert_eq!(blue.headers["x-twinfer-model"], RISK);
    let answer = fixture.call(
        "POST",
        "/invocations",
        &[JSON, target(RISK), variant("green")],
        body.clone(),
    );
    answer.expect_error_in(404, "unknown_version");
    let answer = fixture.call(
        "POST",
        "/invocations",
        &[JSON, target("none")],
        body.clone(),
    );
    answer.expect_error_in(404, "unknown_model");
    // Nobody says which of the two it is.
    let answer = fixture.call("POST", "/invocations", &[JSON], body.clone());
    answer.expect_error_in(404, "unknown_model");
    // As an endpoint with several models calls it.
    let answer = fixture.call("POST", "/models/tumour-risk/invoke", &[JSON], body);
    assert_eq!(answer.ok()["predictions"], json!([label]));
}

#[test]
fn pictures() {
    let fixture = Fixture::new(&["face-detector"]);
    let jpeg = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    for content_type in [
        "application/x-image",
        "image/jpeg",
        "application/octet-stream",
    ] {
        let answer = fixture.call(
            "POST",
            "/invocations",
            &[("content-type", content_type)],
            jpeg.clone(),
        );
        let boxes = &answer.ok()["predictions"][0]["boxes"];
        assert!(boxes.as_array().unwrap().len() > 2, "{content_type}");
    }
    let answer = fixture.call(
        "POST",
        "/invocations",
        &[("content-type", "image/jpeg")],
        "no picture",
    );
    answer.expect_error_in(400, "invalid_picture");
    let answer = fixture.call("POST", "/invocations", &[CSV], "1,2\n");
    assert_eq!(answer.status, 400);
}
