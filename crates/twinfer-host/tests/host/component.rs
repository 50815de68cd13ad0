//! The real component on the real host, with the sample models.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use twinfer_package::{
    FolderStore, PackOptions, Reference, Role, Store, WritableStore, pack, resolve,
};

use crate::support::{Answer, Fixture, real_component};

const FACE: &str = "/v2/models/face-detector/predict";
const TYPES: &str = "/v2/models/types/infer";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn pack_into(folder: &Path, recipe: &str) {
    let store = FolderStore::new(folder);
    let options = PackOptions {
        self_test: false,
        ..PackOptions::default()
    };
    pack(&root().join(recipe), &store, options).unwrap();
}

pub fn start(recipes: &[&str], change: impl FnOnce(&mut twinfer_host::HostConfig)) -> Fixture {
    Fixture::with(real_component(), |config| {
        for recipe in recipes {
            pack_into(&config.registry, recipe);
        }
        change(config);
    })
}

/// One host for all tests that only read. They take turns, so that an instance
/// that one of them spoils is not another's.
fn shared() -> MutexGuard<'static, Fixture> {
    static SHARED: LazyLock<Mutex<Fixture>> = LazyLock::new(|| {
        let recipes = [
            "models/face-detector",
            "models/file-type",
            "models/tumour-risk",
            "tests/models/types",
            "tests/models/untidy",
        ];
        Mutex::new(start(&recipes, |config| config.limits.max_instances = 1))
    });
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("models/face-detector/pictures").join(name)).unwrap()
}

fn inputs() -> Value {
    json!([
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 3]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
    ])
}

fn infer(host: &Fixture, body: &Value) -> Answer {
    host.post(TYPES, "application/json", body.to_string().as_bytes())
}

fn started_instances(host: &Fixture) -> usize {
    host.log().matches("\"instance_started\"").count()
}

