//! Slim components, of the development build.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::server::{Answer, Server, component, request};
use crate::support::{Place, Said, sample};

/// The command, without a wasm-opt that may be on this machine: it takes longer than the test.
fn quick(place: &Place, arguments: &[&str]) -> Json {
    let said = said(place, arguments);
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

fn said(place: &Place, arguments: &[&str]) -> Said {
    let full = component();
    let all = [
        arguments,
        &["--component", full.to_str().unwrap(), "--json"],
    ]
    .concat();
    let mut command: Command = place.command(&all);
    Said::of(command.env("TWINFER_WASM_OPT", "").output().unwrap())
}

/// What the golden examples of a sample model hold.
fn golden(model: &str) -> Json {
    let file = format!("{}/golden.json", sample(model));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_slim_component_answers_for_its_model_and_says_what_it_lacks_for_others() {
    let place = Place::new();
    let digest = place.pack("tumour-risk");
    place.pack("face-detector");
    let made = quick(
        &place,
        &[
            "slim",
            "tumour-risk",
            "--target",
            "component",
            "--attach",
            "-o",
            "slim.wasm",
        ],
    );
    // By name, version and digest: compared with the full one, without times.
    let golden = golden("tumour-risk");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(made["same"], 3 * cases.len(), "{made}");
    let engine = &made["engine"];
    assert_eq!(
        (&engine["kind"], &engine["target"]),
        (&json!("slim"), &json!("component"))
    );
    assert!(engine["packages"][&digest].is_string(), "{engine}");
    let (kept, all) = (
        made["kept"].as_u64().unwrap(),
        made["functions"].as_u64().unwrap(),
    );
    assert!(kept > 0 && kept * 2 < all, "{kept} of {all}");
    assert!(engine["size"].as_u64().unwrap() * 2 < made["full_size"].as_u64().unwrap());
    let listed = place.json(&["inspect", "tumour-risk"]);
    assert_eq!(&listed["engines"][0], engine);
    // In a real server.
    let served = Server::start(&place, &["--component", "slim.wasm"]);
    let case = json!({"inputs": cases[0]["input"]});
    let path = "/v2/models/tumour-risk/predict";
    let Answer { status, json } = request(served.port, "POST", path, &case.to_string());
    assert_eq!(status, 200, "{json}");
    let Answer { status, json } = request(served.port, "GET", "/v2/models/face-detector/ready", "");
    assert_eq!(
        (status, &json["code"]),
        (500, &json!("engine_function_missing"))
    );
    let Answer { status, json } = request(served.port, "POST", path, &case.to_string());
    assert_eq!(status, 200, "{json}");
    // And as `--check` says it beforehand.
    let check = ["--target", "component", "--check", "--made", "slim.wasm"];
    let good = quick(&place, &[&["slim", "tumour-risk"], &check[..]].concat());
    assert_eq!(good["check"][0]["same"], 3 * cases.len(), "{good}");
    let bad = said(&place, &[&["slim", "face-detector"], &check[..]].concat());
    assert_eq!(bad.code, Some(3), "{}", bad.err);
    let bad: Json = serde_json::from_str(&bad.out).unwrap();
    assert!(
        !bad["check"][0]["missing"].as_array().unwrap().is_empty(),
        "{bad}"
    );
}

#[test]
fn a_fused_component_can_be_slim_too() {
    let place = Place::new();
    place.pack("tumour-risk");
    let fuse = ["fuse", "tumour-risk", "--target", "component"];
    let whole = quick(&place, &[&fuse[..], &["-o", "whole.wasm"]].concat());
    let slim = quick(
        &place,
        &[&fuse[..], &["--slim", "-o", "slim.wasm"]].concat(),
    );
    assert_eq!(
        (&whole["slim"], &slim["slim"]),
        (&json!(false), &json!(true))
    );
    assert!(slim["size"].as_u64().unwrap() * 2 < whole["size"].as_u64().unwrap());
    let served = Server::start(&place, &["--component", "slim.wasm"]);
    let Answer { status, json } = request(served.port, "GET", "/v2/models/tumour-risk/ready", "");
    assert_eq!(status, 200, "{json}");
    let golden = golden("tumour-risk");
    let case = json!({"inputs": golden["cases"][0]["input"]});
    let path = "/v2/models/tumour-risk/predict";
    let Answer { status, json } = request(served.port, "POST", path, &case.to_string());
    assert_eq!(status, 200, "{json}");
}
