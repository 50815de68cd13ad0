//! Tokens that PyJWT has made (`data/make.py`), and what is decided of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};
use twinfer_gateway::{Gateway, Refetch, Rules, Settings};
use twinfer_state::MemoryState;

use crate::support::{Ask, NOW, code};

#[derive(Deserialize)]
struct Data {
    now: u64,
    issuer: String,
    audience: String,
    jwks: Value,
    later_jwks: Value,
    good: BTreeMap<String, String>,
    variants: BTreeMap<String, String>,
    later: String,
    bad: BTreeMap<String, String>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    let data: Data = serde_json::from_str(include_str!("data/tokens.json")).unwrap();
    assert_eq!(data.now * 1000, NOW);
    data
});

const PATH: &str = "/v2/models/tumour-risk/predict";

/// A gateway for tokens, with this change of the settings.
fn tokens(jwks: Value, change: Value) -> Gateway {
    let mut jwt = json!({"jwks": jwks, "issuer": DATA.issuer, "audience": DATA.audience, "models_claim": "models"});
    for (name, value) in change.as_object().unwrap() {
        jwt[name] = value.clone();
    }
    let settings = Settings::from_json(&json!({"jwt": jwt}).to_string()).unwrap();
    Gateway::new(Rules {
        settings: Some(settings),
        ..Rules::default()
    })
    .unwrap()
}

fn usual() -> Gateway {
    tokens(DATA.jwks.clone(), json!({}))
}

#[test]
fn tokens_of_every_algorithm_count() {
    let gateway = usual();
    assert_eq!(DATA.good.len(), 4);
    for (algorithm, token) in &DATA.good {
        let ask = |path: &str| Ask::post(path).bearer(token);
        let decision = ask(PATH).of(&gateway, &MemoryState::new());
        assert_eq!(code(&decision), "ok", "{algorithm}: {:?}", decision.verdict);
        assert_eq!(decision.principal.unwrap().to_string(), "token:alice");
        assert_eq!(ask("/metrics").code(&gateway), "ok", "{algorithm}");
        assert_eq!(
            ask("/v2/models/face/predict").code(&gateway),
            "forbidden",
            "{algorithm}"
        );
        assert_eq!(
            ask("/v2/repository/index").code(&gateway),
            "forbidden",
            "{algorithm}"
        );
        // A token is no key.
        assert_eq!(
            Ask::post(PATH).header("x-api-key", token).code(&gateway),
            "unauthorized"
        );
    }
}

#[test]
fn claims_have_several_forms() {
    let gateway = usual();
    let ask = |name: &str, path: &str| Ask::post(path).bearer(&DATA.variants[name]).code(&gateway);
    assert_eq!(ask("no kid", PATH), "ok");
    assert_eq!(ask("list of audiences", PATH), "ok");
    assert_eq!(
        ask("list of scopes", "/v2/repository/models/tumour-risk/load"),
        "ok"
    );
    assert_eq!(ask("no scope", PATH), "forbidden");
    assert_eq!(ask("no models", PATH), "forbidden");
    // Within the leeway of a minute.
    assert_eq!(ask("just expired", PATH), "ok");
    assert_eq!(ask("almost valid", PATH), "ok");
    let strict = tokens(DATA.jwks.clone(), json!({"leeway": 0}));
    for name in ["just expired", "almost valid"] {
        let ask = Ask::post(PATH).bearer(&DATA.variants[name]);
        assert_eq!(ask.code(&strict), "unauthorized", "{name}");
    }
    let nested = tokens(DATA.jwks.clone(), json!({"scopes_claim": "/realm/roles"}));
    let ask = Ask::post(PATH).bearer(&DATA.variants["nested scopes"]);
    assert_eq!(ask.code(&nested), "ok");
    // Where no claim says the models, all are meant.
    let free = tokens(DATA.jwks.clone(), json!({"models_claim": null}));
    let ask = Ask::post("/v2/models/face/predict").bearer(&DATA.variants["no models"]);
    assert_eq!(ask.code(&free), "ok");
}

