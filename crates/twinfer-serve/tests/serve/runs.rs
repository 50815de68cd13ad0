//! Requests that come together, and predictions that were made before: no answer changes.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::onnx_file::{Type, file};
use crate::support::{Answer, Fixture, recipe};

const FLOAT: u64 = 1;

fn post(path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(body.to_string().into()).unwrap()
}

fn together(fixture: &Fixture, requests: Vec<Request<Bytes>>) -> (Vec<Answer>, usize) {
    let all = fixture.app.handle_all(requests);
    let (answers, joined) = (all.answers.into_iter(), all.joined);
    let answer = |answer: http::Response<Bytes>| {
        let (parts, body) = answer.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    };
    (answers.map(answer).collect(), joined)
}

/// Each as it would be answered alone, to the byte; how many ran with others.
#[track_caller]
fn same(fixture: &Fixture, requests: &[Request<Bytes>]) -> usize {
    let alone = requests
        .iter()
        .cloned()
        .map(|request| fixture.send(request));
    let alone: Vec<Answer> = alone.collect();
    let (all, joined) = together(fixture, requests.to_vec());
    assert_eq!(alone.len(), all.len());
    for (at, (alone, together)) in alone.iter().zip(&all).enumerate() {
        assert_eq!(alone.status, together.status, "{at}: {:?}", together.body);
        assert_eq!(headers(alone), headers(together), "{at}");
        assert_eq!(alone.body, together.body, "{at}");
    }
    joined
}

/// All but that which says how often the model ran.
fn headers(answer: &Answer) -> http::HeaderMap {
    let mut headers = answer.headers.clone();
    headers.remove("x-twinfer-executions");
    headers
}

