//! Keys, certificates, and what is open without.

use twinfer_gateway::{Gateway, Rules, Scope, Scopes, Settings};
use twinfer_state::MemoryState;

use crate::support::{Ask, bare, code, described, gateway, key, rules};

/// A path of each scope, and what comes of it.
const PATHS: [(&str, &str); 8] = [
    ("health", "/healthz"),
    ("predict", "/v2/models/m/predict"),
    ("metadata", "/v2/models"),
    ("metrics", "/metrics"),
    ("admin", "/v2/repository/index"),
    ("packages", "/registry/index.json"),
    ("page", "/"),
    ("file", "/app.js"),
];

fn codes(gateway: &Gateway) -> Vec<&'static str> {
    PATHS
        .iter()
        .map(|(_, path)| Ask::get(path).code(gateway))
        .collect()
}

#[test]
fn without_settings_this_machine_may_all_but_admin() {
    let expected = ["ok", "ok", "ok", "ok", "unauthorized", "ok", "ok", "ok"];
    assert_eq!(codes(&bare(true, &[])), expected);
    // What nobody knows is not there, for anybody.
    assert_eq!(Ask::get("/v2/x").code(&bare(true, &[])), "not_found");
}

#[test]
fn beyond_it_nothing_but_health_and_predictions_is_open() {
    let no = "unauthorized";
    assert_eq!(
        codes(&bare(false, &[])),
        ["ok", "ok", "ok", no, no, no, no, no]
    );
    let opened = bare(false, &[Scope::Page, Scope::Packages, Scope::Metrics]);
    assert_eq!(
        codes(&opened),
        ["ok", "ok", "ok", "ok", no, "ok", "ok", "ok"]
    );
}

#[test]
fn with_settings_only_what_they_say_is_open() {
    let mut rules = rules("open = [\"page\"]");
    rules.loopback = true;
    rules.surface.page_files = true;
    let no = "unauthorized";
    let opened = Gateway::new(rules.clone()).unwrap();
    assert_eq!(codes(&opened), ["ok", no, no, no, no, no, "ok", "ok"]);
    rules.open = Scopes::of(&[Scope::Predict]);
    let opened = Gateway::new(rules).unwrap();
    assert_eq!(codes(&opened), ["ok", "ok", "ok", no, no, no, "ok", "ok"]);
}

#[test]
fn admin_is_never_open() {
    let rules = Rules {
        open: Scopes::of(&[Scope::Admin]),
        loopback: true,
        ..Rules::default()
    };
    assert!(Gateway::new(rules).is_err());
    assert!(Settings::from_toml("open = [\"admin\"]").is_err());
}

fn with_keys() -> Gateway {
    gateway(&format!(
        r#"
        [[keys]]
        id = "clinic"
        sha256 = "{}"
        scopes = ["predict"]
        models = ["tumour-*", "face-detector"]
        expires = "2027-02-01T00:00:00Z"

        [[keys]]
        id = "operator"
        sha256 = "{}"
        scopes = ["admin", "metrics", "predict", "packages"]

        [[certificates]]
        subject = "CN=scraper,*"
        scopes = ["metrics"]
        "#,
        key(1).sha256(),
        key(2).sha256()
    ))
}

#[test]
fn a_key_may_what_its_scopes_and_models_say() {
    let gateway = with_keys();
    for (number, path, expected) in [
        (1, "/v2/models/tumour-risk/predict", "ok"),
        (1, "/v1/models/face-detector:predict", "ok"),
        (1, "/v2/models/file-type/predict", "forbidden"),
        (1, "/v2/models/nobody/predict", "forbidden"),
        (1, "/v2/models/file-type:tumour-x/predict", "forbidden"),
        (1, "/v2", "ok"),
        (1, "/v2/models", "forbidden"),
        (1, "/invocations", "forbidden"),
        (1, "/metrics", "forbidden"),
        (1, "/v2/repository/index", "forbidden"),
        (1, "/v2/%72epository/index", "forbidden"),
        (1, "/v2/models/tumour-risk/unknown", "not_found"),
        (2, "/v2/repository/index", "ok"),
        (2, "/v2/models/tumour-risk/unknown", "ok"),
        (2, "/v2/models", "ok"),
        (2, "/invocations", "ok"),
        (2, "/", "forbidden"),
        (3, "/v2/models/tumour-risk/predict", "unauthorized"),
    ] {
        let key = key(number);
        let asks = [
            Ask::get(path).bearer(key.secret()),
            Ask::get(path).header("x-api-key", key.secret()),
        ];
        for ask in asks {
            assert_eq!(ask.code(&gateway), expected, "{number} {path}");
        }
    }
}

