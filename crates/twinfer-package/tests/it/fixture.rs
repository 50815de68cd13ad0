//! Recipes and packages to test with.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use twinfer_package::{
    Descriptor, Digest, Index, MemoryStore, PackOptions, Package, Packed, Reference, Store,
    WritableStore, media, pack,
};

/// A recipe in a temporary folder, with the MLP of the core's tests: 30 numbers in, label
/// and probabilities out.
pub struct Recipe {
    folder: TempDir,
}

const TOML: &str = r#"
[package]
name = "risk"
version = "1.0.0"
title = "Risk"
description = "A small network"
license = "MIT"
authors = ["A. Uthor"]
created = "2026-11-25T00:00:00Z"

[source]
url = "somewhere"
commit = "0123abc"

[model]
file = "risk.onnx"

[files]
golden = "golden.json"
card = "card.md"
license = "LICENSE.txt"
"#;

impl Recipe {
    pub fn new() -> Self {
        let recipe = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        recipe.write("twinfer.toml", TOML);
        recipe.write("risk.onnx", model_bytes("mlp_binary"));
        recipe.write("golden.json", golden("mlp_binary", 1).to_string());
        recipe.write("card.md", "# Risk\n");
        recipe.write("LICENSE.txt", "Do what you like.\n");
        recipe
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    /// Changes the text of `twinfer.toml`.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.path().join("twinfer.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub fn pack(&self, store: &dyn WritableStore) -> twinfer::Result<Packed> {
        pack(self.path(), store, PackOptions::default())
    }

    /// Packs without running the golden examples.
    pub fn pack_untested(&self, store: &dyn WritableStore) -> twinfer::Result<Packed> {
        pack(
            self.path(),
            store,
            PackOptions {
                self_test: false,
                ..PackOptions::default()
            },
        )
    }
}

/// A model of the core's tests.
pub fn model_bytes(name: &str) -> Vec<u8> {
    fs::read(core_data().join(format!("{name}.onnx"))).unwrap()
}

fn core_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../twinfer/tests/data")
}

/// Golden examples of a model of the core's tests: what onnxruntime says.
pub fn golden(model: &str, calls: usize) -> Json {
    let cases: Json =
        serde_json::from_slice(&fs::read(core_data().join("cases.json")).unwrap()).unwrap();
    let case = cases
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["model"] == model)
        .unwrap();
    let tensor = |t: &Json| {
        let data = match t.get("strings") {
            Some(strings) => json!({"strings": strings}),
            None => json!({"base64": t["base64"]}),
        };
        let mut tensor =
            json!({"name": t["name"], "dtype": t["dtype"], "shape": t["shape"], "data": data});
        if let Some(keys) = t.get("keys").and_then(Json::as_array) {
            tensor["keys"] = keys
                .iter()
                .map(|k| k.as_str().map_or(k.to_string(), str::to_owned))
                .collect();
        }
        tensor
    };
    let tensors = |list: &Json| {
        list.as_array()
            .unwrap()
            .iter()
            .map(tensor)
            .collect::<Json>()
    };
    let golden_case = |(i, call): (usize, &Json)| {
        json!({
            "name": format!("call {i}"),
            "input": {"tensors": tensors(&call["inputs"])},
            "expect": {"tensors": tensors(&call["outputs"])},
            "tolerance": {"relative": 1e-5, "absolute": 1e-6},
            "reason": "probabilities near 0",
        })
    };
    let cases: Vec<Json> = case["calls"]
        .as_array()
        .unwrap()
        .iter()
        .take(calls)
        .enumerate()
        .map(golden_case)
        .collect();
    json!({"cases": cases, "reference": "onnxruntime"})
}

pub fn reference() -> Reference {
    "risk:1.0.0".parse().unwrap()
}

