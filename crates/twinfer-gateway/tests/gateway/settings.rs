//! Settings that cannot be used, and those that can.

use serde_json::json;
use twinfer_gateway::{Gateway, Rules, Settings};

use crate::support::key;

#[test]
fn toml_and_json_say_the_same() {
    let hash = key(1).sha256();
    let toml = format!(
        r#"
        open = ["page"]
        address_header = "x-real-ip"
        [rates]
        address = {{ per_second = 5, burst = 10 }}
        [[keys]]
        id = "a"
        sha256 = "{hash}"
        scopes = ["predict"]
        [jwt]
        jwks = "keys.json"
        issuer = "https://issuer.example"
        audience = ["a", "b"]
        "#
    );
    let json = json!({
        "open": ["page"], "address_header": "x-real-ip",
        "rates": {"address": {"per_second": 5, "burst": 10}},
        "keys": [{"id": "a", "sha256": hash, "scopes": ["predict"], "models": ["*"]}],
        "jwt": {"jwks": "keys.json", "issuer": ["https://issuer.example"], "audience": ["a", "b"]}
    });
    let from_toml = Settings::from_toml(&toml).unwrap();
    assert_eq!(Settings::from_json(&json.to_string()).unwrap(), from_toml);
    assert_eq!(from_toml.key_file(), Some("keys.json"));
    // What is written can be read again.
    let written = serde_json::to_string(&from_toml).unwrap();
    assert_eq!(Settings::from_json(&written).unwrap(), from_toml);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let hash = key(1).sha256();
    let key = |more: &str| {
        format!("[[keys]]\nid = \"a\"\nsha256 = \"{hash}\"\nscopes = [\"predict\"]\n{more}")
    };
    let jwt = |jwks: &str, more: &str| {
        format!("[jwt]\njwks = {jwks}\nissuer = \"i\"\naudience = \"a\"\n{more}")
    };
    for (toml, said) in [
        ("open = [\"all\"]".to_owned(), "all"),
        ("opne = []".into(), "opne"),
        ("open = [\"admin\"]".into(), "never open"),
        (key("models = [\"\"]"), "models"),
        (key("modles = [\"a\"]"), "modles"),
        (key("expires = \"soon\""), "expires"),
        (key("rate = { per_second = 0, burst = 1 }"), "per_second"),
        (key("rate = { per_second = 1e9, burst = 1 }"), "per_second"),
        (key("rate = { per_second = nan, burst = 1 }"), "per_second"),
        (key("rate = { per_second = 1, burst = 0 }"), "burst"),
        (key("rate = { per_second = 1, burst = -1 }"), "burst"),
        (format!("{}\n{}", key(""), key("")), "twice"),
        (key("").replace("\"predict\"", ""), "scopes"),
        (key("").replace(&hash, "00"), "sha256"),
        (key("").replace("\"a\"", "\"\""), "id"),
        ("[[keys]]\nid = \"a\"".into(), "sha256"),
        (jwt("\"http://issuer.example/keys\"", ""), "https"),
        (jwt("\"\"", ""), "jwks"),
        (jwt("7", ""), "jwks"),
        (jwt("\"k\"", "leeway = 601"), "leeway"),
        (jwt("\"k\"", "algorithm = \"HS256\""), "algorithm"),
        (jwt("\"k\"", "").replace("\"i\"", "[]"), "issuer"),
        (jwt("\"k\"", "").replace("\"a\"", "\"\""), "audience"),
        (
            "[rates]\naddress = { per_second = -1, burst = 1 }".into(),
            "rates.address",
        ),
        ("not toml".into(), "expected"),
    ] {
        let error = Settings::from_toml(&toml).unwrap_err();
        assert!(error.message().contains(said), "{toml}: {error}");
    }
    assert!(Settings::from_json("{\"open\": [\"page\"],}").is_err());
}

#[test]
fn a_set_of_keys_must_have_one_that_counts() {
    let made = |jwks: serde_json::Value| {
        let settings = json!({"jwt": {"jwks": jwks, "issuer": "i", "audience": "a"}});
        Gateway::new(Rules {
            settings: Some(Settings::from_json(&settings.to_string()).unwrap()),
            ..Rules::default()
        })
        .map(drop)
    };
    for (jwks, said) in [
        (json!({"keys": []}), "none for ES256"),
        (json!({}), "malformed"),
        (
            json!({"keys": [{"kty": "oct", "k": "AAAA"}]}),
            "none for ES256",
        ),
        (
            json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}),
            "32 bytes",
        ),
        (
            json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA"}]}),
            "`y` is missing",
        ),
        (
            json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
            "2048",
        ),
        (
            json!({"keys": [{"kty": "RSA", "n": "A".repeat(2000), "e": "AQAB"}]}),
            "2048",
        ),
        (
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}),
            "Ed25519",
        ),
        (
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "?"}]}),
            "base64url",
        ),
        (
            json!({"keys": vec![json!({"kty": "oct"}); 101]}),
            "more than 100",
        ),
    ] {
        let error = made(jwks.clone()).unwrap_err();
        assert!(error.message().contains(said), "{jwks}: {error}");
    }
}
