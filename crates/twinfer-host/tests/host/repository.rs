//! The repository extension in the real component: off, on, and for whom.

use std::path::Path;

use serde_json::json;
use twinfer_package::{FolderStore, PackOptions, pack};

use crate::support::{Answer, Fixture, real_component};

const TOKEN: &str = "a-token-of-the-tests";

fn start(environment: &[(&str, &str)]) -> Fixture {
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
    let own = format!("x-twinfer-admin: {TOKEN}\r\n");
    for header in [&bearer, &own] {
        let index = ask(&host, "index", header).json();
        assert_eq!(index[0]["name"], "types");
        assert_eq!(index[0]["state"], "READY");
    }
    let loaded = ask(&host, "models/types/load", &bearer).json();
    assert_eq!(loaded["version"], "1.0.0");
    assert_eq!(ask(&host, "index", &bearer).json()[0]["reason"], "");
    let unloaded = ask(&host, "models/types/unload", &bearer).json();
    assert_eq!(unloaded["unloaded"], json!(["1.0.0"]));
    assert_ne!(ask(&host, "index", &bearer).json()[0]["reason"], "");
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
