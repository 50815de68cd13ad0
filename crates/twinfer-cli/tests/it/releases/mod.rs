//! Releases on servers: who is assigned to what, and how a release goes on and back.

mod callers;
mod control;
mod gone;
mod hosts;
mod load;
mod shadow;
mod unnamed;
mod world;

use std::collections::BTreeSet;

use serde_json::json;
use twinfer_deploy::bucket;

use self::world::{World, ask};

#[test]
fn callers_are_assigned_by_their_key_and_keep_what_they_have() {
    let mut world = World::new(&[]);
    // Without a deployment the highest version answers.
    assert_eq!(world.predict("").version(), Some("2.0.0"));
    world.deploy(&[
        "apply",
        "risk:2.0.0",
        "--from",
        "1.0.0",
        "--canary",
        "30%:1h,60%:1h",
    ]);
    world.until_in_force(1);
    let variant = |key: &str| match bucket("risk", key) {
        0..3000 => "2.0.0",
        _ => "1.0.0",
    };
    for number in 0..40 {
        let key = format!("caller-{number}");
        for path in ["", "/versions/stable"] {
            let answer = world.predict_as(path, &format!("x-twinfer-key: {key}\r\n"));
            assert_eq!(answer.status, 200, "{}", answer.json);
            assert_eq!(answer.version(), Some(variant(&key)), "{key}");
            assert_eq!(answer.header("x-twinfer-variant"), Some(variant(&key)));
            assert_eq!(answer.header("x-twinfer-deployment"), Some("1"));
            assert_eq!(
                answer.header("x-twinfer-digest"),
                Some(&*world.digest(variant(&key)))
            );
        }
    }
    // Without a key by chance.
    let chance: BTreeSet<String> = (0..60)
        .filter_map(|_| world.predict("").version().map(str::to_owned))
        .collect();
    assert_eq!(chance.len(), 2, "{chance:?}");
    // Pinned, by path or header: versions, tags and digests.
    let digest = world.digest("1.0.0");
    for version in ["1.0.0", "2.0.0", &digest] {
        let expected = match version {
            "2.0.0" => "2.0.0",
            _ => "1.0.0",
        };
        for (path, header) in [
            (format!("/versions/{version}"), String::new()),
            (String::new(), format!("x-twinfer-version: {version}\r\n")),
            (
                "/versions/stable".into(),
                format!("x-twinfer-version: {version}\r\n"),
            ),
        ] {
            let answer = world.predict_as(&path, &header);
            assert_eq!(answer.version(), Some(expected), "{path} {header}");
            assert_eq!(answer.header("x-twinfer-variant"), None);
        }
    }
    let wrong = world.predict_as("", "x-twinfer-version: 9.9.9\r\n");
    assert_eq!(
        (wrong.status, &wrong.json["code"]),
        (404, &json!("unknown_version"))
    );
    // What is said of the model is said of the primary.
    let described = ask(world.port(), "GET", "/v2/models/risk", "", "");
    assert_eq!(described.json["versions"], json!(["2.0.0", "1.0.0"]));
    assert!(described.body.contains(&digest), "{}", described.body);
    // Pages read the same document, and ask whether it changed.
    let path = "/registry/deployments/risk.json";
    let published = ask(world.port(), "GET", path, "", "");
    let status = world.status();
    assert_eq!(published.json, status["deployment"]);
    let tag = published.header("etag").unwrap();
    assert_eq!(published.header("cache-control"), Some("no-cache"));
    let again = ask(
        world.port(),
        "GET",
        path,
        &format!("if-none-match: {tag}\r\n"),
        "",
    );
    assert_eq!(again.status, 304);
    let none = ask(
        world.port(),
        "GET",
        "/registry/deployments/none.json",
        "",
        "",
    );
    assert_eq!(none.status, 404);
    // A later step keeps whom it had.
    world.deploy(&[
        "apply",
        "risk:2.0.0",
        "--from",
        "1.0.0",
        "--canary",
        "60%:1h",
    ]);
    world.until_in_force(2);
    callers_have_their_version(&world, 40, "risk", 6000);
}