#[test]
fn bad_tokens_do_not_count() {
    let gateway = usual();
    let mut causes = BTreeMap::new();
    for (name, token) in &DATA.bad {
        let decision = Ask::post(PATH)
            .bearer(token)
            .of(&gateway, &MemoryState::new());
        assert_eq!(code(&decision), "unauthorized", "{name}");
        causes.insert(name.as_str(), decision.verdict.unwrap_err().cause);
    }
    // Each is refused for its own reason, not by accident.
    for (name, cause) in [
        ("expired", "the token has expired"),
        ("no expiry", "the token has no `exp`"),
        ("not yet valid", "the token is not valid yet"),
        ("wrong audience", "the token is for another audience"),
        ("no audience", "the token is for another audience"),
        ("wrong issuer", "the issuer of the token is not accepted"),
        ("no issuer", "the token has no `iss`"),
        (
            "unknown kid",
            "the issuer has no key with this `kid` and algorithm",
        ),
        (
            "kid of another algorithm",
            "the issuer has no key with this `kid` and algorithm",
        ),
        ("other key", "the signature of the token is wrong"),
        ("tampered", "the signature of the token is wrong"),
        ("tampered RS256", "the signature of the token is wrong"),
        ("tampered EdDSA", "the signature of the token is wrong"),
        ("alg none", "the algorithm of the token is not accepted"),
        (
            "alg none with a signature",
            "the algorithm of the token is not accepted",
        ),
        (
            "HS256 with the key of RS256",
            "the algorithm of the token is not accepted",
        ),
        (
            "HS256 with the key of ES256",
            "the algorithm of the token is not accepted",
        ),
        ("RS384", "the algorithm of the token is not accepted"),
        ("PS256", "the algorithm of the token is not accepted"),
        ("critical", "the token has `crit`, which is not understood"),
        ("padded", "the token is not base64url"),
        ("two parts", "unknown key"),
        ("empty", "the head of the token is malformed"),
    ] {
        assert_eq!(causes.remove(name), Some(cause), "{name}");
    }
    assert_eq!(causes.keys().collect::<Vec<_>>(), [&"cut"]);
    let long = format!("{}.{}.{}", "a".repeat(5000), "b".repeat(5000), "c");
    assert_eq!(Ask::post(PATH).bearer(&long).code(&gateway), "unauthorized");
}

#[test]
fn every_character_of_a_token_matters() {
    let gateway = usual();
    for token in DATA.good.values() {
        // The last character of a part can have bits that mean nothing, which must be 0.
        for at in (0..token.len()).step_by(7).chain([token.len() - 1]) {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(
                Ask::post(PATH).bearer(&changed).code(&gateway),
                "unauthorized",
                "{at}"
            );
        }
    }
}

#[test]
fn keys_at_an_address_are_fetched_by_the_door_once_a_minute() {
    let address = "https://issuer.example/keys";
    let gateway = tokens(json!(address), json!({}));
    let wants = |token: &str, now| gateway.wants_keys(&Ask::post(PATH).bearer(token).headers, now);
    let good = &DATA.good["ES256"];
    assert_eq!(Ask::post(PATH).bearer(good).code(&gateway), "unauthorized");
    // Nobody waits for what no key could verify.
    assert_eq!(
        wants(&DATA.bad["alg none"], NOW),
        Refetch::Soon(address.into())
    );
    let mut now = NOW + 60_000;
    assert_eq!(wants(good, now), Refetch::First(address.into()));
    assert_eq!(wants(good, now + 59_999), Refetch::No);
    // That failed; the next minute it comes.
    now += 60_000;
    assert_eq!(wants(good, now), Refetch::First(address.into()));
    gateway
        .put_keys(DATA.jwks.to_string().as_bytes(), now)
        .unwrap();
    assert_eq!(Ask::post(PATH).bearer(good).code(&gateway), "ok");
    now += 60_000;
    assert_eq!(wants(good, now), Refetch::No);
    // A key that is new at the issuer.
    assert_eq!(
        Ask::post(PATH).bearer(&DATA.later).code(&gateway),
        "unauthorized"
    );
    assert_eq!(wants(&DATA.later, now), Refetch::First(address.into()));
    assert_eq!(wants(&DATA.later, now + 1), Refetch::No);
    assert!(gateway.put_keys(b"<html>", now).is_err());
    assert_eq!(Ask::post(PATH).bearer(good).code(&gateway), "ok");
    gateway
        .put_keys(DATA.later_jwks.to_string().as_bytes(), now)
        .unwrap();
    assert_eq!(Ask::post(PATH).bearer(&DATA.later).code(&gateway), "ok");
    // Keys grow old, so that one which the issuer takes out ends here as well.
    assert_eq!(wants(good, now + 3_599_999), Refetch::No);
    assert_eq!(wants(good, now + 3_600_000), Refetch::Soon(address.into()));
}
