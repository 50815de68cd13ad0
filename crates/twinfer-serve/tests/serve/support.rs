//! Applications over packed recipes, and requests to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::Value;
use twinfer_package::{Index, MemoryStore, PackOptions, Packed, Store, WritableStore, pack};
use twinfer_serve::{App, Options};

pub struct Fixture {
    pub app: App,
    pub store: Arc<MemoryStore>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

pub fn recipe(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sample = root.join("models").join(name);
    if sample.is_dir() {
        sample
    } else {
        root.join("tests/models").join(name)
    }
}

/// All tests that only read share this one, and with it the loaded models.
pub static SHARED: LazyLock<Fixture> = LazyLock::new(|| {
    Fixture::new(&[
        "face-detector",
        "file-type",
        "tumour-risk",
        "types",
        "untidy",
    ])
});

impl Fixture {
    pub fn new(recipes: &[&str]) -> Self {
        Self::with(recipes, |_| {})
    }

    pub fn with(recipes: &[&str], change: impl FnOnce(&mut Options)) -> Self {
        let store = Arc::new(MemoryStore::new());
        let mut options = Options::default();
        change(&mut options);
        let fixture = Self {
            app: App::new(store.clone(), options),
            store,
        };
        for name in recipes {
            fixture.pack(&recipe(name));
        }
        fixture
    }

    pub fn pack(&self, recipe: &Path) -> Packed {
        // The golden examples have their own tests.
        pack(
            recipe,
            &*self.store,
            PackOptions {
                self_test: false,
                ..PackOptions::default()
            },
        )
        .unwrap()
    }

    /// Packs a model file as `name`, with more of the recipe.
    pub fn pack_file(&self, name: &str, file: &[u8], more: &str) -> Packed {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), file).unwrap();
        let recipe = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\ncreated = \"2026-11-25T00:00:00Z\"\n\
             [model]\nfile = \"model.onnx\"\n{more}"
        );
        std::fs::write(folder.path().join("twinfer.toml"), recipe).unwrap();
        self.pack(folder.path())
    }

    /// Packs a recipe under another version.
    pub fn pack_version(&self, name: &str, version: &str) -> Packed {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(recipe(name))
            .unwrap()
            .flatten()
            .filter(|f| f.path().is_file())
        {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let path = folder.path().join("twinfer.toml");
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
        std::fs::write(&path, text).unwrap();
        self.pack(folder.path())
    }

    /// Lets a tag point to what a reference points to.
    pub fn alias(&self, name: &str, tag: &str, version: &str) {
        self.edit_index(|index| {
            let manifests = index["manifests"].as_array_mut().unwrap();
            let named = |entry: &Value, tag: &str| {
                entry["annotations"]["org.opencontainers.image.ref.name"] == format!("{name}:{tag}")
            };
            manifests.retain(|entry| !named(entry, tag));
            let mut entry = manifests
                .iter()
                .find(|entry| named(entry, version))
                .unwrap()
                .clone();
            entry["annotations"]["org.opencontainers.image.ref.name"] =
                format!("{name}:{tag}").into();
            manifests.push(entry);
        });
    }

    pub fn edit_index(&self, edit: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&self.store.index().unwrap()).unwrap();
        edit(&mut json);
        let index = Index::from_json(json.to_string().as_bytes()).unwrap();
        self.store.begin("x").unwrap().commit(&index).unwrap();
    }

    pub fn send(&self, request: http::Request<Bytes>) -> Answer {
        let (parts, body) = self.app.handle(request).into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(http::Request::get(path).body(Bytes::new()).unwrap())
    }

    pub fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.send(
            http::Request::post(path)
                .header("content-type", content_type)
                .body(body.into())
                .unwrap(),
        )
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string())
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.body))
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{:?}", self.body);
        self.json()
    }

    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let short: String = text.chars().take(400).collect();
        assert_eq!(self.status, status, "{short}");
        let json = self.json();
        assert_eq!(json["code"], code, "{short}");
        assert_eq!(self.headers["content-type"], "application/json");
        json["error"].as_str().expect("a message").to_owned()
    }
}
