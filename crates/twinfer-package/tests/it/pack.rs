//! Packing: what comes out, reproducibly, and what is never left half done.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value as Json, json};
use twinfer::{ErrorCode, bail};
use twinfer_package::{
    Descriptor, FolderStore, Index, MemoryStore, PackOptions, Package, Reference, Store,
    Transaction, WritableStore, pack, resolve,
};

use crate::fixture::{Recipe, golden, model_bytes, reference};

#[test]
fn a_package_opens_loads_and_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path().join("registry"));
    let packed = Recipe::new().pack(&store).unwrap();
    assert_eq!(packed.to_string(), format!("risk:1.0.0@{}", packed.digest));
    assert_eq!(packed.self_test.unwrap().passed, 1);
    for text in ["risk", "risk:1.0.0", &format!("risk@{}", packed.digest)] {
        let package = Package::open(&store, &text.parse().unwrap()).unwrap();
        assert_eq!(*package.digest(), packed.digest);
        let model = package.load().unwrap();
        assert_eq!(model.digest(), packed.digest.to_string());
        assert_eq!(package.config().signature.as_ref(), Some(model.signature()));
        package.self_test(&model).unwrap().check().unwrap();
    }
    let package = Package::open(&store, &reference()).unwrap();
    assert_eq!(package.model_bytes(), model_bytes("mlp_binary"));
    assert_eq!(package.file("README.md").unwrap(), b"# Risk\n");
    let engine = package.config().engine.as_ref().unwrap();
    assert_eq!(engine.opsets, ["ai.onnx.ml:1", "ai.onnx:14"]);
}

#[test]
fn the_layout_and_manifest_are_what_other_tools_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    let packed = Recipe::new().pack(&store).unwrap();
    let json = |path: &str| -> Json {
        serde_json::from_slice(&std::fs::read(folder.path().join(path)).unwrap()).unwrap()
    };
    assert_eq!(json("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
    let entry = &json("index.json")["manifests"][0];
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "risk:1.0.0"
    );
    assert_eq!(entry["digest"], packed.digest.to_string());

    let manifest = json(&format!("blobs/sha256/{}", packed.digest.hex()));
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.cncf.model.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.cncf.model.config.v1+json"
    );
    let layers: Vec<[&str; 3]> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| {
            let notes = &l["annotations"];
            [
                l["mediaType"].as_str().unwrap(),
                notes["org.opencontainers.image.title"].as_str().unwrap(),
                notes["org.cncf.model.filepath"].as_str().unwrap(),
            ]
        })
        .collect();
    assert_eq!(
        layers,
        [
            [
                "application/vnd.cncf.model.weight.config.v1.raw",
                "twinfer.json",
                "twinfer.json"
            ],
            [
                "application/vnd.cncf.model.weight.v1.raw",
                "model.onnx",
                "model.onnx"
            ],
            [
                "application/vnd.cncf.model.dataset.v1.raw",
                "golden.json",
                "golden.json"
            ],
            [
                "application/vnd.cncf.model.doc.v1.raw",
                "README.md",
                "README.md"
            ],
            [
                "application/vnd.cncf.model.doc.v1.raw",
                "LICENSE",
                "LICENSE"
            ],
            [
                "application/vnd.cncf.model.doc.v1.raw",
                "provenance.json",
                "provenance.json"
            ],
        ]
    );
    let config = json(&format!(
        "blobs/sha256/{}",
        manifest["config"]["digest"]
            .as_str()
            .unwrap()
            .strip_prefix("sha256:")
            .unwrap()
    ));
    assert_eq!(config["descriptor"]["createdAt"], "2026-11-25T00:00:00Z");
    assert_eq!(config["descriptor"]["licenses"], json!(["MIT"]));
    assert_eq!(config["descriptor"]["sourceURL"], "somewhere");
    assert_eq!(config["config"]["format"], "onnx");
    assert_eq!(config["modelfs"]["type"], "layers");
    let diff_ids: Json = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["digest"].clone())
        .collect();
    assert_eq!(config["modelfs"]["diffIds"], diff_ids);
}

