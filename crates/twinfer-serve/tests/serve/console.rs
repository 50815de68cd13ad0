//! The page that the application brings.

use bytes::Bytes;
use serde_json::json;

use crate::support::{Answer, Fixture, SHARED};

const FILES: [(&str, &str); 10] = [
    ("/", "text/html; charset=utf-8"),
    ("/console", "text/html; charset=utf-8"),
    ("/console/app.js", "text/javascript; charset=utf-8"),
    ("/console/page.js", "text/javascript; charset=utf-8"),
    ("/console/traffic.js", "text/javascript; charset=utf-8"),
    ("/console/try.js", "text/javascript; charset=utf-8"),
    ("/console/tensors.js", "text/javascript; charset=utf-8"),
    ("/console/answer.js", "text/javascript; charset=utf-8"),
    ("/console/style.css", "text/css; charset=utf-8"),
    ("/console/icon.svg", "image/svg+xml"),
];

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn its_files_are_sent_with_a_policy_that_allows_nothing_else() {
    for (path, content_type) in FILES {
        let answer = SHARED.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["content-type"], content_type);
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[test]
fn it_loads_only_files_that_are_there() {
    let page = text(&SHARED.get("/console"));
    let mut seen = 0;
    for attribute in ["src=\"", "href=\""] {
        for part in page.split(attribute).skip(1) {
            let path = part.split('"').next().unwrap();
            if path.starts_with('#') {
                continue;
            }
            assert!(path.starts_with('/'), "{path} is of another host");
            assert_eq!(SHARED.get(path).status, 200, "{path}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
    // The policy would stop these.
    for (path, _) in FILES {
        let file = text(&SHARED.get(path));
        assert!(!file.contains("style=\""), "{path} has an inline style");
        assert!(!file.contains(" onclick="), "{path} has an inline handler");
        assert!(!file.contains("innerHTML"), "{path} makes markup of texts");
    }
}

#[test]
fn a_model_comes_with_what_it_takes_and_inputs_to_try() {
    let model = SHARED.get("/console/models/tumour-risk").ok();
    assert_eq!(
        model["pipeline"]["input"]["columns"]
            .as_array()
            .unwrap()
            .len(),
        30
    );
    assert_eq!(model["signature"]["inputs"][0]["name"], "X");
    // Every example can be sent as it stands.
    for name in ["face-detector", "file-type", "tumour-risk", "types"] {
        let model = SHARED.get(&format!("/console/models/{name}")).ok();
        let examples = model["examples"].as_array().unwrap();
        assert!(!examples.is_empty() && examples.len() <= 12, "{name}");
        for example in examples.iter().take(2) {
            let body = json!({"inputs": example["input"], "parameters": example["parameters"]});
            let answer = SHARED.post_json(&format!("/v2/models/{name}/predict"), &body);
            assert_eq!(answer.ok()["digest"], model["digest"], "{name}");
        }
    }
    SHARED
        .get("/console/models/nobody")
        .expect_error(404, "unknown_model");
}

#[test]
fn where_the_metrics_are_is_what_the_shell_says() {
    assert_eq!(
        SHARED.get("/console/settings").ok(),
        json!({"metrics": null})
    );
    let fixture = Fixture::with(&[], |options| options.metrics = Some("/metrics".into()));
    assert_eq!(
        fixture.get("/console/settings").ok(),
        json!({"metrics": "/metrics"})
    );
}

#[test]
fn who_has_a_file_gets_none() {
    let tag = SHARED.get("/console/app.js").headers["etag"].clone();
    let request = http::Request::get("/console/app.js").header("if-none-match", tag);
    let answer = SHARED.send(request.body(Bytes::new()).unwrap());
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

#[test]
fn what_is_no_file_of_it() {
    for path in [
        "/console/x.js",
        "/console/..",
        "/console/%2e%2e/app.js",
        "/index.html",
    ] {
        SHARED.get(path).expect_error(404, "not_found");
    }
    SHARED
        .post("/console", "", "")
        .expect_error(405, "method_not_allowed");
}
