//! Versions that break callers of the one that is served.

use serde_json::json;

use super::control;
use super::world::ask;

#[test]
fn a_version_that_breaks_callers_is_released_only_when_told_so() {
    let mut world = control::world();
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    // The model before gives back integers, this one makes others.
    let code = "incompatible_signature";
    for more in [
        &[][..],
        &["--canary", "5%:1h"],
        &["--ab", "50%"],
        &["--blue-green"],
        &["--shadow", "10%"],
    ] {
        let arguments = [&["apply", "risk:2.0.0"], more].concat();
        world.refused(&arguments, code);
        // Without a server as well.
        let said = world
            .place
            .bad(&[&["deploy"], &arguments[..]].concat(), code, 1);
        assert!(
            said.contains("breaks callers of risk@") && said.contains("--breaking"),
            "{said}"
        );
    }
    // A first release has callers too: of the version that it says was before.
    world.deploy(&["delete", "risk"]);
    let first = [
        "apply",
        "risk:2.0.0",
        "--from",
        "1.0.0",
        "--canary",
        "5%:1h",
    ];
    world.refused(&first, code);
    world.deploy(&["apply", "risk:1.0.0"]);

    let key = format!("authorization: Bearer {}\r\n", world.operator);
    let spec = r#"{"name": "risk", "variants": [{"version": "2.0.0"}]}"#;
    let put = |query: &str| {
        let path = format!("/admin/deployments/risk{query}");
        ask(world.port(), "PUT", &path, &key, spec)
    };
    for (query, status, code) in [
        ("", 409, code),
        ("?breaking=false", 409, code),
        ("?breaking=perhaps", 400, "invalid_request"),
    ] {
        let answer = put(query);
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (status, &json!(code)),
            "{query}: {}",
            answer.body
        );
    }
    let status = world.status();
    let served =
        |status: &serde_json::Value| status["deployment"]["variants"][0]["version"].clone();
    assert_eq!(served(&status), "1.0.0", "{status:#}");

    let answer = put("?breaking=true&reason=all%20know");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(served(&answer.json), "2.0.0");
    world.until_in_force(answer.json["deployment"]["revision"].as_u64().unwrap());
    // And back, which breaks those of the other one: by a word, or by a rollback, which needs none.
    world.refused(&["apply", "risk:1.0.0"], code);
    let told = world.deploy(&["apply", "risk:1.0.0", "--breaking"]);
    assert_eq!(served(&told), "1.0.0");
    let told = world.deploy(&["rollback", "risk"]);
    assert_eq!(served(&told), "2.0.0");
    let told = world.place.json(&["deploy", "rollback", "risk"]);
    assert_eq!(served(&told), "1.0.0");
}
