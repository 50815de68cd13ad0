//! Who may ask what, over real sockets. The rules themselves are tested in `twinfer-gateway`.

use std::io::Write;

use serde_json::{Value, json};
use twinfer_gateway::{ApiKey, Scope, Scopes, Settings};
use twinfer_host::{AccessConfig, Host, HostConfig, HostErrorKind};

use crate::support::{Answer, Fixture, misbehaving_guest, read_answer, real_component};
use crate::web::Web;

/// Tokens that PyJWT has made for the gateway's own tests.
const TOKENS: &str = include_str!("../../../twinfer-gateway/tests/gateway/data/tokens.json");

fn key(number: u8) -> ApiKey {
    ApiKey::new(&[number; 32])
}

fn guarded(change: impl FnOnce(&mut HostConfig)) -> Fixture {
    let fixture = Fixture::new(|config| {
        config.access.guarded = true;
        change(config);
    });
    std::fs::write(fixture.registry().join("index.json"), "{}").unwrap();
    std::fs::write(fixture.page().join("index.html"), "<p>page</p>").unwrap();
    fixture
}

fn settings(more: &str) -> Settings {
    let hashes = (key(1).sha256(), key(2).sha256());
    Settings::from_toml(&format!(
        r#"
        {more}
        [[keys]]
        id = "clinic"
        sha256 = "{}"
        scopes = ["predict"]
        models = ["tumour-*"]

        [[keys]]
        id = "operator"
        sha256 = "{}"
        scopes = ["admin", "packages"]
        "#,
        hashes.0, hashes.1
    ))
    .unwrap()
}

fn bearer(key: &ApiKey) -> String {
    format!("authorization: Bearer {}\r\n", key.secret())
}

/// The statuses of a path of each scope.
fn statuses(host: &Fixture) -> Vec<u16> {
    // The guest knows none of these routes, and says so with 404.
    [
        "/healthz",
        "/v2/models/m",
        "/metrics",
        "/registry/index.json",
        "/",
        "/v2/repository/index",
    ]
    .iter()
    .map(|path| host.get(path).status)
    .collect()
}

#[test]
fn on_loopback_all_is_open_but_admin() {
    let host = guarded(|_| {});
    assert_eq!(statuses(&host), [200, 404, 404, 200, 200, 401]);
    host.get("/v2/repository/index")
        .expect_error(401, "unauthorized");
    // What is unknown is not asked of the guest.
    host.get("/v2/served").expect_error(404, "not_found");
    host.get("/v2/%72epository/index")
        .expect_error(401, "unauthorized");
}

#[test]
fn beyond_loopback_nothing_is_open_but_predictions_and_health() {
    let all = ([0, 0, 0, 0], 0).into();
    let mut host = guarded(|config| config.listen = all);
    host.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(statuses(&host), [200, 404, 401, 401, 401, 401]);
    let mut host = guarded(|config| {
        config.listen = all;
        config.access.open = Scopes::of(&[Scope::Page, Scope::Packages]);
    });
    host.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(statuses(&host), [200, 404, 401, 200, 200, 401]);
}

#[test]
fn keys_open_what_they_are_for() {
    let host = guarded(|config| config.access.settings = Some(settings("open = [\"page\"]")));
    assert_eq!(statuses(&host), [200, 401, 401, 401, 200, 401]);
    let anonymous = host.get("/v2/models/tumour-risk");
    assert_eq!(
        anonymous.header("www-authenticate"),
        Some("Bearer realm=\"twinfer\"")
    );
    let (clinic, operator) = (bearer(&key(1)), bearer(&key(2)));
    let ask = |path: &str, credentials: &str| host.get_with(path, credentials);
    // 404 and text: the guest was asked.
    assert_eq!(
        ask("/v2/models/tumour-risk", &clinic).text(),
        "no such misdeed"
    );
    ask("/v2/models/face", &clinic).expect_error(403, "forbidden");
    ask("/registry/index.json", &clinic).expect_error(403, "forbidden");
    let packages = ask("/registry/index.json", &operator);
    assert_eq!(
        (packages.status, packages.header("cache-control")),
        (200, Some("private, no-cache"))
    );
    ask("/v2/models/tumour-risk", &bearer(&key(3))).expect_error(401, "unauthorized");
    let predicted = ask("/v2/models/tumour-risk", &clinic);
    assert_eq!(predicted.header("cache-control"), Some("no-store"));
}

#[test]
fn the_guest_sees_no_credentials() {
    let host = guarded(|config| config.access.settings = Some(settings("")));
    let echoed = host.get_with("/v2/echo", &bearer(&key(2))).text();
    assert!(echoed.starts_with("GET "), "{echoed}");
    assert!(
        !echoed.contains("authorization") && !echoed.contains("twk_"),
        "{echoed}"
    );
    let in_header = format!("x-api-key: {}\r\n", key(2).secret());
    let echoed = host.get_with("/v2/echo", &in_header).text();
    assert!(
        echoed.starts_with("GET ") && !echoed.contains("twk_"),
        "{echoed}"
    );
}