/// A packed package that can be changed before it is put into a registry.
pub struct Forge {
    files: Vec<(Json, Vec<u8>)>,
    /// `twinfer.json`
    pub config: Json,
    /// The ModelPack config; its `diffIds` are made to fit unless they were removed.
    pub model_pack: Json,
    /// The manifest, whose descriptors are made to fit before the last changes.
    pub manifest: Json,
}

impl Forge {
    pub fn new() -> Self {
        Self::of(Recipe::new().path())
    }

    /// The package of a recipe of `risk:1.0.0`.
    pub fn of(recipe: &Path) -> Self {
        let store = MemoryStore::new();
        pack(recipe, &store, PackOptions::default()).unwrap();
        let package = Package::open(&store, &reference()).unwrap();
        let manifest = serde_json::to_value(package.manifest()).unwrap();
        let files = manifest["layers"].as_array().unwrap().iter().map(|layer| {
            let name = layer["annotations"]["org.cncf.model.filepath"]
                .as_str()
                .unwrap();
            (layer.clone(), package.file(name).unwrap().to_vec())
        });
        Self {
            files: files.collect(),
            config: serde_json::to_value(package.config()).unwrap(),
            model_pack: serde_json::to_value(package.model_pack()).unwrap(),
            manifest,
        }
    }

    /// Exchanges the content of a layer, correctly digested.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) {
        let (layer, content) = self
            .files
            .iter_mut()
            .find(|(layer, _)| layer["annotations"]["org.cncf.model.filepath"] == name)
            .unwrap();
        *content = bytes.to_vec();
        layer["size"] = bytes.len().into();
        layer["digest"] = Digest::of(bytes).to_string().into();
    }

    /// Leaves a layer out.
    pub fn remove(&mut self, name: &str) {
        let before = self.files.len();
        self.files
            .retain(|(layer, _)| layer["annotations"]["org.cncf.model.filepath"] != name);
        assert_eq!(self.files.len(), before - 1, "{name}");
    }

    /// A registry with this package, after a last change of the manifest.
    pub fn store(mut self, last: impl FnOnce(&mut Json)) -> MemoryStore {
        let config = self.config.to_string();
        self.replace("twinfer.json", config.as_bytes());
        let layers: Vec<Json> = self.files.iter().map(|(layer, _)| layer.clone()).collect();
        if self.model_pack["modelfs"].get("diffIds").is_some() {
            self.model_pack["modelfs"]["diffIds"] =
                layers.iter().map(|l| l["digest"].clone()).collect();
        }
        self.manifest["layers"] = layers.into();
        let model_pack = self.model_pack.to_string();
        self.manifest["config"]["digest"] = Digest::of(model_pack.as_bytes()).to_string().into();
        self.manifest["config"]["size"] = model_pack.len().into();
        last(&mut self.manifest);
        let mut blobs: Vec<Vec<u8>> = self.files.into_iter().map(|(_, bytes)| bytes).collect();
        blobs.extend([model_pack.into_bytes()]);
        with_manifest(self.manifest.to_string().as_bytes(), &blobs)
    }
}

/// A registry in which `risk:1.0.0` is this manifest, whatever it is.
pub fn with_manifest(manifest: &[u8], blobs: &[Vec<u8>]) -> MemoryStore {
    let store = MemoryStore::new();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media::MANIFEST, "digest": Digest::of(manifest).to_string(), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "risk:1.0.0"},
    }]});
    let mut change = store.begin("risk").unwrap();
    for blob in blobs.iter().map(Vec::as_slice).chain([manifest]) {
        let descriptor = Descriptor::new("application/octet-stream", blob);
        change.put(&descriptor, &mut &*blob).unwrap();
    }
    change
        .commit(&Index::from_json(index.to_string().as_bytes()).unwrap())
        .unwrap();
    store
}

/// The descriptor of a layer of a package.
pub fn layer(store: &dyn Store, name: &str) -> Descriptor {
    let package = Package::open(store, &reference()).unwrap();
    package
        .layers()
        .iter()
        .find(|l| l.file_name() == Some(name))
        .unwrap()
        .clone()
}
