//! The real component with its registry on the network: no file is mounted into it, unless that
//! is where it keeps packages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use twinfer_deploy::DeploymentSpec;
use twinfer_host::{HostConfig, KeyValue};
use twinfer_package::{FolderStore, Index, PackOptions, Reference, Store, pack};

use crate::redis_server::RedisServer;
use crate::state;
use crate::support::{Answer, Fixture, key_value_component, real_component};
use crate::web::Web;

const TYPES: &str = "/v2/models/types/infer";

/// A registry folder behind a web server.
struct Registry {
    folder: tempfile::TempDir,
    web: Web,
}

impl Registry {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let web = Web::start(folder.path());
        let registry = Self { folder, web };
        registry.pack("1.0.0", |_| {});
        registry
    }

    /// Packs a version of `types`, perhaps with something wrong in its golden examples.
    fn pack(&self, version: &str, change: impl Fn(&mut String)) {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/types");
        let folder = tempfile::tempdir().unwrap();
        for file in ["model.onnx", "golden.json", "twinfer.toml"] {
            std::fs::copy(recipe.join(file), folder.path().join(file)).unwrap();
        }
        let edit = |file: &str, edit: &dyn Fn(&mut String)| {
            let path = folder.path().join(file);
            let mut text = std::fs::read_to_string(&path).unwrap();
            edit(&mut text);
            std::fs::write(path, text).unwrap();
        };
        edit("twinfer.toml", &|text| {
            *text = text.replace("1.0.0", version)
        });
        edit("golden.json", &change);
        let options = PackOptions {
            self_test: false,
            ..PackOptions::default()
        };
        let store = FolderStore::new(self.folder.path());
        pack(folder.path(), &store, options).unwrap();
    }

    /// Publishes the deployment by which one version gets everything, as the static file that it is.
    fn deploy(&self, revision: u64, version: &str) {
        let store = FolderStore::new(self.folder.path());
        let index = Index::from_json(&store.index().unwrap()).unwrap();
        let digest = |tag: &str| Ok(index.resolve(&Reference::new("types", tag)?)?.digest);
        let spec = DeploymentSpec::new("types", version);
        let deployment = spec.resolve(revision, 0, digest).unwrap();
        let json = deployment.to_json().unwrap();
        let put = store.put_deployment("types", Some(json.as_bytes()));
        put.unwrap();
    }

    fn host(&self, change: impl FnOnce(&mut HostConfig)) -> Fixture {
        self.host_of(real_component(), change)
    }

    fn host_of(&self, component: PathBuf, change: impl FnOnce(&mut HostConfig)) -> Fixture {
        Fixture::with(component, |config| {
            config.limits.max_instances = 1;
            config.outbound = vec![self.web.origin()];
            config.env = variables(&[("TWINFER_REGISTRY", &self.web.url()), ("TWINFER_POLL", "1")]);
            change(config);
        })
    }
}

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    all.iter().map(owned).collect()
}

fn infer(host: &Fixture) -> Answer {
    let body = json!({"inputs": [
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 3]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
    ]});
    host.post(TYPES, "application/json", body.to_string().as_bytes())
}

#[track_caller]
fn version(host: &Fixture) -> Value {
    let answer = infer(host);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), host.log());
    answer.json()["model_version"].clone()
}