/// A key with every scope, and one model.
#[test]
fn what_shows_all_models_is_for_nobody_who_may_see_some() {
    let gateway = gateway(&format!(
        r#"
        [[keys]]
        id = "one"
        sha256 = "{}"
        scopes = ["predict", "metrics", "admin", "packages", "page"]
        models = ["a"]
        "#,
        key(1).sha256()
    ));
    for (path, expected) in [
        ("/v2/models/a/infer", "ok"),
        ("/v2/models/b/infer", "forbidden"),
        ("/v2/repository/models/a/load", "ok"),
        ("/v2/repository/models/b/load", "forbidden"),
        ("/v2/repository/index", "forbidden"),
        ("/v2/models", "forbidden"),
        ("/models", "forbidden"),
        ("/registry/index.json", "forbidden"),
        ("/openapi.json", "forbidden"),
        ("/console/models/b", "forbidden"),
        ("/", "ok"),
        ("/metrics", "ok"),
    ] {
        let ask = Ask::get(path).bearer(key(1).secret());
        assert_eq!(ask.code(&gateway), expected, "{path}");
    }
    let ask = |number: u8, path: &str| {
        let ask = Ask::post(path).bearer(key(number).secret());
        ask.of(&gateway, &MemoryState::new())
    };
    let admitted = ask(1, "/v2/models/a/infer");
    assert!(admitted.covers("a") && !admitted.covers("b"));
}

#[test]
fn a_header_that_names_a_model_counts_as_well() {
    let gateway = with_keys();
    let ask = |number, target: &str| {
        let ask = Ask::post("/v2/models/tumour-risk/predict").bearer(key(number).secret());
        ask.header("x-amzn-sagemaker-target-model", target)
            .code(&gateway)
    };
    assert_eq!(ask(1, "tumour-size.tar.gz"), "ok");
    assert_eq!(ask(1, "file-type.tar.gz"), "forbidden");
    assert_eq!(ask(1, "file-type:tumour-x"), "forbidden");
    assert_eq!(ask(2, "file-type"), "ok");
}

#[test]
fn health_is_open_whatever_is_sent() {
    let gateway = with_keys();
    assert_eq!(Ask::get("/healthz").bearer("nonsense").code(&gateway), "ok");
}

#[test]
fn a_key_ends_at_its_time() {
    let gateway = with_keys();
    let ask = |now| {
        Ask::get("/v2/models/tumour-risk")
            .bearer(key(1).secret())
            .at(now)
    };
    // 2027-02-01 in seconds since 1970.
    let end = 1_801_440_000_000;
    assert_eq!(ask(end - 1).code(&gateway), "ok");
    assert_eq!(ask(end).code(&gateway), "unauthorized");
}

#[test]
fn credentials_that_do_not_count_are_told_one_thing() {
    let gateway = with_keys();
    let path = "/v2/models/tumour-risk";
    let expired = Ask::get(path).bearer(key(1).secret()).at(1_900_000_000_000);
    let mut seen = Vec::new();
    for ask in [
        expired,
        Ask::get(path).bearer(key(9).secret()),
        Ask::get(path).bearer("a.b.c"),
        Ask::get(path).bearer(&key(1).sha256()),
        Ask::get(path).header("x-api-key", "clinic"),
        Ask::get(path).header("authorization", "Basic Y2xpbmlj"),
        Ask::get(path)
            .bearer(key(1).secret())
            .bearer(key(1).secret()),
    ] {
        let decision = ask.of(&gateway, &MemoryState::new());
        assert_eq!(code(&decision), "unauthorized");
        let headers = described(&decision);
        let refusal = decision.verdict.unwrap_err();
        seen.push((refusal.message, headers["www-authenticate"].clone()));
    }
    assert!(seen.iter().all(|said| said == &seen[0]), "{seen:?}");
    assert_eq!(
        seen[0].1,
        r#"Bearer realm="twinfer", error="invalid_token""#
    );
}

