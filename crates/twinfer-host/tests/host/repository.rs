//! The repository extension in the real component: off, on, and for whom.

use std::path::Path;

use serde_json::json;
use twinfer_gateway::{ApiKey, Settings};
use twinfer_host::HostConfig;
use twinfer_package::{FolderStore, PackOptions, pack};

use crate::support::{Answer, Fixture, real_component};

const TOKEN: &str = "a-token-of-the-tests";

fn start(environment: &[(&str, &str)]) -> Fixture {
    start_with(environment, |_| {})
}

fn start_with(environment: &[(&str, &str)], change: impl FnOnce(&mut HostConfig)) -> Fixture {
    Fixture::with(real_component(), |config| {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/types");
        let options = PackOptions {
            self_test: false,
            ..PackOptions::default()
        };
        pack(&recipe, &FolderStore::new(&config.registry), options).unwrap();
        config.limits.max_instances = 1;
        let variables = environment.iter();
        config.env = variables
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        change(config);
    })
}

fn ask(host: &Fixture, path: &str, header: &str) -> Answer {
    host.send(format!(
        "POST /v2/repository/{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 0\r\n{header}\r\n"
    ))
}

#[test]
fn it_is_on_for_who_has_the_token_of_the_environment() {
    let host = start(&[
        ("TWINFER_REPOSITORY", "enabled"),
        ("TWINFER_ADMIN_TOKEN", TOKEN),
        ("TWINFER_HOST_METRICS", "/metrics"),
    ]);
    let extensions = host.get("/v2").json()["extensions"].to_string();
    assert!(extensions.contains("model_repository"), "{extensions}");
    let refused = ask(&host, "index", "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], "unauthorized");
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let index = ask(&host, "index", &bearer).json();
    assert_eq!(index[0]["name"], "types");
    assert_eq!(index[0]["state"], "READY");
    // This header is the host's: what a client says in it is not believed.
    let own = format!("x-twinfer-admin: {TOKEN}\r\n");
    assert_eq!(ask(&host, "index", &own).status, 401);
    let loaded = ask(&host, "models/types/load", &bearer).json();
    assert_eq!(loaded["version"], "1.0.0");
    assert_eq!(ask(&host, "index", &bearer).json()[0]["reason"], "");
    let unloaded = ask(&host, "models/types/unload", &bearer).json();
    assert_eq!(unloaded["unloaded"], json!(["1.0.0"]));
    assert_ne!(ask(&host, "index", &bearer).json()[0]["reason"], "");
}

/// The host vouches for administrators: nobody outside knows the token.
#[test]
fn it_is_on_for_administrators_of_the_host() {
    let (operator, clinic) = (ApiKey::new(&[1; 32]), ApiKey::new(&[2; 32]));
    let variables = [
        ("TWINFER_REPOSITORY", "enabled"),
        ("TWINFER_ADMIN_TOKEN", TOKEN),
    ];
    let host = start_with(&variables, |config| {
        let settings = json!({"keys": [
            {"id": "operator", "sha256": operator.sha256(), "scopes": ["admin"]},
            {"id": "clinic", "sha256": clinic.sha256(), "scopes": ["predict"]},
        ]});
        config.access.guarded = true;
        config.access.settings = Some(Settings::from_json(&settings.to_string()).unwrap());
        config.admin_token = Some(TOKEN.into());
    });
    let with = |key: &ApiKey| format!("authorization: Bearer {}\r\n", key.secret());
    let own = format!("x-twinfer-admin: {TOKEN}\r\n");
    for (headers, status) in [
        (String::new(), 401),
        (own.clone(), 401),
        (format!("authorization: Bearer {TOKEN}\r\n"), 401),
        (with(&clinic), 403),
        (format!("{}{own}", with(&clinic)), 403),
        (with(&operator), 200),
        (
            format!("{}x-twinfer-admin: wrong\r\n", with(&operator)),
            200,
        ),
    ] {
        assert_eq!(ask(&host, "index", &headers).status, status, "{headers}");
    }
    let loaded = ask(&host, "models/types/load", &with(&operator));
    assert_eq!(
        (loaded.status, &loaded.json()["version"]),
        (200, &json!("1.0.0"))
    );
    let unloaded = ask(&host, "models/types/unload", &with(&operator)).json();
    assert_eq!(unloaded["unloaded"], json!(["1.0.0"]));
    assert_eq!(
        ask(&host, "models/nobody/load", &with(&operator)).status,
        404
    );
    let audited = |target: &str, outcome: &str| {
        let parts = ["\"event\":\"audit\"", "\"key:operator\"", target, outcome];
        assert_eq!(host.count(&parts), 1, "{target}: {}", host.log());
    };
    audited("/v2/repository/models/types/load", "\"outcome\":\"done\"");
    audited("/v2/repository/models/types/unload", "\"outcome\":\"done\"");
    audited(
        "/v2/repository/models/nobody/load",
        "\"outcome\":\"failed\"",
    );
    assert!(!host.log().contains(TOKEN), "the secret is in the log");
}

#[test]
fn it_is_off_without_a_token_that_is_long_enough() {
    for environment in [
        &[][..],
        &[("TWINFER_REPOSITORY", "enabled")],
        &[("TWINFER_ADMIN_TOKEN", TOKEN)],
        &[
            ("TWINFER_REPOSITORY", "enabled"),
            ("TWINFER_ADMIN_TOKEN", "short"),
        ],
        &[
            ("TWINFER_REPOSITORY", "yes"),
            ("TWINFER_ADMIN_TOKEN", TOKEN),
        ],
    ] {
        let host = start(environment);
        let bearer = format!("authorization: Bearer {TOKEN}\r\n");
        let answer = ask(&host, "index", &bearer);
        assert_eq!(answer.status, 404, "{environment:?}");
        assert_eq!(answer.json()["code"], "not_found");
    }
}