fn records() -> Vec<Value> {
    let text = std::fs::read_to_string(recipe("tumour-risk").join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let cases = golden["cases"].as_array().unwrap().iter();
    cases
        .map(|case| case["input"]["record"].clone())
        .filter(Value::is_object)
        .collect()
}

#[test]
fn requests_that_come_together_are_answered_as_alone() {
    let fixture = Fixture::new(&[
        "tumour-risk",
        "tumour-risk-mlp",
        "file-type",
        "face-detector",
    ]);
    let mut requests = Vec::new();
    for model in ["tumour-risk", "tumour-risk-mlp"] {
        for record in records() {
            requests.push(post(&format!("/v2/models/{model}/predict"), &record));
        }
    }
    for row in 0..9 {
        let data: Vec<f32> = (0..60).map(|at| (at * row) as f32 * 0.25).collect();
        let tensor = json!({"name": "X", "datatype": "FP32", "shape": [2, 30], "data": data});
        requests.push(post(
            "/v2/models/tumour-risk/infer",
            &json!({"id": row.to_string(), "inputs": [tensor]}),
        ));
    }
    // What takes no part: wrong inputs, other models, other routes, no route.
    let short = json!({"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]});
    requests.push(post(
        "/v2/models/tumour-risk/infer",
        &json!({"inputs": [short]}),
    ));
    requests.push(post(
        "/v2/models/tumour-risk/predict",
        &json!({"no such column": 1}),
    ));
    requests.push(post("/v2/models/nobody/predict", &json!({})));
    requests.push(
        Request::get("/v2/models/tumour-risk")
            .body(Bytes::new())
            .unwrap(),
    );
    requests.push(Request::get("/nothing").body(Bytes::new()).unwrap());
    let picture = std::fs::read(recipe("face-detector").join("pictures/group.jpg")).unwrap();
    for _ in 0..2 {
        let picture =
            Request::post("/v2/models/face-detector/predict").body(picture.clone().into());
        requests.push(picture.unwrap());
    }
    assert!(requests.len() > 20);
    // Often enough that batches are believed, in another order each time.
    for turn in 0..6 {
        requests.rotate_left(turn);
        let joined = same(&fixture, &requests);
        assert!(joined > 12 && joined < requests.len(), "{joined}");
    }
}

/// `y = op(x)` over the rows of a batch.
fn over_rows(op: &str) -> Vec<u8> {
    let tensor = || Type::Tensor(FLOAT);
    file("", op, None, &tensor(), &tensor())
}

#[test]
fn rows_that_influence_each_other_are_never_mixed() {
    let fixture = Fixture::new(&[]);
    // Over its only axis, which is that of the rows: alone each row is 1.
    fixture.pack_file("mixes", &over_rows("Softmax"), "");
    fixture.pack_file("keeps", &over_rows("Sqrt"), "");
    for model in ["mixes", "keeps"] {
        let request = |value: f32| {
            let tensor = json!({"name": "x", "datatype": "FP32", "shape": [1], "data": [value]});
            post(
                &format!("/v2/models/{model}/infer"),
                &json!({"inputs": [tensor]}),
            )
        };
        let requests: Vec<_> = [1.0, 4.0, 9.0].into_iter().map(request).collect();
        let joined: Vec<usize> = (0..300).map(|_| same(&fixture, &requests)).collect();
        match model {
            "keeps" => assert!(joined.iter().all(|joined| *joined == 3)),
            // Found out at the first try.
            _ => assert!(joined.iter().all(|joined| *joined == 0)),
        }
    }
}

#[test]
fn a_run_of_several_requests_is_one_execution_of_all_their_rows() {
    let fixture = Fixture::new(&[]);
    fixture.pack_file("keeps", &over_rows("Sqrt"), "");
    let request = |rows: usize| {
        let tensor =
            json!({"name": "x", "datatype": "FP32", "shape": [rows], "data": vec![4.0; rows]});
        post("/v2/models/keeps/infer", &json!({"inputs": [tensor]}))
    };
    let requests: Vec<_> = [1, 2, 3].into_iter().map(request).collect();
    let stats = || {
        let stats = fixture.get("/v2/models/keeps/stats").ok();
        let of = &stats["model_stats"][0];
        [&of["inference_count"], &of["execution_count"]].map(|n| n.as_u64().unwrap())
    };
    let number = |answer: &Answer, name: &str| -> u64 {
        answer.headers[name].to_str().unwrap().parse().unwrap()
    };
    let (mut rows, mut runs) = (0, 0);
    for turn in 0..6 {
        let (answers, joined) = together(&fixture, requests.clone());
        assert_eq!(joined, 3);
        let of = |name| answers.iter().map(|a| number(a, name)).sum::<u64>();
        let executions = of("x-twinfer-executions");
        // The first three batches are made both ways.
        assert_eq!(executions, if turn < 3 { 4 } else { 1 });
        assert_eq!(of("x-twinfer-inferences"), 6);
        (rows, runs) = (rows + 6, runs + executions);
        assert_eq!(stats(), [rows, runs]);
    }
    // Alone: one execution of two rows. A model without an axis of rows runs once for each.
    fixture.send(request(2));
    assert_eq!(stats(), [rows + 2, runs + 1]);
    fixture.pack(&recipe("tumour-risk"));
    let instances = json!({"instances": [records()[0], records()[1]]});
    let answer = fixture.post_json("/v1/models/tumour-risk:predict", &instances);
    assert_eq!(answer.status, 200);
    assert_eq!(number(&answer, "x-twinfer-inferences"), 2);
    assert_eq!(number(&answer, "x-twinfer-executions"), 2);
}

#[test]
fn a_prediction_that_was_made_before_is_given_again() {
    let fixture = Fixture::with(&["tumour-risk", "tumour-risk-mlp"], |options| {
        options.prediction_cache = 1 << 20;
    });
    let without = Fixture::new(&["tumour-risk", "tumour-risk-mlp"]);
    let ask = |fixture: &Fixture, model: &str, record: &Value| {
        fixture.post_json(&format!("/v2/models/{model}/predict"), record)
    };
    for model in ["tumour-risk", "tumour-risk-mlp"] {
        let mut seen = std::collections::HashSet::new();
        for record in records() {
            let right = ask(&without, model, &record);
            assert!(!right.headers.contains_key("x-twinfer-cache"));
            for turn in 0..2 {
                let answer = ask(&fixture, model, &record);
                assert_eq!(answer.body, right.body);
                let new = turn == 0 && seen.insert(record.to_string());
                let cache = answer.headers.get("x-twinfer-cache");
                if right.status == 200 && (new || turn == 1) {
                    assert_eq!(cache.unwrap(), if new { "miss" } else { "hit" });
                }
            }
        }
    }
    // The same numbers in another form are the same inputs.
    let record = &records()[0];
    let envelope = json!({"inputs": {"record": record}});
    let answer = ask(&fixture, "tumour-risk", &envelope);
    assert_eq!(answer.headers["x-twinfer-cache"], "hit");
    // What failed is not kept.
    for _ in 0..2 {
        let answer = ask(&fixture, "tumour-risk", &json!({"no such column": 1}));
        assert!(answer.status == 400 && !answer.headers.contains_key("x-twinfer-cache"));
    }
}
