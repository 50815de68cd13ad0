//! Requests that name no version, where the registry has a deployment of the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use twinfer_deploy::{DeploymentSpec, Strategy, bucket};
use twinfer_package::{FolderStore, PackOptions, Store, pack};
use twinfer_serve::{App, Options};

use crate::support::recipe;

const PATH: &str = "/v2/models/tumour-risk-mlp/predict";

/// A registry folder with two versions, and an application over it.
struct World {
    folder: tempfile::TempDir,
    app: App,
    body: Bytes,
}

impl World {
    fn new(random: Option<fn() -> u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path());
        let sample = recipe("tumour-risk-mlp");
        for version in ["1.0.0", "1.1.0"] {
            let copy = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(&sample).unwrap().flatten() {
                if file.path().is_file() {
                    std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
                }
            }
            let path = copy.path().join("twinfer.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
            std::fs::write(path, text).unwrap();
            let options = PackOptions {
                self_test: false,
                ..PackOptions::default()
            };
            pack(copy.path(), &store, options).unwrap();
        }
        let golden = std::fs::read(sample.join("golden.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
        let body = golden["cases"][0]["input"]["record"].to_string();
        let mut options = Options::default();
        options.random = random;
        Self {
            app: App::new(Arc::new(store), options),
            folder,
            body: body.into(),
        }
    }

    fn store(&self) -> FolderStore {
        FolderStore::new(self.folder.path())
    }

    /// Half of the callers get the newer version.
    fn deploy(&self) {
        let mut spec = DeploymentSpec::new("tumour-risk-mlp", "1.0.0");
        let mut candidate = spec.variants[0].clone();
        candidate.version = "1.1.0".into();
        spec.variants[0].weight = Some(5_000);
        candidate.weight = Some(5_000);
        spec.variants.push(candidate);
        spec.strategy = Strategy::AbTest {
            guardrails: Vec::new(),
        };
        let index = twinfer_package::Index::from_json(&self.store().index().unwrap()).unwrap();
        let digest = |tag: &str| {
            let reference = twinfer_package::Reference::new("tumour-risk-mlp", tag)?;
            Ok(index.resolve(&reference)?.digest)
        };
        let json = spec.resolve(3, 0, digest).unwrap().to_json().unwrap();
        let put = self
            .store()
            .put_deployment("tumour-risk-mlp", Some(json.as_bytes()));
        put.unwrap();
    }

    fn request(&self, headers: &[(&str, &str)]) -> http::Request<Bytes> {
        let mut request = http::Request::post(PATH).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(self.body.clone()).unwrap()
    }

    fn version(&self, headers: &[(&str, &str)]) -> String {
        version(&self.app.handle(self.request(headers)))
    }
}

fn version(answer: &http::Response<Bytes>) -> String {
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(
        answer.headers()["x-twinfer-version"],
        body["model_version"].as_str().unwrap()
    );
    body["model_version"].as_str().unwrap().to_owned()
}

fn expected(key: &str) -> &'static str {
    match bucket("tumour-risk-mlp", key) {
        0..5000 => "1.1.0",
        _ => "1.0.0",
    }
}

#[test]
fn a_registry_folder_with_a_deployment_is_enough() {
    let world = World::new(None);
    // The highest version without one.
    assert_eq!(world.version(&[]), "1.1.0");
    world.deploy();
    for number in 0..20 {
        let key = format!("caller-{number}");
        let answer = world.app.handle(world.request(&[("x-twinfer-key", &key)]));
        assert_eq!(version(&answer), expected(&key), "{key}");
        assert_eq!(answer.headers()["x-twinfer-variant"], expected(&key));
        assert_eq!(answer.headers()["x-twinfer-deployment"], "3");
    }
    // Without a key and without randomness the primary.
    assert_eq!(world.version(&[]), "1.0.0");
    assert_eq!(world.version(&[("x-twinfer-version", "1.1.0")]), "1.1.0");
    // What is malformed takes nobody's place.
    let put = |json: Option<&[u8]>| {
        world
            .store()
            .put_deployment("tumour-risk-mlp", json)
            .unwrap()
    };
    put(Some(b"{"));
    assert_eq!(world.version(&[]), "1.0.0");
    put(None);
    assert_eq!(world.version(&[]), "1.1.0");
    put(Some(b"{"));
    let answer = world.app.handle(world.request(&[]));
    assert_eq!(answer.status(), 422);
    assert!(String::from_utf8_lossy(answer.body()).contains("invalid_deployment"));
}

#[test]
fn requests_that_run_together_are_each_assigned_once() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The buckets 0, 2500, 5000, 7500, 0, …
    let world = World::new(Some(|| NEXT.fetch_add(2_500, Ordering::Relaxed)));
    world.deploy();
    let requests = (0..16).map(|_| world.request(&[])).collect();
    let answers = world.app.handle_all(requests).answers;
    let mut counts = BTreeMap::new();
    for answer in &answers {
        *counts.entry(version(answer)).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("1.0.0".into(), 8), ("1.1.0".into(), 8)])
    );
    assert_eq!(NEXT.load(Ordering::Relaxed), 16 * 2_500);
}