/// Who may not see the page does not learn what files it has, from any part of the answer.
#[test]
fn a_refusal_is_the_same_whether_there_is_such_a_file_or_not() {
    let host = guarded(|config| config.access.settings = Some(settings("")));
    let folder = host.page().join("inner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index.html"), "<p>inner</p>").unwrap();
    let told = |path: &str, headers: &str| {
        let answer = host.get_with(path, headers);
        let told = answer.headers.iter().filter(|(name, _)| {
            !["date", "x-request-id", "server-timing"].contains(&name.as_str())
        });
        let told: Vec<_> = told.cloned().collect();
        (answer.status, told, answer.text())
    };
    for headers in [String::new(), bearer(&key(1))] {
        let missing = told("/nothing.html", &headers);
        assert!([401, 403].contains(&missing.0), "{missing:?}");
        for path in ["/index.html", "/", "/inner", "/inner/", "/inner/index.html"] {
            assert_eq!(told(path, &headers), missing, "{path}");
        }
    }
    // Who may see it sees it, with its policy.
    let host = guarded(|config| config.access.settings = Some(settings("open = [\"page\"]")));
    let page = host.get("/index.html");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").is_some());
}

/// What only the host may say to the component.
#[test]
fn a_client_cannot_vouch_for_itself() {
    let secret = "the-secret-of-this-run";
    let host = guarded(|config| {
        config.access.settings = Some(settings("open = [\"predict\"]"));
        config.admin_token = Some(secret.into());
    });
    let claims = "x-twinfer-admin: a-guess-of-the-client\r\nx-twinfer-bundle: another\r\n";
    let with = |credentials: &str| {
        host.get_with("/v2/echo", &format!("{credentials}{claims}"))
            .text()
    };
    let administrator = with(&bearer(&key(2)));
    // The path is none that is known, so nobody is vouched for.
    assert!(administrator.starts_with("GET ") && !administrator.contains(secret));
    for echoed in [administrator, host.get_with("/v2", claims).text()] {
        assert!(
            !echoed.contains("a-guess") && !echoed.contains("another"),
            "{echoed}"
        );
    }
}

#[test]
fn a_refusal_comes_before_the_body() {
    let host = guarded(|config| config.access.settings = Some(settings("")));
    let mut stream = host.connect();
    // The body never comes; who waited for it would not answer.
    stream
        .write_all(b"POST /v2/models/tumour-risk/predict HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n")
        .unwrap();
    read_answer(&mut stream).expect_error(401, "unauthorized");
}

#[test]
fn limits_are_told_and_kept() {
    let rates = "rates.address = { per_second = 0.001, burst = 2 }";
    let host = guarded(|config| {
        config.access.settings =
            Some(Settings::from_toml(&format!("open = [\"page\"]\n{rates}")).unwrap());
    });
    let first = host.get("/");
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"address\";q=2;w=2000")
    );
    assert!(
        first
            .header("ratelimit")
            .unwrap()
            .starts_with("\"address\";r=1;t=")
    );
    assert_eq!(host.get("/").status, 200);
    let refused = host.get("/");
    refused.expect_error(429, "rate_limited");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&after), "{after}");
    assert_eq!(host.get("/healthz").status, 200);
    assert!(!host.host.as_ref().unwrap().handle().limits_are_local());
}

#[test]
fn what_administrators_do_is_written_down() {
    let host = guarded(|config| {
        config.access.settings = Some(settings(""));
        config.log_level = twinfer_host::LogLevel::Error;
    });
    let ask = |credentials: &str, id: &str| -> Answer {
        let headers = format!("{credentials}x-request-id: {id}\r\n");
        host.get_with("/v2/repository/index", &headers)
    };
    ask("", "nobody-1");
    ask(&bearer(&key(1)), "clinic-1");
    ask(&bearer(&key(2)), "operator-1");
    let log = host.log();
    let audits: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["event"] == "audit")
        .collect();
    let expected = [
        (json!(null), "refused", 401, "nobody-1"),
        (json!("key:clinic"), "refused", 403, "clinic-1"),
        (json!("key:operator"), "failed", 404, "operator-1"),
    ];
    assert_eq!(audits.len(), expected.len(), "{log}");
    for (line, (principal, outcome, status, id)) in audits.iter().zip(expected) {
        let found = (
            &line["principal"],
            &line["outcome"],
            &line["status"],
            &line["request"],
        );
        assert_eq!(
            found,
            (&principal, &json!(outcome), &json!(status), &json!(id))
        );
        let place = (&line["action"], &line["target"], &line["address"]);
        assert_eq!(
            place,
            (
                &json!("GET"),
                &json!("/v2/repository/index"),
                &json!("127.0.0.1")
            )
        );
    }
    assert!(!log.contains("twk_"));
}

