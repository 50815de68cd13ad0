//! The command line itself.

use serde_json::Value as Json;

use crate::support::Place;

const COMMANDS: [&str; 27] = [
    "pack",
    "inspect",
    "predict",
    "run",
    "verify",
    "ls",
    "unpack",
    "diff",
    "tag",
    "rm",
    "gc",
    "push",
    "pull",
    "copy",
    "mirror",
    "keygen",
    "api-key",
    "sign",
    "sign-tags",
    "policy",
    "slim",
    "cache",
    "fuse",
    "deploy",
    "serve",
    "batch",
    "health",
];

#[test]
fn help_says_what_there_is_with_examples() {
    let place = Place::new();
    let help = place.good(&["--help"]);
    for part in COMMANDS
        .iter()
        .chain(&["--registry", "--json", "Exit codes", "TWINFER_REGISTRY"])
    {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for command in COMMANDS {
        let help = place.good(&[command, "--help"]);
        assert!(
            help.contains("Examples:") && help.contains(&format!("twinfer {command}")),
            "{help}"
        );
    }
    assert!(place.good(&["--version"]).starts_with("twinfer "));
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["bake"],
        &["pack"],
        &["predict", "m"],
        &["predict", "m", "--input", "x"],
        &["predict", "m", "--input", "=x"],
        &["run", "m.onnx"],
        &["push", "m"],
        &["push", "m", "ftp://example.org"],
        &["copy", "m"],
        &["mirror"],
        &["ls", "--registry", "oci://"],
        &["serve", "--poll", "soon"],
        &["serve", "--open", "admin"],
        &["serve", "--open", "all"],
        &["api-key", "--scopes", "root"],
        &["api-key", "--expires", "0"],
        &["run", "m.onnx", "--output-dir", "o", "--target", "moon"],
        &["ls", "--registry"],
        &["inspect", "Not A Name"],
        &["inspect", "m@sha256:00"],
        &["inspect", "m:1/2"],
        &["verify", "../m"],
        &["unpack", "m"],
        &["diff", "m"],
        &["cache"],
        &["cache", "prune", "--to", "much"],
        &["ls", "--cache-quota", "-1"],
        &["ls", "--offline", "--cache-policy", "online"],
        &["ls", "--offline", "--no-package-cache"],
        &["ls", "--mirror", "oci://"],
        &["batch", "m", "--input", "in.csv"],
        &[
            "batch", "m", "--input", "in.csv", "--output", "o.csv", "--batch", "0",
        ],
    ] {
        let said = place.twinfer(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn errors_are_json_on_request() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let said = place.twinfer(&["inspect", "nobody", "--json"]);
    assert_eq!(said.code, Some(1));
    let error: Json = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["code"], "unknown_model");
    assert!(error["error"].as_str().unwrap().contains("tumour-risk-mlp"));
}

#[test]
fn the_registry_is_an_argument_anywhere_or_a_variable() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    std::fs::rename(place.path("registry"), place.path("elsewhere")).unwrap();
    place.bad(&["ls"], "storage", 4);
    place.good(&["--registry", "elsewhere", "ls"]);
    place.good(&["ls", "--registry", "elsewhere"]);
    let output = place
        .command(&["ls"])
        .env("TWINFER_REGISTRY", "elsewhere")
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let mut child = place
        .command(&["inspect", "tumour-risk-mlp", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}