/// So many callers are each answered by the version of their bucket: below `end` by the newer one.
fn callers_have_their_version(world: &World, callers: u32, salt: &str, end: u16) {
    for number in 0..callers {
        let key = format!("caller-{number}");
        let answer = world.predict_as("", &format!("x-twinfer-key: {key}\r\n"));
        let expected = match bucket(salt, &key) < end {
            true => "2.0.0",
            false => "1.0.0",
        };
        assert_eq!(answer.version(), Some(expected), "{key}");
    }
}

#[test]
fn a_rollback_brings_the_former_document_back_byte_for_byte() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    let path = "/registry/deployments/risk.json";
    let before = ask(world.port(), "GET", path, "", "").body;
    world.deploy(&["apply", "risk:2.0.0", "--blue-green"]);
    world.until_in_force(2);
    assert_eq!(world.predict("").version(), Some("1.0.0"));
    let told = world.deploy(&["promote", "risk", "--reason", "looks good"]);
    assert_eq!(told["deployment"]["variants"][0]["version"], "2.0.0");
    assert_eq!(told["deployment"]["variants"][1]["role"], "standby");
    world.until_in_force(3);
    assert_eq!(world.predict("").version(), Some("2.0.0"));
    let told = world.deploy(&["rollback", "risk", "--reason", "it does not"]);
    assert_eq!(told["revision"], 4);
    world.until_in_force(1);
    assert_eq!(world.predict("").version(), Some("1.0.0"));
    assert_eq!(ask(world.port(), "GET", path, "", "").body, before);
    let events = told["events"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["action"], &last["by"], &last["reason"]),
        (
            &json!("rollback"),
            &json!("key:operator"),
            &json!("it does not")
        )
    );
    // Nothing is before that.
    world.refused(&["rollback", "risk"], "deployment_conflict");
    // It is audited who did it.
    let audits = world.server.events("audit");
    let rollback = audits
        .iter()
        .find(|line| line["target"] == "/admin/deployments/risk/rollback");
    assert_eq!(rollback.unwrap()["principal"], "key:operator");
    // As a file for static hosts.
    let folder = world.place.path("registry");
    world.deploy(&["publish", "--output", folder.to_str().unwrap()]);
    let file = folder.join("deployments/risk.json");
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
    world.deploy(&["delete", "risk"]);
    world.refused(&["status", "risk"], "unknown_deployment");
}

#[test]
fn who_was_not_the_first_is_told() {
    let world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0", "--if-revision", "0"]);
    world.refused(
        &["apply", "risk:2.0.0", "--if-revision", "0"],
        "revision_mismatch",
    );
    world.deploy(&["apply", "risk:2.0.0", "--if-revision", "1"]);
    world.refused(
        &["rollback", "risk", "--if-revision", "1"],
        "revision_mismatch",
    );
    world.refused(&["pause", "risk"], "deployment_conflict");
    world.refused(&["promote", "none"], "unknown_deployment");
    world.refused(&["apply", "risk:3.0.0"], "unknown_version");
    world.refused(
        &["apply", "risk:2.0.0", "--canary", "5%:1m"],
        "invalid_deployment",
    );
    // Only for who may.
    let path = "/admin/deployments/risk";
    for (method, below) in [
        ("GET", ""),
        ("PUT", ""),
        ("POST", "/rollback"),
        ("DELETE", ""),
    ] {
        let answer = ask(world.port(), method, &format!("{path}{below}"), "", "");
        assert_eq!(answer.status, 401, "{method}");
        let key = format!("authorization: Bearer {}\r\n", world.visitor);
        let answer = ask(world.port(), method, &format!("{path}{below}"), &key, "");
        assert_eq!(answer.status, 403, "{method}");
    }
    let admin = |method: &str, path: &str, headers: &str, body: &str| {
        let headers = format!("authorization: Bearer {}\r\n{headers}", world.operator);
        ask(world.port(), method, path, &headers, body)
    };
    let answer = admin("GET", path, "", "");
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let spec = r#"{"name": "risk", "variants": [{"version": "1.0.0"}]}"#;
    for (method, path, headers, body, status, code) in [
        (
            "PUT",
            path,
            "if-match: \"1\"\r\n",
            spec,
            412,
            "revision_mismatch",
        ),
        (
            "PUT",
            path,
            "if-none-match: *\r\n",
            spec,
            412,
            "revision_mismatch",
        ),
        (
            "PUT",
            path,
            "if-match: soon\r\n",
            spec,
            400,
            "invalid_request",
        ),
        ("PUT", path, "", "{", 422, "invalid_deployment"),
        (
            "PUT",
            path,
            "",
            r#"{"name": "risk", "variants": [], "more": 1}"#,
            422,
            "unknown_field",
        ),
        (
            "PUT",
            "/admin/deployments/other",
            "",
            spec,
            422,
            "invalid_deployment",
        ),
        (
            "PUT",
            "/admin/deployments/..",
            "",
            spec,
            422,
            "invalid_deployment",
        ),
        ("POST", path, "", "", 405, "method_not_allowed"),
        (
            "GET",
            "/admin/deployments/risk/rollback",
            "",
            "",
            405,
            "method_not_allowed",
        ),
        (
            "POST",
            "/admin/deployments/risk/rollback",
            "",
            "[]",
            400,
            "invalid_request",
        ),
        ("GET", "/admin/other", "", "", 404, "not_found"),
        (
            "GET",
            "/admin/deployments/A",
            "",
            "",
            400,
            "invalid_reference",
        ),
    ] {
        let answer = admin(method, path, headers, body);
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (status, &json!(code)),
            "{method} {path} {headers} {body}: {}",
            answer.json
        );
    }
}