#[test]
fn tokens_count_with_keys_fetched_from_the_issuer() {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), tokens["jwks"].to_string()).unwrap();
    let issuer = Web::start(folder.path());
    let jwt = |jwks: String| {
        let settings = json!({"jwt": {
            "jwks": jwks, "issuer": tokens["issuer"], "audience": tokens["audience"], "models_claim": "models",
        }});
        Settings::from_json(&settings.to_string()).unwrap()
    };
    let address = format!("{}/keys.json", issuer.url());
    let mut host = guarded(|config| config.access.settings = Some(jwt(address)));
    for (algorithm, token) in tokens["good"].as_object().unwrap() {
        let credentials = format!("authorization: Bearer {}\r\n", token.as_str().unwrap());
        let ask = |path: &str| host.get_with(path, &credentials);
        assert_eq!(
            ask("/v2/models/tumour-risk").text(),
            "no such misdeed",
            "{algorithm}"
        );
        ask("/v2/models/face").expect_error(403, "forbidden");
    }
    for name in [
        "alg none",
        "HS256 with the key of RS256",
        "tampered",
        "wrong audience",
    ] {
        let credentials = format!(
            "authorization: Bearer {}\r\n",
            tokens["bad"][name].as_str().unwrap()
        );
        let refused = host.get_with("/v2/models/tumour-risk", &credentials);
        refused.expect_error(401, "unauthorized");
        // Why is in the log only.
        assert!(!refused.text().contains("audience") && !refused.text().contains("algorithm"));
    }
    host.shutdown().unwrap();
    // From a file, relative to the folder of the settings.
    let host = guarded(|config| {
        config.access.settings = Some(jwt("keys.json".into()));
        config.access.folder = Some(folder.path().to_owned());
    });
    let credentials = format!(
        "authorization: Bearer {}\r\n",
        tokens["good"]["EdDSA"].as_str().unwrap()
    );
    let asked = host.get_with("/v2/models/tumour-risk", &credentials);
    assert_eq!(asked.text(), "no such misdeed");
}

#[test]
fn other_settings_are_taken_while_it_runs() {
    let host = guarded(|config| config.access.settings = Some(settings("")));
    let handle = host.host.as_ref().unwrap().handle();
    assert_eq!(host.get("/").status, 401);
    let access = |settings| AccessConfig {
        settings: Some(settings),
        ..AccessConfig::default()
    };
    handle
        .reload_access(access(settings("open = [\"page\"]")))
        .unwrap();
    assert_eq!(host.get("/").status, 200);
    // What cannot be used changes nothing.
    let broken = json!({"jwt": {"jwks": "/no/such/keys", "issuer": "i", "audience": "a"}});
    let broken = Settings::from_json(&broken.to_string()).unwrap();
    let error = handle.reload_access(access(broken)).unwrap_err();
    assert!(error.to_string().contains("/no/such/keys"), "{error}");
    assert_eq!(host.get("/").status, 200);
    assert_eq!(
        host.get_with("/registry/index.json", &bearer(&key(2)))
            .status,
        200
    );
}

#[test]
fn settings_that_cannot_be_used_start_no_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = HostConfig::new(misbehaving_guest(), folder.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.access.open = Scopes::of(&[Scope::Admin]);
    let Err(error) = Host::start(config) else {
        panic!("admin was open");
    };
    assert_eq!(error.kind(), HostErrorKind::Config);
}

#[test]
fn a_page_of_another_site_may_ask_whether_it_may() {
    let host = guarded(|config| {
        config.access.settings = Some(settings(""));
        config.cors = vec!["https://a.example".into()];
    });
    let answer = host.send(
        "OPTIONS /v2/models/tumour-risk HTTP/1.1\r\nhost: t\r\nconnection: close\r\norigin: https://a.example\r\naccess-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n\r\n",
    );
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers").unwrap();
    assert!(
        allowed.contains("authorization") && allowed.contains("x-api-key"),
        "{allowed}"
    );
}

#[test]
fn the_component_is_its_own_door_where_the_host_has_none() {
    let settings = json!({"keys": [{
        "id": "clinic", "sha256": key(1).sha256(), "scopes": ["predict"], "models": ["tumour-*"],
    }]});
    let host = Fixture::with(real_component(), |config| {
        config.access.guarded = false;
        let access = ("TWINFER_ACCESS".to_owned(), settings.to_string());
        config.env.push(access);
    });
    let clinic = bearer(&key(1));
    assert_eq!(host.get("/v2/health/live").status, 200);
    let anonymous = host.get("/v2/models/tumour-risk");
    anonymous.expect_error(401, "unauthorized");
    assert!(anonymous.header("www-authenticate").is_some());
    // The application was asked, and has no models here.
    let asked = host.get_with("/v2/models/tumour-risk", &clinic);
    asked.expect_error(404, "unknown_model");
    assert_eq!(asked.header("cache-control"), Some("no-store"));
    host.get_with("/v2/models/face", &clinic)
        .expect_error(403, "forbidden");
    host.get_with("/v2/repository/index", &clinic)
        .expect_error(403, "forbidden");
}