#[test]
fn refusals_have_the_headers_of_their_kind() {
    let gateway = with_keys();
    let anonymous = Ask::get("/v2").of(&gateway, &MemoryState::new());
    let headers = described(&anonymous);
    assert_eq!(headers["www-authenticate"], r#"Bearer realm="twinfer""#);
    assert_eq!(headers["cache-control"], "no-store");
    let refused = Ask::get("/metrics").bearer(key(1).secret());
    let headers = described(&refused.of(&gateway, &MemoryState::new()));
    assert!(
        headers["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("insufficient_scope")
    );
}

#[test]
fn without_keys_the_credentials_of_a_proxy_do_not_matter() {
    let ask = Ask::get("/v2/models/m").header("authorization", "Basic Y2xpbmlj");
    assert_eq!(ask.code(&bare(false, &[])), "ok");
}

#[test]
fn a_certificate_counts_where_nothing_else_is_sent() {
    let gateway = with_keys();
    let mut ask = Ask::get("/metrics");
    ask.subject = Some("CN=scraper,O=Example".into());
    let decision = ask.of(&gateway, &MemoryState::new());
    assert_eq!(code(&decision), "ok");
    let principal = decision.principal.unwrap().to_string();
    assert_eq!(principal, "certificate:CN=scraper,O=Example");
    ask.subject = Some("CN=other".into());
    assert_eq!(ask.code(&gateway), "unauthorized");
    ask.subject = Some("CN=scraper,O=Example".into());
    assert_eq!(ask.bearer("wrong").code(&gateway), "unauthorized");
}

#[test]
fn what_was_for_one_is_not_kept_for_the_next() {
    let gateway = with_keys();
    let secret = key(2);
    let after = |path: &str, known: &str| {
        let decision = Ask::get(path)
            .bearer(secret.secret())
            .of(&gateway, &MemoryState::new());
        let mut headers = http::HeaderMap::new();
        if !known.is_empty() {
            headers.insert("cache-control", known.parse().unwrap());
        }
        decision.describe(&mut headers);
        headers["cache-control"].to_str().unwrap().to_owned()
    };
    assert_eq!(after("/v2/models/m", ""), "no-store");
    assert_eq!(after("/metrics", "public"), "no-store");
    let blob = "/registry/blobs/sha256/00";
    assert_eq!(after(blob, "public, immutable"), "private, immutable");
    assert_eq!(after(blob, "no-cache"), "private, no-cache");
    assert_eq!(after(blob, ""), "no-store");
    let open = Ask::get("/v2/models").of(&bare(true, &[]), &MemoryState::new());
    assert!(described(&open).is_empty());
}

#[test]
fn only_actions_of_administrators_are_audited() {
    let gateway = with_keys();
    for (path, expected) in [
        ("/v2/repository/index", true),
        ("/v2", false),
        ("/v2/x", false),
    ] {
        let decision = Ask::post(path).of(&gateway, &MemoryState::new());
        assert_eq!(decision.is_audited(), expected, "{path}");
    }
}

#[test]
fn content_types_that_make_no_sense_are_refused() {
    let gateway = with_keys();
    let secret = key(2);
    for (path, types, expected) in [
        ("/v2/models/m/predict", &["image/png"][..], "ok"),
        (
            "/v2/models/m/predict",
            &["application/json; charset=utf-8"],
            "ok",
        ),
        ("/v2/models/m/predict", &[], "ok"),
        ("/v2/models/m/predict", &["json"], "unsupported_media_type"),
        ("/v2/models/m/predict", &["a/b/c"], "unsupported_media_type"),
        ("/v2/models/m/predict", &[""], "unsupported_media_type"),
        (
            "/v2/models/m/predict",
            &["a/b", "a/b"],
            "unsupported_media_type",
        ),
        ("/v2/repository/index", &[], "ok"),
        ("/v2/repository/index", &["application/json"], "ok"),
        (
            "/v2/repository/index",
            &["text/plain"],
            "unsupported_media_type",
        ),
        (
            "/v2/repository/index",
            &["application/x-www-form-urlencoded"],
            "unsupported_media_type",
        ),
    ] {
        let mut ask = Ask::post(path).bearer(secret.secret());
        for value in types {
            ask = ask.header("content-type", value);
        }
        assert_eq!(ask.code(&gateway), expected, "{path} {types:?}");
    }
}
