//! Triton's extensions: configuration, statistics, repository.

use bytes::Bytes;
use serde_json::{Value, json};
use twinfer_serve::AdminToken;

use crate::support::{Answer, Fixture, SHARED};
use crate::trust;

const TOKEN: &str = "a-token-of-the-tests";
const GOOD: &str = r#"{"inputs":[{"name":"i","shape":[3],"datatype":"INT64","data":[1,2,3]},{"name":"b","shape":[2],"datatype":"BOOL","data":[true,true]},{"name":"d","shape":[1],"datatype":"FP64","data":[1]}]}"#;

fn with_repository(recipes: &[&str]) -> Fixture {
    Fixture::with(recipes, |options| {
        options.repository = Some(AdminToken::new(TOKEN).unwrap());
    })
}

fn ask(fixture: &Fixture, path: &str, token: Option<&str>, body: &str) -> Answer {
    let mut request = http::Request::post(format!("/v2/repository/{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    fixture.send(
        request
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap(),
    )
}

/// Name, version and state of each entry.
fn states(index: &Value) -> Vec<String> {
    let entries = index.as_array().unwrap().iter();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    entries
        .map(|e| {
            format!(
                "{} {} {}",
                text(e, "name"),
                text(e, "version"),
                text(e, "state")
            )
        })
        .collect()
}

#[test]
fn the_configuration_is_in_tritons_words() {
    let config = SHARED.get("/v2/models/types/config").ok();
    assert_eq!(config["name"], "types");
    assert_eq!(config["max_batch_size"], 0);
    assert_eq!(
        config["input"],
        json!([
            {"name": "i", "data_type": "TYPE_INT64", "dims": [3]},
            {"name": "b", "data_type": "TYPE_BOOL", "dims": [2]},
            {"name": "d", "data_type": "TYPE_FP64", "dims": [1]},
        ])
    );
    let risk = SHARED
        .get("/v2/models/tumour-risk/versions/1.0.0/config")
        .ok();
    assert_eq!(risk["output"][0]["data_type"], "TYPE_STRING");
    SHARED
        .get("/v2/models/nobody/config")
        .expect_error(404, "unknown_model");
}

#[test]
fn statistics_count_answers_and_errors_of_each_version() {
    let fixture = Fixture::new(&["types"]);
    fixture.pack_version("types", "1.1.0");
    let count = |path: &str, kind: &str| {
        let stats = fixture.get(path).ok();
        let of_all = stats["model_stats"].as_array().unwrap();
        let count = |s: &Value| s["inference_stats"][kind]["count"].as_u64().unwrap();
        of_all.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(count("/v2/models/stats", "success"), [0, 0]);
    fixture.post("/v2/models/types/infer", "", GOOD).ok();
    fixture.post("/v2/models/types/infer", "", GOOD).ok();
    let old = "/v2/models/types/versions/1.0.0";
    fixture
        .post(&format!("{old}/infer"), "", "{}")
        .expect_error(400, "invalid_request");
    // The highest version first.
    assert_eq!(count("/v2/models/types/stats", "success"), [2, 0]);
    assert_eq!(count("/v2/models/types/stats", "fail"), [0, 1]);
    assert_eq!(count(&format!("{old}/stats"), "fail"), [1]);
    assert_eq!(count("/v2/models/stats", "success"), [2, 0]);
    // What says something of a model without running it does not count.
    fixture.get(&format!("{old}/ready")).ok();
    fixture
        .get("/v2/models/nobody/stats")
        .expect_error(404, "unknown_model");
    assert_eq!(count("/v2/models/types/stats", "success"), [2, 0]);
}

#[test]
fn times_are_those_of_the_clock() {
    let fixture = Fixture::with(&["types"], |options| {
        use std::sync::atomic::{AtomicU32, Ordering};
        static TICKS: AtomicU32 = AtomicU32::new(0);
        options.clock = Some(|| TICKS.fetch_add(1, Ordering::Relaxed).into());
    });
    fixture.post("/v2/models/types/infer", "", GOOD).ok();
    let stats = fixture.get("/v2/models/types/stats").ok();
    let times = &stats["model_stats"][0]["inference_stats"];
    let ns = |kind: &str| times[kind]["ns"].as_u64().unwrap();
    assert!(
        ns("load") >= 1_000_000 && ns("compute_infer") >= 1_000_000,
        "{times}"
    );
    let parts = ["load", "compute_input", "compute_infer", "compute_output"];
    assert_eq!(ns("success"), parts.map(ns).iter().sum::<u64>(), "{times}");
}

#[test]
fn requests_that_run_together_count_once_each() {
    let fixture = Fixture::new(&["types"]);
    let request = || {
        let request = http::Request::post("/v2/models/types/infer");
        request.body(Bytes::from_static(GOOD.as_bytes())).unwrap()
    };
    let answers = fixture
        .app
        .handle_all(vec![request(), request(), request()]);
    assert!(answers.answers.iter().all(|answer| answer.status() == 200));
    let stats = fixture.get("/v2/models/types/stats").ok();
    let stats = &stats["model_stats"][0]["inference_stats"];
    assert_eq!(stats["success"]["count"], 3);
    assert_eq!(stats["fail"]["count"], 0);
}

#[test]
fn the_repository_is_off_unless_it_is_turned_on() {
    assert!(
        !SHARED.get("/v2").ok()["extensions"]
            .to_string()
            .contains("repository")
    );
    for path in ["index", "models/types/load", "models/types/unload"] {
        let said = ask(&SHARED, path, Some(TOKEN), "").expect_error(404, "not_found");
        assert!(said.contains("TWINFER_REPOSITORY"), "{said}");
    }
}

#[test]
fn the_repository_is_for_who_has_the_token() {
    let fixture = with_repository(&["types"]);
    assert!(
        fixture.get("/v2").ok()["extensions"]
            .to_string()
            .contains("model_repository")
    );
    for path in ["index", "models/types/load", "models/types/unload"] {
        for token in [None, Some("another-token-of-tests"), Some("")] {
            let refused = ask(&fixture, path, token, "");
            refused.expect_error(401, "unauthorized");
            assert_eq!(refused.headers["www-authenticate"], "Bearer");
        }
        ask(&fixture, path, Some(TOKEN), "").ok();
    }
}

#[test]
fn the_index_says_what_can_be_asked() {
    let fixture = with_repository(&["types"]);
    fixture.pack_version("types", "1.1.0");
    fixture.alias("types", "stable", "1.0.0");
    let index = || ask(&fixture, "index", Some(TOKEN), "").ok();
    assert_eq!(states(&index()), ["types 1.1.0 READY", "types 1.0.0 READY"]);
    assert_ne!(index()[0]["reason"], "");
    let loaded = ask(&fixture, "models/types/load", Some(TOKEN), "{}").ok();
    assert_eq!(
        (&loaded["name"], &loaded["version"]),
        (&json!("types"), &json!("1.1.0"))
    );
    assert_eq!(index()[0]["reason"], "");
    let body = json!({"parameters": {"unload_dependents": false}}).to_string();
    let unloaded = ask(&fixture, "models/types/unload", Some(TOKEN), &body).ok();
    assert_eq!(unloaded["unloaded"], json!(["1.1.0"]));
    assert_ne!(index()[0]["reason"], "");
    // What is served is decided by the registry: it answers all the same.
    fixture.post("/v2/models/types/infer", "", GOOD).ok();
    assert_eq!(index()[0]["reason"], "");
}

#[test]
fn what_the_trust_policy_refuses_is_not_ready() {
    let fixture = Fixture::with(&["types"], |options| {
        options.repository = Some(AdminToken::new(TOKEN).unwrap());
        options.trust = trust::policy(|| 0);
    });
    let all = ask(&fixture, "index", Some(TOKEN), "{}").ok();
    assert_eq!(states(&all), ["types 1.0.0 UNAVAILABLE"]);
    assert!(!all[0]["reason"].as_str().unwrap().is_empty());
    let ready = ask(&fixture, "index", Some(TOKEN), r#"{"ready": true}"#).ok();
    assert_eq!(ready, json!([]));
    ask(&fixture, "models/types/load", Some(TOKEN), "").expect_error(403, "unsigned_package");
}

#[test]
fn bad_requests_to_the_repository() {
    let fixture = with_repository(&["types"]);
    for (path, body, status, code) in [
        ("index", "{", 400, "invalid_json"),
        ("index", "[]", 400, "invalid_request"),
        ("index", r#"{"ready": 1}"#, 400, "invalid_request"),
        ("models/nobody/load", "", 404, "unknown_model"),
        ("models/nobody/unload", "", 404, "unknown_model"),
        ("models/No%20body/load", "", 400, "invalid_reference"),
        (
            "models/types/load",
            r#"{"parameters": {"config": "{}"}}"#,
            400,
            "invalid_parameter",
        ),
        (
            "models/types/load",
            r#"{"parameters": []}"#,
            400,
            "invalid_request",
        ),
        ("models/types/unload", "x", 400, "invalid_json"),
    ] {
        ask(&fixture, path, Some(TOKEN), body).expect_error(status, code);
    }
    fixture
        .get("/v2/repository/index")
        .expect_error(405, "method_not_allowed");
    ask(&fixture, "models/types/explain", Some(TOKEN), "").expect_error(404, "not_found");
}