#[test]
fn an_ab_test_ends_with_one_of_both() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.deploy(&["apply", "risk:2.0.0", "--ab", "50%", "--salt", "spring"]);
    world.until_in_force(2);
    callers_have_their_version(&world, 20, "spring", 5000);
    let text = world.text(&["status", "risk"]);
    assert!(text.contains("revision 2, ab_test progressing"), "{text}");
    world.deploy(&["promote", "risk", "--variant", "1.0.0"]);
    world.until_in_force(3);
    let versions: BTreeSet<String> = (0..20)
        .filter_map(|_| world.predict("").version().map(str::to_owned))
        .collect();
    assert_eq!(versions, BTreeSet::from(["1.0.0".to_owned()]));
    let text = world.text(&["status"]);
    assert!(text.contains("risk") && text.contains("promoted"), "{text}");
}

#[test]
fn a_version_takes_no_traffic_before_it_has_proved_itself() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    // Its golden examples are those of another model: it is in the registry, and no server takes it.
    crate::follow::server::pack(&world.place, "3.0.0", "forest", "mlp");
    world.server.wait_for("update_refused", |_| true);
    world.refused(&["apply", "risk:3.0.0"], "unknown_version");
    // Past the server, in the state itself.
    world
        .place
        .good(&["deploy", "apply", "risk:3.0.0", "--json"]);
    world.server.wait_for("deployment_waiting", |_| true);
    for _ in 0..20 {
        assert_eq!(world.predict("").version(), Some("1.0.0"));
    }
    let status = world.status();
    assert_eq!(status["revision"], 2);
    assert_eq!(
        (
            &status["here"]["revision"],
            &status["here"]["waiting"]["code"]
        ),
        (&json!(1), &json!("unknown_version")),
        "{status:#}"
    );
    let text = world.text(&["status", "risk"]);
    assert!(text.contains("not in force on this server"), "{text}");
    // Mended in the registry, it is taken by itself.
    crate::follow::server::pack(&world.place, "3.0.0", "forest", "forest");
    world
        .place
        .good(&["deploy", "apply", "risk:3.0.0", "--json"]);
    world.until_in_force(3);
    assert_eq!(world.predict("").version(), Some("3.0.0"));
}

#[test]
fn a_server_begins_with_what_is_released() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    world.restart();
    // With the first answer: not the highest version.
    assert_eq!(world.predict("").version(), Some("1.0.0"));
    // Without a state: the documents that are beside the index.
    let folder = world.place.path("registry");
    world.deploy(&["publish", "risk", "--output", folder.to_str().unwrap()]);
    world.deploy(&["delete", "risk"]);
    world.restart();
    assert_eq!(world.predict("").version(), Some("1.0.0"));
}