/// Asks until this version answers; every answer on the way is a good one.
#[track_caller]
fn wait_for_version(host: &Fixture, wanted: &str) {
    for _ in 0..1200 {
        if version(host) == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{wanted} did not come:\n{}", host.log());
}

/// Asks until what is new was refused; this version answers all the time.
#[track_caller]
fn wait_for_refusal(host: &Fixture, current: &str) {
    for _ in 0..1200 {
        assert_eq!(version(host), current);
        if host.log().contains("update_refused") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    host.wait_for_log(&["update_refused", "self_test_failed"]);
}

#[test]
fn nothing_is_mounted_and_warm_requests_ask_nobody() {
    let registry = Registry::new();
    let host = registry.host(|config| {
        config.env.extend(variables(&[("TWINFER_POLL", "3600")]));
    });
    assert_eq!(version(&host), "1.0.0");
    let cold = registry.web.requests();
    assert_eq!(registry.web.count("index.json 200"), 1, "{cold:?}");
    for _ in 0..3 {
        assert_eq!(version(&host), "1.0.0");
        assert_eq!(host.get("/v2/health/ready").status, 200);
        let models = host.get("/v2/models").json();
        assert_eq!(models["models"][0]["name"], "types");
        assert_eq!(host.get("/v2/models/types").json()["name"], "types");
        host.get("/v2/models/nobody")
            .expect_error(404, "unknown_model");
    }
    let warm = registry.web.requests();
    assert_eq!(warm[..cold.len()], cold);
    // `nobody` may have come meanwhile: that is worth one question in a while, not each time.
    assert!(warm.len() <= cold.len() + 1, "{warm:?}");
}

#[test]
fn a_moved_tag_is_followed_without_a_lost_request() {
    let registry = Registry::new();
    let host = registry.host(|_| {});
    assert_eq!(version(&host), "1.0.0");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(version(&host), "1.0.0");
    // After the answer it asked, and was told that nothing changed.
    for _ in 0..600 {
        if registry.web.count("index.json 304") > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(registry.web.count("index.json 304"), 1);
    registry.pack("1.1.0", |_| {});
    wait_for_version(&host, "1.1.0");
    // One that does not keep what its examples promise is not used.
    registry.pack("1.2.0", |golden| {
        *golden = golden.replace("AgAAAAAAAAD8", "BgAAAAAAAAD8");
    });
    wait_for_refusal(&host, "1.1.0");
    assert_eq!(version(&host), "1.1.0");
    registry.pack("1.3.0", |_| {});
    wait_for_version(&host, "1.3.0");
    assert_eq!(host.log().matches("\"instance_started\"").count(), 1);
}

#[test]
fn a_deployment_on_a_static_host_is_followed_without_a_lost_request() {
    let registry = Registry::new();
    registry.pack("1.1.0", |_| {});
    registry.deploy(1, "1.0.0");
    let host = registry.host(|_| {});
    assert_eq!(version(&host), "1.0.0");
    let cold = registry.web.requests();
    assert_eq!(
        registry.web.count("deployments/types.json 200"),
        1,
        "{cold:?}"
    );
    registry.deploy(2, "1.1.0");
    wait_for_version(&host, "1.1.0");
    assert_eq!(infer(&host).header("x-twinfer-deployment"), Some("2"));
    // One that does not keep what its examples promise takes no traffic.
    registry.pack("1.2.0", |golden| {
        *golden = golden.replace("AgAAAAAAAAD8", "BgAAAAAAAAD8");
    });
    registry.deploy(3, "1.2.0");
    wait_for_refusal(&host, "1.1.0");
    // The former document, as it was.
    registry.deploy(1, "1.0.0");
    wait_for_version(&host, "1.0.0");
    assert_eq!(host.log().matches("\"instance_started\"").count(), 1);
}

#[test]
fn a_dead_registry_changes_nothing() {
    let registry = Registry::new();
    let host = registry.host(|_| {});
    assert_eq!(version(&host), "1.0.0");
    registry.web.set_down(true);
    for _ in 0..600 {
        assert_eq!(version(&host), "1.0.0");
        if host.log().contains("no registry answers") {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    host.wait_for_log(&["no registry answers"]);
    assert_eq!(version(&host), "1.0.0");
    assert_eq!(host.get("/v2/health/ready").status, 200);
}

#[test]
fn a_folder_survives_its_instances() {
    let registry = Registry::new();
    let cache = tempfile::tempdir().unwrap();
    survives(&registry, |config| {
        config.package_cache = Some(cache.path().join("packages"));
        config.env.extend(variables(&[("TWINFER_CACHE", "/cache")]));
    });
    assert!(cache.path().join("packages/blobs/sha256").is_dir());
}

#[test]
fn a_key_value_store_survives_its_instances() {
    let registry = Registry::new();
    let stores = tempfile::tempdir().unwrap();
    let change = |config: &mut HostConfig| {
        config.component = key_value_component();
        config.key_value = Some(stores.path().into());
        config
            .env
            .extend(variables(&[("TWINFER_CACHE", "key-value:models")]));
    };
    survives(&registry, change);
    assert!(stores.path().join("models").read_dir().unwrap().count() > 3);
    // A host that offers none says so.
    let host = registry.host(|config| {
        change(config);
        config.key_value = None;
    });
    infer(&host).expect_error(500, "storage");
    assert!(infer(&host).text().contains("no key-value store"));
}

/// What one host fetched the other has, and it is there while Redis is gone.
#[test]
fn a_key_value_store_in_redis_is_shared_by_hosts() {
    let Some(mut server) = RedisServer::start("key-value stores in Redis") else {
        return;
    };
    let registry = Registry::new();
    let change = |config: &mut HostConfig| {
        config.component = key_value_component();
        config.state = state::on(&server);
        config.key_value = Some(KeyValue::State);
        config
            .env
            .extend(variables(&[("TWINFER_CACHE", "key-value:models")]));
    };
    survives(&registry, change);
    registry.web.set_down(true);
    let host = registry.host(change);
    assert_eq!(version(&host), "1.0.0");
    server.kill();
    assert_eq!(version(&host), "1.0.0");
    registry.web.set_down(false);
}

/// A second host needs no network, and a damaged file is noticed.
fn survives(registry: &Registry, change: impl Fn(&mut HostConfig)) {
    let mut host = registry.host(&change);
    assert_eq!(version(&host), "1.0.0");
    host.shutdown().unwrap();
    let asked = registry.web.requests().len();
    registry.web.set_down(true);
    let host = registry.host(&change);
    assert_eq!(version(&host), "1.0.0");
    assert_eq!(registry.web.requests().len(), asked);
    registry.web.set_down(false);
}

#[test]
fn a_lying_server_gets_nothing_in() {
    let registry = Registry::new();
    let cache = tempfile::tempdir().unwrap();
    let host = registry.host(|config| {
        config.package_cache = Some(cache.path().into());
        config.env.extend(variables(&[("TWINFER_CACHE", "/cache")]));
    });
    registry.web.set_lying(true);
    infer(&host).expect_error(422, "digest_mismatch");
    let blobs = cache.path().join("blobs/sha256").read_dir().unwrap();
    assert_eq!(blobs.count(), 0);
    registry.web.set_lying(false);
    assert_eq!(version(&host), "1.0.0");
}

#[test]
fn other_origins_are_not_reached() {
    let (registry, other) = (Registry::new(), Registry::new());
    let host = registry.host(|config| config.outbound = vec![other.web.origin()]);
    let answer = infer(&host);
    answer.expect_error(500, "storage");
    assert!(
        answer.text().contains("allowed_outbound_hosts"),
        "{}",
        answer.text()
    );
    assert!(registry.web.requests().is_empty());
    // Nor by a redirect; to an origin on the list it is followed.
    let redirecting = Registry::new();
    redirecting.web.redirect_to(&other.web.origin());
    let host = redirecting.host(|_| {});
    infer(&host).expect_error(500, "storage");
    assert!(other.web.requests().is_empty());
    let host = redirecting.host(|config| config.outbound.push(other.web.origin()));
    assert_eq!(version(&host), "1.0.0");
    // A mirror that may be reached is asked after one that may not.
    let host = registry.host(|config| {
        config.outbound = vec![other.web.origin()];
        config
            .env
            .extend(variables(&[("TWINFER_MIRRORS", &other.web.url())]));
    });
    assert_eq!(version(&host), "1.0.0");
}

#[test]
fn malformed_settings_are_errors_with_a_reason() {
    let registry = Registry::new();
    for (name, value) in [
        ("TWINFER_REGISTRY", "http://registry.invalid/r"),
        ("TWINFER_REGISTRY", "ftp://registry.invalid/r"),
        ("TWINFER_CACHE", "somewhere"),
        ("TWINFER_CACHE", "key-value:models"),
        ("TWINFER_CACHE_POLICY", "sometimes"),
        ("TWINFER_CACHE_QUOTA", "10G"),
        ("TWINFER_POLL", "-1"),
        ("TWINFER_MIRRORS", "https://a.invalid,b.invalid"),
    ] {
        let host = registry.host(|config| config.env.extend(variables(&[(name, value)])));
        for answer in [infer(&host), host.get("/v2/health/ready")] {
            answer.expect_error(400, "invalid_parameter");
            assert!(
                answer
                    .text()
                    .contains(value.split(',').next_back().unwrap())
            );
        }
        assert_eq!(host.get("/v2/health/live").status, 200);
    }
    assert!(registry.web.requests().is_empty());
}
