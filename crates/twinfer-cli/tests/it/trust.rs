//! Keys, signing and trust policies on the command line.

use std::fs;

use serde_json::{Value as Json, json};
use twinfer_package::{
    DerivedEngine, Digest, EngineKind, EngineTarget, FolderStore, attach_engine,
};

use crate::support::Place;

/// A registry with a small package, and a key.
pub fn place() -> Place {
    let place = Place::new();
    place.recipe("1.0.0", 10);
    place.good(&["pack", "recipe"]);
    place.good(&["keygen", "release.key"]);
    place
}

/// Writes a policy that demands the key `release.key` for all names, with more in its rule.
pub fn policy(place: &Place, more: Json) {
    let pem = fs::read_to_string(place.path("release.key.pub")).unwrap();
    let mut rule = json!({"names": "*", "keys": ["release"]});
    rule.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let policy =
        json!({"format_version": 1, "keys": {"release": {"public_key": pem}}, "rules": [rule]});
    place.write("policy.json", policy.to_string());
}

const TRUST: [&str; 4] = [
    "--trust",
    "policy.json",
    "--trust-state",
    "state/trust.json",
];

pub fn with_trust<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &TRUST].concat()
}

#[test]
fn keys_are_made_once_and_for_their_owner() {
    let place = Place::new();
    let made = place.json(&["keygen", "a.key", "--curve", "p384"]);
    assert_eq!(made["public_key"], "a.key.pub");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(place.path("a.key")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
    let before = fs::read(place.path("a.key")).unwrap();
    place.bad(&["keygen", "a.key"], "storage", 4);
    assert_eq!(fs::read(place.path("a.key")).unwrap(), before);
    fs::remove_file(place.path("a.key")).unwrap();
    place.bad(&["keygen", "a.key"], "storage", 4);
    assert!(!place.path("a.key").exists());
}

#[test]
fn a_signed_package_is_accepted_and_an_unsigned_one_refused() {
    let place = place();
    policy(&place, json!({}));
    let message = place.bad(&with_trust(&["inspect", "big"]), "unsigned_package", 3);
    assert!(message.contains("big: the package is refused"), "{message}");
    // Without a policy nothing is demanded.
    place.good(&["inspect", "big"]);
    let signed = place.json(&["sign", "big:1.0.0", "--key", "release.key"]);
    assert_eq!(signed["added"], true);
    let again = place.json(&["sign", "big:1.0.0", "--key", "release.key"]);
    assert_eq!(
        (&again["added"], &again["signature"]),
        (&json!(false), &signed["signature"])
    );
    place.good(&with_trust(&["inspect", "big"]));
    let line = place.good(&with_trust(&["verify", "--no-self-test"]));
    assert!(line.contains("signed by release"), "{line}");
    // By a key alone, without a policy.
    place.good(&["verify", "big", "--key", "release.key.pub"]);
    place.good(&["keygen", "other.key"]);
    let said = place.twinfer(&["verify", "big", "--key", "other.key.pub"]);
    assert_eq!(
        (said.code, &*said.out),
        (Some(3), "FAILED  big  untrusted_key\n")
    );
    assert!(
        said.err.starts_with("error[untrusted_key]: "),
        "{}",
        said.err
    );
    // Signatures are no models.
    assert_eq!(place.json(&["ls"])["packages"].as_array().unwrap().len(), 1);
}

#[test]
fn a_warning_goes_to_standard_error() {
    let place = place();
    policy(&place, json!({"unsigned": "warn"}));
    let said = place.twinfer(&with_trust(&["inspect", "big"]));
    assert_eq!(said.code, Some(0));
    assert_eq!(said.err, "warning: big is used, but it is not signed\n");
    let checked = place.json(&with_trust(&["verify", "big", "--no-self-test"]));
    assert_eq!(checked[0]["warning"], "it is not signed");
}

#[test]
fn a_malformed_policy_is_never_taken_for_none() {
    let place = place();
    place.write("policy.json", "{}");
    for command in [
        &["inspect", "big"][..],
        &["verify"],
        &["serve", "--no-page"],
    ] {
        place.bad(&with_trust(command), "invalid_policy", 1);
    }
    fs::remove_file(place.path("policy.json")).unwrap();
    place.bad(&with_trust(&["inspect", "big"]), "storage", 4);
}

#[test]
fn signed_tags_have_a_counter_that_never_goes_back() {
    let place = place();
    place.good(&["sign", "big:1.0.0", "--key", "release.key"]);
    policy(&place, json!({"signed_tags": "required"}));
    place.bad(&with_trust(&["inspect", "big"]), "unsigned_index", 3);
    let sign = with_trust(&["sign-tags", "big", "--key", "release.key", "--days", "30"]);
    let first = place.json(&sign);
    assert_eq!(
        (&first["counter"], &first["changes"][0]["tag"]),
        (&json!(1), &json!("1.0.0"))
    );
    place.good(&with_trust(&["inspect", "big"]));
    let old = fs::read(place.path("registry/index.json")).unwrap();
    let second = place.json(&sign);
    assert_eq!(
        (&second["counter"], &second["changes"]),
        (&json!(2), &json!([]))
    );
    place.good(&with_trust(&["inspect", "big"]));
    let state: Json =
        serde_json::from_slice(&fs::read(place.path("state/trust.json")).unwrap()).unwrap();
    assert_eq!(state, json!({"format_version": 1, "counters": {"big": 2}}));
    // Somebody puts the old list back.
    place.write("registry/index.json", old);
    place.bad(&with_trust(&["inspect", "big"]), "index_replayed", 3);
    // What was seen is not forgotten because its file is damaged.
    place.write("state/trust.json", "{");
    place.bad(&with_trust(&["inspect", "big"]), "storage", 4);
}

#[test]
fn signing_says_what_it_cannot_sign_with() {
    let place = place();
    let key = |file: &str| ["sign".to_owned(), "big".into(), "--key".into(), file.into()];
    for (file, code, exit) in [
        ("none.key", "storage", 4),
        ("release.key.pub", "invalid_request", 1),
        ("policy.json", "invalid_request", 1),
    ] {
        place.write("policy.json", "{}");
        let arguments = key(file);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        place.bad(&arguments, code, exit);
    }
    place.bad(
        &["sign", "none", "--key", "release.key"],
        "unknown_model",
        1,
    );
    place.write("model.sig", "{}");
    place.bad(
        &["sign", "big", "--bundle", "model.sig"],
        "invalid_signature",
        3,
    );
    place.bad(
        &["sign-tags", "none", "--key", "release.key", "--days", "1"],
        "unknown_model",
        1,
    );
}

#[test]
fn a_printed_policy_is_one_that_works() {
    let place = place();
    let printed = place.good(&["policy", "--key", "release.key.pub", "--names", "b*"]);
    place.write("policy.json", &printed);
    place.bad(&with_trust(&["inspect", "big"]), "unsigned_package", 3);
    place.good(&["sign", "big:1.0.0", "--key", "release.key"]);
    place.good(&with_trust(&["inspect", "big"]));
    let strict = place.good(&["policy", "--key", "release.key.pub", "--signed-tags"]);
    place.write("policy.json", &strict);
    place.bad(&with_trust(&["inspect", "big"]), "unsigned_index", 3);
    place.good(&["sign-tags", "big", "--key", "release.key", "--days", "1"]);
    place.good(&with_trust(&["inspect", "big"]));
    let others = place.good(&["policy", "--key", "release.key.pub", "--names", "face-*"]);
    place.write("policy.json", &others);
    for command in [
        vec!["inspect", "big"],
        vec!["unpack", "big", "files"],
        vec!["diff", "big", "big"],
    ] {
        place.bad(&with_trust(&command), "untrusted_key", 3);
    }
    assert!(!place.path("files").exists());
    place.good(&["unpack", "big", "files"]);
    place.bad(&["policy", "--key", "release.key"], "invalid_request", 1);
}

#[test]
fn engines_are_signed_with_their_package_and_verified_under_the_policy() {
    let place = place();
    let package = place.json(&["inspect", "big"])["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let wasm = b"\0asm: this is only attached, and never run";
    let engine = DerivedEngine {
        kind: EngineKind::Slim,
        target: EngineTarget::Page,
        digest: Digest::of(wasm),
        size: wasm.len() as u64,
        engine: Digest::of(b"full"),
        version: "0.1.0".into(),
        packages: [(package.parse().unwrap(), Digest::of(b"profile"))].into(),
        signatures: Vec::new(),
    };
    let store = FolderStore::new(place.path("registry"));
    attach_engine(&store, &"big".parse().unwrap(), &engine, wasm).unwrap();
    place.good(&["sign", "big", "--key", "release.key"]);
    let verify = with_trust(&["verify", "big", "--no-self-test"]);
    let policy = place.good(&["policy", "--key", "release.key.pub"]);
    place.write("policy.json", policy);
    let line = place.good(&verify);
    assert!(
        line.contains("slim for page (the engine is not signed)"),
        "{line}"
    );
    let line = place.good(&["sign", "big", "--key", "release.key", "--engines"]);
    assert!(
        line.starts_with("was signed before  big@")
            && line.contains("\nsigned  slim for page sha256:"),
        "{line}"
    );
    // The policy does not say that this key may sign code.
    let warning = &place.json(&verify)[0]["engines"][0]["warning"];
    assert!(warning.as_str().unwrap().contains("by no key"), "{warning}");
    let policy = place.good(&["policy", "--key", "release.key.pub", "--engines"]);
    place.write("policy.json", policy);
    let line = place.good(&verify);
    assert!(line.contains("slim for page signed by release"), "{line}");
    place.good(&[
        "verify",
        "big",
        "--no-self-test",
        "--key",
        "release.key.pub",
    ]);
    let checked = place.json(&verify);
    assert_eq!(checked[0]["engines"][0]["keys"], json!(["release"]));
    let again = place.json(&["sign", "big", "--key", "release.key", "--engines"]);
    assert_eq!(again["engines"][0]["added"], false);
    let signature = checked[0]["engines"][0]["signatures"][0].as_str().unwrap();
    fs::write(place.blob(signature), "{}").unwrap();
    let said = place.twinfer(&verify);
    assert_eq!(said.code, Some(3));
    assert!(
        said.err.starts_with("error[size_mismatch]: "),
        "{}",
        said.err
    );
}
