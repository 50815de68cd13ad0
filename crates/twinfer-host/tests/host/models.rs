//! A key for one model reaches no other, whatever protocol it speaks; and what the host knows of
//! the model that answered.

use serde_json::json;
use twinfer_gateway::{ApiKey, Settings};
use twinfer_host::{HostConfig, ObserveOptions, Observer};
use twinfer_package::{FolderStore, Reference, Store, resolve};

use crate::component::start;
use crate::support::{Answer, Fixture};

const RECIPES: [&str; 2] = ["tests/models/math-probe", "tests/models/types"];
/// The model that the key for one is for, and the other, which answers where none is named.
const OWN: &str = "math-probe";
const OTHER: &str = "types";
const JSON: &str = "content-type: application/json\r\n";
const EVENT: &str = "content-type: application/json\r\nce-id: 1\r\nce-source: /t\r\nce-specversion: 1.0\r\nce-type: t\r\n";

fn key(number: u8) -> ApiKey {
    ApiKey::new(&[number; 32])
}

/// A key with all scopes for [`OWN`], and one for all models.
fn settings() -> Settings {
    let keys = [(1, json!([OWN])), (2, json!(["*"]))].map(|(number, models)| {
        json!({
            "id": format!("key-{number}"), "sha256": key(number).sha256(), "models": models,
            "scopes": ["predict", "page", "packages", "admin", "metrics"],
        })
    });
    Settings::from_json(&json!({"keys": keys}).to_string()).unwrap()
}

fn serving(change: impl FnOnce(&mut HostConfig)) -> Fixture {
    start(&RECIPES, |config| {
        config.limits.max_instances = 1;
        config.access.guarded = true;
        config.access.settings = Some(settings());
        let variables = [
            ("TWINFER_DEFAULT_MODEL", OTHER),
            ("AIP_PREDICT_ROUTE", "/aip/predict"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.env.extend(variables);
        change(config);
    })
}

fn digest(host: &Fixture, name: &str) -> String {
    let index = Store::index(&FolderStore::new(host.registry())).unwrap();
    let reference: Reference = name.parse().unwrap();
    resolve(&index, &reference).unwrap().digest.to_string()
}

fn ask(host: &Fixture, number: u8, (method, path, headers, body): Request<'_>) -> Answer {
    let (key, length) = (key(number), body.len());
    let secret = key.secret();
    host.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-api-key: {secret}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    ))
}

/// Method, path, header lines, body.
type Request<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Of every protocol what reaches the other model.
const REACHING: &[Request<'_>] = &[
    // Open Inference Protocol.
    ("GET", "/v2/models/types", "", ""),
    ("GET", "/v2/models/types/config", "", ""),
    ("GET", "/v2/models/types/stats", "", ""),
    ("GET", "/v2/models/types/ready", "", ""),
    ("GET", "/v2/models/types/versions/1.0.0", "", ""),
    ("GET", "/v2/models/%74ypes", "", ""),
    ("POST", "/v2/models/types/infer", JSON, "{}"),
    ("POST", "/v2/models/types/predict", JSON, "{}"),
    ("POST", "/v2/models/types/versions/1.0.0/infer", JSON, "{}"),
    ("POST", "/v2/models/types:1.0.0/infer", JSON, "{}"),
    ("GET", "/v2/models", "", ""),
    ("GET", "/v2/models/stats", "", ""),
    // TensorFlow Serving.
    ("GET", "/v1/models/types", "", ""),
    ("GET", "/v1/models/types/metadata", "", ""),
    (
        "POST",
        "/v1/models/types:predict",
        JSON,
        "{\"instances\":[]}",
    ),
    (
        "POST",
        "/v1/models/types%3Apredict",
        JSON,
        "{\"instances\":[]}",
    ),
    (
        "POST",
        "/v1/models/types/versions/1:predict",
        JSON,
        "{\"instances\":[]}",
    ),
    (
        "POST",
        "/v1/models/types/versions/1.0.0:classify",
        JSON,
        "{\"examples\":[]}",
    ),
    // MLflow, SageMaker, Azure ML, Vertex AI: all for the model that answers by default.
    ("POST", "/invocations", JSON, "{\"inputs\":{}}"),
    ("POST", "/invocations/", JSON, "{\"inputs\":{}}"),
    ("POST", "/models/types/invoke", JSON, "{\"inputs\":{}}"),
    (
        "POST",
        "/invocations",
        "content-type: application/json\r\nx-amzn-sagemaker-target-model: types.tar.gz\r\n",
        "{\"inputs\":{}}",
    ),
    ("POST", "/score", JSON, "{\"data\":[]}"),
    ("POST", "/aip/predict", JSON, "{\"instances\":[]}"),
    (
        "POST",
        "/v1/endpoints/1/deployedModels/2:predict",
        JSON,
        "{\"instances\":[]}",
    ),
    // TorchServe.
    ("POST", "/predictions/types", JSON, "{}"),
    ("GET", "/predictions/types?i=1", "", ""),
    ("OPTIONS", "/predictions/types", "", ""),
    ("POST", "/predictions/types/1.0.0", JSON, "{}"),
    ("GET", "/models", "", ""),
    ("GET", "/models/types", "", ""),
    ("GET", "/models/types/all", "", ""),
    // CloudEvents.
    ("POST", "/events", EVENT, "{}"),
    ("POST", "/events/types", EVENT, "{}"),
    ("POST", "/events/types/1.0.0", EVENT, "{}"),
    // Ours.
    ("GET", "/console/models/types", "", ""),
    ("GET", "/openapi.json", "", ""),
    ("GET", "/openapi.json?model=types", "", ""),
    ("GET", "/registry/oci-layout", "", ""),
];

