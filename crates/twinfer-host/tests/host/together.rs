//! Requests that come at about the same time run together, and nobody notices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::component::start;
use crate::observe::{observed, value};
use crate::support::Fixture;

fn shared(config: &mut twinfer_host::HostConfig) {
    config.limits.max_instances = 1;
    // Long enough that all of them have come on a busy machine; a full group does not wait.
    config.limits.batch_window = Some(Duration::from_millis(1000));
    config.limits.max_batch = 8;
    config.bundle_token = Some("secret-of-the-test".into());
    let variable = ("TWINFER_BUNDLE".into(), "secret-of-the-test".into());
    config.env.push(variable);
}

/// All at once, the answers in their order.
fn at_once(fixture: &Fixture, path: &str, bodies: &[Value]) -> Vec<(u16, Value)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = bodies
            .iter()
            .map(|body| {
                let text = body.to_string();
                scope.spawn(move || fixture.post(path, "application/json", text.as_bytes()))
            })
            .collect();
        let answers = asked.into_iter().map(|one| one.join().unwrap());
        answers
            .map(|answer| (answer.status, answer.json()))
            .collect()
    })
}

/// Of one what there is to compare: timings differ.
fn outputs(answer: &(u16, Value)) -> (u16, Value) {
    let (status, json) = answer;
    (
        *status,
        json!({"outputs": json["outputs"], "id": json["id"], "code": json["code"]}),
    )
}

#[test]
fn what_runs_together_is_answered_as_alone() {
    const PATH: &str = "/v2/models/tumour-risk/infer";
    let alone = start(&["models/tumour-risk"], |_| {});
    let fixture = start(&["models/tumour-risk"], |config| {
        shared(config);
        observed(config);
    });
    let body = |row: usize| {
        let data: Vec<f32> = (0..30).map(|at| (at * row) as f32 * 0.5).collect();
        let columns = if row == 3 { 29 } else { 30 };
        let tensor = json!({"name": "X", "datatype": "FP32", "shape": [1, columns], "data": data[..columns]});
        json!({"id": row.to_string(), "inputs": [tensor]})
    };
    let bodies: Vec<Value> = (0..8).map(body).collect();
    let expected: Vec<_> = bodies
        .iter()
        .map(|body| {
            let answer = alone.post(PATH, "application/json", body.to_string().as_bytes());
            outputs(&(answer.status, answer.json()))
        })
        .collect();
    assert_eq!(expected[3].1["code"], "wrong_shape");
    for _ in 0..5 {
        let answers = at_once(&fixture, PATH, &bodies);
        let answers: Vec<_> = answers.iter().map(outputs).collect();
        assert_eq!(answers, expected);
    }
    // All eight but the wrong one, each time.
    assert_eq!(
        fixture.count(&["handed_over", "\"requests\":8", "\"joined\":7"]),
        5
    );
    // A row each. The first three batches were run both ways, the others once.
    let counted = |name: &str| {
        let text = fixture.get("/metrics?names=triton").text();
        let series = format!(r#"{name}{{model="tumour-risk",version="1.0.0"}}"#);
        value(&text, &series)
    };
    // An answer is counted when it has been written.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while counted("nv_inference_count") != Some(35.0) && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(25));
    }
    assert_eq!(counted("nv_inference_count"), Some(35.0));
    assert_eq!(counted("nv_inference_exec_count"), Some(26.0));
}

#[test]
fn a_model_that_takes_no_batch_is_left_alone() {
    const PATH: &str = "/v2/models/face-detector/predict";
    let fixture = start(&["models/face-detector"], shared);
    let wrong = json!({"inputs": {"picture": {"base64": "AAAA"}}});
    let answers = at_once(&fixture, PATH, &vec![wrong.clone(); 8]);
    assert!(
        answers
            .iter()
            .all(|(status, json)| *status == 400 && json["code"] == "invalid_picture")
    );
    assert_eq!(fixture.count(&["handed_over", "\"joined\":0"]), 1);
    at_once(&fixture, PATH, &vec![wrong; 8]);
    assert_eq!(fixture.count(&["handed_over"]), 1);
}

/// The guest of the tests knows nothing of bundles, and traps: everybody gets an answer of their own.
#[test]
fn a_bundle_that_fails_costs_nobody_their_answer() {
    let fixture = Fixture::new(shared);
    let answers = at_once(&fixture, "/v2/panic", &vec![json!({}); 8]);
    assert!(
        answers
            .iter()
            .all(|(status, json)| *status == 500 && json["code"] == "internal")
    );
    let nobody = fixture.count(&["handed_over"]);
    assert_eq!(nobody, 0);
}

/// What a client sends is no bundle, whatever it says of itself.
#[test]
fn clients_cannot_send_bundles() {
    let fixture = start(&["models/tumour-risk"], shared);
    let request = http::Request::post("/v2/models/tumour-risk/infer");
    let request = request.body(bytes::Bytes::from_static(b"{}")).unwrap();
    let bundle = twinfer_bundle::of_requests(&[request]);
    let head = format!(
        "POST /v2/models/tumour-risk/infer HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: {}\r\n{}: guessed\r\ncontent-length: {}\r\n\r\n",
        twinfer_bundle::CONTENT_TYPE,
        twinfer_bundle::TOKEN,
        bundle.len()
    );
    let answer = fixture.send([head.as_bytes(), &bundle].concat());
    assert_eq!(answer.status, 400, "{}", answer.text());
}
