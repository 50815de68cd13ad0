//! Fused components: the same bits as the full one, nothing frozen, and one file each time.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value as Json, json};
use twinfer_artifact::component::label;
use twinfer_artifact::fuse::component::{Bundle, Fuser};
use twinfer_host::{Host, HostConfig, LogSink, RunningHost};
use twinfer_package::{
    Digest, EngineKind, FolderStore, Golden, PackOptions, Package, Parts, Reference, Store, pack,
    resolve,
};

const MODEL: &str = "tumour-risk";

/// A package in a registry, and what was fused with it, twice.
struct World {
    registry: tempfile::TempDir,
    package: Digest,
    golden: Golden,
    full: PathBuf,
    fused: Vec<u8>,
    again: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let full = std::env::var_os("TWINFER_COMPONENT").map_or_else(
        || root.join("target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm"),
        PathBuf::from,
    );
    assert!(
        full.is_file(),
        "{} is missing: run `cargo xtask build`, or set TWINFER_COMPONENT",
        full.display()
    );
    let registry = tempfile::tempdir().unwrap();
    let store = FolderStore::new(registry.path());
    let options = PackOptions::default();
    pack(&root.join("models").join(MODEL), &store, options).unwrap();
    let reference: Reference = MODEL.parse().unwrap();
    let package = Package::open_parts(&store, &reference, Parts::Tested).unwrap();
    let manifest = resolve(&store.index().unwrap(), &reference).unwrap();
    let bundle = Bundle::read(&store, &manifest).unwrap();
    let component = std::fs::read(&full).unwrap();
    let fuser = Fuser::new(&component).unwrap();
    World {
        fused: fuser.fuse("0.1.0", &bundle).unwrap(),
        again: fuser.fuse("0.1.0", &bundle).unwrap(),
        golden: package.golden().unwrap().clone(),
        package: manifest.digest,
        registry,
        full,
    }
});

/// A host of the fused component with an empty registry.
fn fused(change: impl FnOnce(&mut HostConfig)) -> (RunningHost, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("fused.wasm");
    std::fs::write(&component, &WORLD.fused).unwrap();
    let registry = folder.path().join("registry");
    std::fs::create_dir(&registry).unwrap();
    (host(&component, &registry, change), folder)
}

fn host(component: &Path, registry: &Path, change: impl FnOnce(&mut HostConfig)) -> RunningHost {
    let mut config = HostConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
        log: LogSink::None,
        ..HostConfig::new(component, registry)
    };
    change(&mut config);
    Host::start(config).unwrap()
}

/// Status and body.
fn ask(host: &RunningHost, method: &str, path: &str, body: &str) -> (u16, Json) {
    let mut stream = TcpStream::connect(host.local_addr()).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// The answer without the times.
fn predict(host: &RunningHost, path: &str, body: &str) -> String {
    let (status, mut answer) = ask(host, "POST", &format!("{path}/predict"), body);
    assert_eq!(status, 200, "{answer}");
    answer.as_object_mut().unwrap().remove("timing");
    answer.to_string()
}

#[test]
fn two_runs_give_one_file_which_says_what_it_is() {
    assert!(WORLD.fused == WORLD.again, "two runs, two files");
    let label = label(&WORLD.fused).unwrap().unwrap();
    let full = std::fs::read(&WORLD.full).unwrap();
    assert_eq!(
        (label.kind, label.engine),
        (EngineKind::Fused, Digest::of(&full))
    );
    assert!(label.packages.contains_key(&WORLD.package));
    // The garbage of loading is not in it: the package has 20 kB.
    assert!(
        WORLD.fused.len() < full.len() + (1 << 20),
        "{}",
        WORLD.fused.len()
    );
    // A fused one is not fused again.
    assert!(Fuser::new(&WORLD.fused).is_err());
}

#[test]
fn it_answers_with_the_bits_of_the_full_component_and_needs_no_registry() {
    let full = host(&WORLD.full, WORLD.registry.path(), |_| {});
    let (fused, _folder) = fused(|_| {});
    let paths = [
        format!("/v2/models/{MODEL}"),
        format!("/v2/models/{MODEL}/versions/1.0.0"),
        format!("/v2/models/{MODEL}/versions/{}", WORLD.package),
    ];
    assert!(!WORLD.golden.cases.is_empty());
    for case in &WORLD.golden.cases {
        let input = serde_json::to_value(&case.input).unwrap();
        let body = json!({"inputs": input, "parameters": case.parameters}).to_string();
        let expected = predict(&full, &paths[0], &body);
        for path in &paths {
            assert_eq!(predict(&fused, path, &body), expected, "{}", case.name);
        }
    }
    for path in paths.iter().chain([&"/v2/models".into(), &"/v2".into()]) {
        assert_eq!(
            ask(&fused, "GET", path, ""),
            ask(&full, "GET", path, ""),
            "{path}"
        );
    }
    let (status, answer) = ask(&fused, "GET", "/v2/models/other/ready", "");
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_model")));
}

#[test]
fn with_a_registry_it_answers_for_other_models_too() {
    // Of its own: other tests compare what a host of theirs lists.
    let registry = tempfile::tempdir().unwrap();
    let store = FolderStore::new(registry.path());
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    for model in [MODEL, "tumour-risk-mlp"] {
        pack(&models.join(model), &store, PackOptions::default()).unwrap();
    }
    let (host, _folder) = fused(|config| config.registry = registry.path().into());
    for model in [MODEL, "tumour-risk-mlp"] {
        let path = format!("/v2/models/{model}/ready");
        assert_eq!(ask(&host, "GET", &path, "").0, 200, "{model}");
    }
}

#[test]
fn settings_and_the_trust_policy_are_those_of_the_instance() {
    let path = format!("/v2/models/{MODEL}/predict");
    let small = ("TWINFER_MAX_BODY".to_owned(), "10".to_owned());
    let (host, _folder) = fused(|config| config.env.push(small));
    let (status, answer) = ask(&host, "POST", &path, "{\"mean radius\": 12.5}");
    assert_eq!((status, &answer["code"]), (413, &json!("body_too_large")));
    // Nobody signed it, or whoever did is not in an empty registry.
    let policy = json!({"default": "deny", "rules": [], "keys": {}}).to_string();
    let policy = ("TWINFER_TRUST_POLICY".to_owned(), policy);
    let (host, _folder) = fused(|config| config.env.push(policy));
    let (status, answer) = ask(&host, "POST", &path, "{\"mean radius\": 12.5}");
    assert!(
        status >= 400 && answer["code"] != json!("internal"),
        "{answer}"
    );
    // Times are of this instance, not of the build.
    let (host, _folder) = fused(|_| {});
    let body = json!({"inputs": serde_json::to_value(&WORLD.golden.cases[0].input).unwrap()});
    let (_, answer) = ask(&host, "POST", &path, &body.to_string());
    let load = answer["timing"]["load_ms"].as_f64().unwrap();
    assert!((0.0..60_000.0).contains(&load), "{answer}");
}