#[test]
fn a_key_for_one_model_reaches_no_other_in_any_protocol() {
    let host = serving(|_| {});
    for request in REACHING {
        // It does for who may: else the refusal below would say nothing.
        let reached = ask(&host, 2, *request);
        assert!(
            reached.status == 200 || reached.header("x-twinfer-model") == Some(OTHER),
            "{request:?}: {} {}",
            reached.status,
            reached.text()
        );
        let refused = ask(&host, 1, *request);
        refused.expect_error(403, "forbidden");
        assert_eq!(refused.header("x-twinfer-model"), None, "{request:?}");
    }
}

/// What the door takes for a request for its own model is none for the other behind it.
#[test]
fn no_spelling_of_its_own_model_is_the_other_one() {
    let host = serving(|_| {});
    let other = digest(&host, OTHER);
    let infer = |version: &str| format!("/v2/models/{OWN}/versions/{version}/infer");
    let paths = [
        infer(&other),
        infer(&format!("types@{other}")),
        infer("types:1.0.0"),
        infer("..%2f..%2ftypes"),
        format!("/v2/models/{OWN}@{other}/infer"),
        format!("/v2/models/{OWN}:types/infer"),
        format!("/v2/models/{OWN}%40{other}/infer"),
        format!("/v1/models/{OWN}/versions/{other}:predict"),
        format!("/v1/models/{OWN}/labels/types:predict"),
        format!("/v1/models/{OWN}:types:predict"),
        format!("/predictions/{OWN}/{other}"),
        format!("/events/{OWN}/{other}"),
        format!("/models/{OWN}@{other}/invoke"),
    ];
    for path in paths {
        let answer = ask(&host, 1, ("POST", &path, EVENT, "{}"));
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert_ne!(answer.header("x-twinfer-model"), Some(OTHER), "{path}");
    }
    // Its own model does answer.
    let own = ask(
        &host,
        1,
        ("POST", &format!("/v2/models/{OWN}/infer"), JSON, "{}"),
    );
    assert_eq!(
        (own.status, own.header("x-twinfer-model")),
        (400, Some(OWN))
    );
    // A header that names another one counts as well.
    for header in ["types", "/types.tar.gz", "types:1.0.0", ""] {
        let headers = format!("{JSON}x-amzn-sagemaker-target-model: {header}\r\n");
        let path = format!("/v2/models/{OWN}/infer");
        let answer = ask(&host, 1, ("POST", &path, &headers, "{}"));
        answer.expect_error(403, "forbidden");
    }
}

/// Which model it was is in metrics and log, whatever the path was.
#[test]
fn metrics_and_log_know_the_model_of_every_protocol() {
    let host = serving(|config| {
        config.observer = Some(Observer::new(ObserveOptions::default()).unwrap());
    });
    let body = json!({"inputs": {"i": [1, -2, 3], "b": [true, false], "d": [0.5]}}).to_string();
    let event = json!({"i": [1, -2, 3], "b": [true, false], "d": [0.5]}).to_string();
    let rows = json!({"instances": [{}]}).to_string();
    for (path, headers, body) in [
        ("/invocations", JSON, &body),
        ("/events", EVENT, &event),
        ("/aip/predict", JSON, &rows),
        ("/predictions/types", JSON, &body),
    ] {
        let answer = ask(&host, 2, ("POST", path, headers, body));
        assert_eq!(
            answer.header("x-twinfer-model"),
            Some(OTHER),
            "{path}: {}",
            answer.text()
        );
        let line = format!("\"path\":\"{path}\"");
        host.wait_for_log(&["\"event\":\"request\"", &line, "\"model\":\"types\""]);
    }
    let metrics = ask(&host, 2, ("GET", "/metrics?names=twinfer,triton", "", "")).text();
    for route in ["/invocations", "/events", "/{path}", "/predictions/{model}"] {
        let line = format!(
            "twinfer_request_duration_seconds_count{{model=\"types\",route=\"{route}\",version=\"1.0.0\"}} 1"
        );
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    let counted = |name: &str| -> u64 {
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains("types"));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    let all = counted("nv_inference_request_success{") + counted("nv_inference_request_failure{");
    assert_eq!(all, 4, "{metrics}");
}