#[test]
fn the_protocol_is_spoken() {
    let host = shared();
    assert_eq!(host.get("/v2").json()["name"], "twinfer");
    assert_eq!(
        host.get("/v2/health/ready").json(),
        json!({"live": true, "ready": true})
    );
    let models = host.get("/v2/models").json();
    let names: Vec<_> = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "face-detector",
            "file-type",
            "tumour-risk",
            "types",
            "untidy"
        ]
    );
    let answer = infer(&host, &json!({"id": "1", "inputs": inputs()}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["id"], "1");
    // A request without a content type, as the Triton client sends it.
    let body = json!({"inputs": inputs()}).to_string();
    let head = format!(
        "POST {TYPES} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(host.send(format!("{head}{body}")).status, 200);
}

#[test]
fn every_model_predicts() {
    let host = shared();
    let faces = host.post(FACE, "image/jpeg", &picture("group.jpg"));
    assert!(
        faces.json()["outputs"]["boxes"].as_array().unwrap().len() > 2,
        "{}",
        faces.text()
    );
    let file = host.post(
        "/v2/models/file-type/predict",
        "application/octet-stream",
        b"#!/bin/sh\nset -eu\necho hello world\n",
    );
    assert_eq!(
        file.json()["outputs"]["content_type"]["label"],
        "shell",
        "{}",
        file.text()
    );
    let golden = std::fs::read_to_string(root().join("models/tumour-risk/golden.json")).unwrap();
    let case = serde_json::from_str::<Value>(&golden).unwrap()["cases"][0].clone();
    let risk = host.post(
        "/v2/models/tumour-risk/predict",
        "application/json",
        case["input"]["record"].to_string().as_bytes(),
    );
    assert_eq!(
        risk.json()["outputs"]["label"],
        case["expect"]["outputs"]["label"]
    );
}

#[test]
fn the_same_bits_in_one_instance_and_in_two() {
    let host = start(&["models/face-detector"], |config| {
        config.limits.max_requests_per_instance = 2
    });
    let answers: Vec<Value> = (0..4)
        .map(|_| host.post(FACE, "image/png", &picture("faces.png")).json()["outputs"].clone())
        .collect();
    assert!(
        answers.iter().all(|answer| *answer == answers[0]
            && answer["boxes"].as_array().is_some_and(|b| !b.is_empty()))
    );
    assert_eq!(started_instances(&host), 2);
}

#[test]
fn bad_input_is_answered_by_the_component_which_lives_on() {
    let host = shared();
    assert_eq!(host.get("/v2/health/live").status, 200);
    let instances = started_instances(&host);
    let post = |path: &str, content_type: &str, body: &[u8]| host.post(path, content_type, body);
    let deep = "[".repeat(500_000);
    for (status, code, answer) in [
        (400, "invalid_json", post(TYPES, "application/json", b"{")),
        (
            400,
            "invalid_json",
            post(TYPES, "application/json", deep.as_bytes()),
        ),
        (
            400,
            "invalid_json",
            post(
                "/v2/models/tumour-risk/predict",
                "application/json",
                deep.as_bytes(),
            ),
        ),
        (400, "missing_input", infer(&host, &json!({"inputs": []}))),
        (
            400,
            "unknown_input",
            infer(
                &host,
                &json!({"inputs": [inputs()[0], inputs()[1], inputs()[2], {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}),
            ),
        ),
        (
            400,
            "wrong_dtype",
            infer(
                &host,
                &json!({"inputs": [{"name": "i", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]}, inputs()[1], inputs()[2]]}),
            ),
        ),
        (
            400,
            "wrong_shape",
            infer(
                &host,
                &json!({"inputs": [{"name": "i", "shape": [4294967295u32, 65536], "datatype": "INT64", "data": [1]}, inputs()[1], inputs()[2]]}),
            ),
        ),
        (404, "unknown_model", host.get("/v2/models/nobody")),
        (
            404,
            "unknown_version",
            host.get("/v2/models/types/versions/9.0.0"),
        ),
        (404, "not_found", host.get("/v2/nothing")),
        (405, "method_not_allowed", host.get(TYPES)),
        (
            400,
            "invalid_picture",
            post(FACE, "image/png", b"no picture"),
        ),
        (400, "invalid_picture", post(FACE, "image/png", b"")),
        (
            400,
            "invalid_picture",
            post(FACE, "image/png", &picture("faces.png")[..5000]),
        ),
        (
            415,
            "unsupported_media_type",
            post(FACE, "text/html", b"<p>"),
        ),
        (
            400,
            "invalid_record",
            post(
                "/v2/models/tumour-risk/predict",
                "application/json",
                br#"{"mean radius": "NaN?"}"#,
            ),
        ),
    ] {
        answer.expect_error(status, code);
    }
    let mut truncated = format!("POST {TYPES} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ninference-header-content-length: 10000\r\ncontent-length: 2\r\n\r\n").into_bytes();
    truncated.extend_from_slice(b"{}");
    host.send(truncated).expect_error(400, "invalid_request");
    assert_eq!(infer(&host, &json!({"inputs": inputs()})).status, 200);
    assert_eq!(
        started_instances(&host),
        instances,
        "an instance died:\n{}",
        host.log()
    );
}

#[test]
fn a_picture_beyond_the_limit_of_pixels_costs_nothing() {
    let host = shared();
    // 30,000 x 30,000 pixels, in the first bytes of a PNG.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend_from_slice(&30_000u32.to_be_bytes());
    png.extend_from_slice(&30_000u32.to_be_bytes());
    png.extend_from_slice(&[8, 2, 0, 0, 0, 0xe9, 0x45, 0x6f, 0xed]);
    png.extend_from_slice(b"\0\0\0\0IEND\xae\x42\x60\x82");
    let answer = host.post(FACE, "image/png", &png);
    answer.expect_error(413, "picture_too_large");
}

#[test]
fn a_new_version_and_a_damaged_one_without_a_restart() {
    let host = start(&["tests/models/types", "tests/models/untidy"], |_| {});
    assert_eq!(infer(&host, &json!({"inputs": inputs()})).status, 200);
    pack_into(&host.registry(), "tests/models/math-probe");
    assert_eq!(host.get("/v2/models/math-probe/ready").status, 200);
    // Damage one model's file: its own requests fail, the others' do not.
    let store = FolderStore::new(host.registry());
    let reference: Reference = "untidy".parse().unwrap();
    let manifest = store
        .blob(&resolve(&store.index().unwrap(), &reference).unwrap())
        .unwrap();
    let manifest = twinfer_package::Manifest::from_json(&manifest).unwrap();
    let model = manifest.layers_of(Role::Model).next().unwrap().clone();
    let path = host
        .registry()
        .join("blobs/sha256")
        .join(model.digest.hex());
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    host.get("/v2/models/untidy/ready")
        .expect_error(422, "digest_mismatch");
    std::fs::remove_file(&path).unwrap();
    host.get("/v2/models/untidy/ready")
        .expect_error(422, "missing_blob");
    assert_eq!(infer(&host, &json!({"inputs": inputs()})).status, 200);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(host.get("/v2/models/untidy/ready").status, 200);
    // And an index that is none.
    let index = std::fs::read(host.registry().join("index.json")).unwrap();
    std::fs::write(host.registry().join("index.json"), "{").unwrap();
    host.get("/v2/models/types")
        .expect_error(422, "invalid_manifest");
    std::fs::write(host.registry().join("index.json"), index).unwrap();
    assert_eq!(infer(&host, &json!({"inputs": inputs()})).status, 200);
}

#[test]
fn too_little_memory_is_an_error_with_a_name() {
    let host = start(&["models/face-detector"], |config| {
        // The least that a host takes: at 10 MiB the model fits now and then.
        config.limits.max_memory = 8 << 20
    });
    let answer = host.post(FACE, "image/jpeg", &picture("group.jpg"));
    answer.expect_error(507, "out_of_memory");
    assert_eq!(host.get("/v2/health/live").status, 200);
}

#[test]
fn too_little_time_is_an_error_with_a_name() {
    let host = start(&["models/face-detector"], |config| {
        config.limits.request_timeout = Duration::from_millis(30)
    });
    host.post(FACE, "image/jpeg", &picture("group.jpg"))
        .expect_error(504, "timeout");
    assert_eq!(host.get("/v2/health/live").status, 200);
}

#[test]
fn an_empty_registry_is_served() {
    let host = start(&[], |_| {});
    assert_eq!(host.get("/v2/models").json(), json!({"models": []}));
    FolderStore::new(host.registry()).begin("x").unwrap();
    pack_into(&host.registry(), "tests/models/types");
    assert_eq!(host.get("/v2/models/types/ready").status, 200);
}