#[test]
fn the_same_files_give_the_same_digest_anywhere_and_any_time() {
    let first = Recipe::new().pack(&MemoryStore::new()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let folder = tempfile::tempdir().unwrap();
    let second = Recipe::new()
        .pack(&FolderStore::new(folder.path()))
        .unwrap();
    assert_eq!(first.digest, second.digest);
    let changed = Recipe::new();
    changed.write("card.md", "# Risks\n");
    assert_ne!(
        changed.pack(&MemoryStore::new()).unwrap().digest,
        first.digest
    );
}

#[test]
fn packing_again_changes_nothing_and_a_version_is_never_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    let recipe = Recipe::new();
    let first = recipe.pack(&store).unwrap();
    let index = store.index().unwrap();
    assert!(!first.unchanged);
    assert!(recipe.pack(&store).unwrap().unchanged);
    assert_eq!(store.index().unwrap(), index);

    recipe.write("card.md", "# Other\n");
    let error = recipe.pack(&store).unwrap_err();
    assert_eq!(error.code(), ErrorCode::VersionExists);
    assert!(
        error.message().contains("--force") && error.message().contains(&first.digest.to_string()),
        "{error}"
    );
    assert_eq!(store.index().unwrap(), index);

    let forced = pack(
        recipe.path(),
        &store,
        PackOptions {
            force: true,
            ..PackOptions::default()
        },
    )
    .unwrap();
    assert_eq!(
        resolve(&store.index().unwrap(), &reference())
            .unwrap()
            .digest,
        forced.digest
    );
    let old: Reference = format!("risk@{}", first.digest).parse().unwrap();
    assert_eq!(*Package::open(&store, &old).unwrap().digest(), first.digest);

    recipe.edit("1.0.0", "1.1.0");
    let next = recipe.pack(&store).unwrap();
    assert_eq!(
        *Package::open(&store, &"risk".parse().unwrap())
            .unwrap()
            .digest(),
        next.digest
    );
}

#[test]
fn a_package_that_fails_its_own_examples_is_refused() {
    let recipe = Recipe::new();
    let mut wrong = golden("mlp_binary", 1);
    wrong["cases"][0]["expect"]["tensors"] =
        golden("mlp_binary", 2)["cases"][1]["expect"]["tensors"].clone();
    recipe.write("golden.json", wrong.to_string());
    let store = MemoryStore::new();
    let error = recipe.pack(&store).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SelfTestFailed);
    assert!(
        error.message().contains("call 0") && error.message().contains("output_"),
        "{error}"
    );
    assert_eq!(
        Index::from_json(&store.index().unwrap()).unwrap().tags(),
        []
    );
    // On request it is packed all the same, and anybody can see that it is bad.
    recipe.pack_untested(&store).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    assert_eq!(
        package.self_test(&package.load().unwrap()).unwrap().failed,
        1
    );
}

#[test]
fn all_models_of_the_core_pack_and_pass() {
    for model in [
        "boosted_binary",
        "forest_binary",
        "forest_iris",
        "untidy",
        "types",
    ] {
        let recipe = Recipe::new();
        recipe.write("risk.onnx", model_bytes(model));
        recipe.write("golden.json", golden(model, 9).to_string());
        recipe
            .pack(&MemoryStore::new())
            .unwrap_or_else(|e| panic!("{model}: {e}"));
    }
}

/// A registry whose disk is full after some writes.
struct Full {
    inner: FolderStore,
    writes_left: AtomicUsize,
}

struct FullChange<'a> {
    inner: Box<dyn Transaction + 'a>,
    writes_left: &'a AtomicUsize,
}

impl Store for Full {
    fn index(&self) -> twinfer::Result<Vec<u8>> {
        self.inner.index()
    }
    fn blob(&self, descriptor: &Descriptor) -> twinfer::Result<Vec<u8>> {
        self.inner.blob(descriptor)
    }
}

impl WritableStore for Full {
    fn begin(&self, name: &str) -> twinfer::Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(FullChange {
            inner: self.inner.begin(name)?,
            writes_left: &self.writes_left,
        }))
    }
}

impl FullChange<'_> {
    fn write(&self) -> twinfer::Result<()> {
        let left = self.writes_left.load(Ordering::Relaxed);
        if left == 0 {
            bail!(OutOfSpace, "full");
        }
        self.writes_left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

impl Transaction for FullChange<'_> {
    fn index(&self) -> twinfer::Result<Index> {
        self.inner.index()
    }
    fn has(&self, descriptor: &Descriptor) -> twinfer::Result<bool> {
        self.inner.has(descriptor)
    }
    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> twinfer::Result<()> {
        self.write()?;
        self.inner.put(descriptor, content)
    }
    fn commit(self: Box<Self>, index: &Index) -> twinfer::Result<()> {
        self.write()?;
        self.inner.commit(index)
    }
}

#[test]
fn a_failure_at_any_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let inner = FolderStore::new(folder.path());
    let recipe = Recipe::new();
    let first = recipe.pack(&inner).unwrap();
    recipe.edit("1.0.0", "2.0.0");
    recipe.write("card.md", "# Two\n");
    let next: Reference = "risk:2.0.0".parse().unwrap();
    let mut failures = 0;
    loop {
        let store = Full {
            inner: inner.clone(),
            writes_left: AtomicUsize::new(failures),
        };
        match recipe.pack_untested(&store) {
            Ok(packed) => {
                assert_eq!(
                    *Package::open(&inner, &next).unwrap().digest(),
                    packed.digest
                );
                break;
            }
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::OutOfSpace);
                assert_eq!(
                    Package::open(&inner, &next).unwrap_err().code(),
                    ErrorCode::UnknownVersion
                );
                assert_eq!(
                    *Package::open(&inner, &"risk".parse().unwrap())
                        .unwrap()
                        .digest(),
                    first.digest
                );
            }
        }
        failures += 1;
    }
    // Six layers, the ModelPack config, the manifest and the index.
    assert_eq!(failures, 9);
}
