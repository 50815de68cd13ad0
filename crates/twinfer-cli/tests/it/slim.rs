//! Slim engines of the npm package, which `cargo xtask build` makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{Place, Said};

fn web() -> PathBuf {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let engine = web.join("dist/twinfer_web_bg.wasm");
    assert!(
        engine.is_file(),
        "{} is not there: make it with cargo xtask build",
        engine.display()
    );
    web
}

/// `twinfer slim`, without a wasm-opt that may be on this machine: it takes longer than the test.
fn slim(place: &Place, arguments: &[&str]) -> Said {
    let npm = web();
    let all = [&["slim", "--npm", npm.to_str().unwrap()], arguments].concat();
    let mut command: Command = place.command(&all);
    let output = command.env("TWINFER_WASM_OPT", "").output().unwrap();
    Said::of(output)
}

fn json(said: &Said) -> Json {
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_slim_engine_gives_the_same_bits_and_is_attached() {
    let place = Place::new();
    let digest = place.pack("face-detector");
    let arguments = [
        "face-detector",
        "--check",
        "--attach",
        "-o",
        "slim.wasm",
        "--json",
    ];
    let made = json(&slim(&place, &arguments));
    let engine = &made["engine"];
    let check = &made["check"][0];
    assert!(check["same"].as_u64().unwrap() >= 10, "{check}");
    assert_eq!(check["different"].as_array().unwrap().len(), 0, "{check}");
    assert_eq!(check["missing"].as_array().unwrap().len(), 0, "{check}");
    assert!(engine["packages"][&digest].is_string(), "{engine}");
    let (kept, all) = (
        made["kept"].as_u64().unwrap(),
        made["functions"].as_u64().unwrap(),
    );
    assert!(kept > 0 && kept * 4 < all, "{kept} of {all}");
    let wasm = fs::read(place.path("slim.wasm")).unwrap();
    assert_eq!(engine["size"], wasm.len());
    assert!(made["full_size"].as_u64().unwrap() > 4 * wasm.len() as u64);
    assert_eq!(&place.json(&["ls"])["packages"][0]["engines"][0], engine);
    assert_eq!(
        &place.json(&["inspect", "face-detector"])["engines"][0],
        engine
    );
    assert!(
        place
            .good(&["verify", "--no-self-test"])
            .contains("slim for page")
    );
    fs::write(place.blob(engine["digest"].as_str().unwrap()), &wasm[1..]).unwrap();
    let said = place.twinfer(&["verify", "face-detector", "--no-self-test"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(
        said.err.starts_with("error[size_mismatch]: "),
        "{}",
        said.err
    );
}

#[test]
fn another_model_needs_more_than_a_slim_engine_has() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    place.pack("face-detector");
    json(&slim(
        &place,
        &["tumour-risk-mlp", "-o", "slim.wasm", "--json"],
    ));
    let check = ["--check", "--made", "slim.wasm", "--json"];
    let good = json(&slim(&place, &[&["tumour-risk-mlp"], &check[..]].concat()));
    assert_eq!(good["check"][0]["missing"].as_array().unwrap().len(), 0);
    assert!(good["check"][0]["same"].as_u64().unwrap() >= 10, "{good}");
    let said = slim(&place, &[&["face-detector"], &check[..]].concat());
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("self_test_failed"), "{}", said.err);
    let said: Json = serde_json::from_str(&said.out).unwrap();
    assert!(
        !said["check"][0]["missing"].as_array().unwrap().is_empty(),
        "{said}"
    );
}

#[test]
fn what_cannot_be_made_is_said() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    for (arguments, error, code) in [
        (&["tumour-risk-mlp"][..], "invalid_parameter", 1),
        (
            &["tumour-risk-mlp", "--check", "--npm", "."],
            "invalid_parameter",
            1,
        ),
    ] {
        place.bad(&[&["slim"], arguments].concat(), error, code);
    }
    let said = slim(&place, &["nobody", "--check"]);
    assert!(said.err.starts_with("error[unknown_model]"), "{}", said.err);
}
