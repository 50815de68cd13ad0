//! Packages whose models are any bytes: nothing here predicts.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;
use twinfer_cache::{Event, Wanted};
use twinfer_package::{Descriptor, Digest, MemoryStore, Reference, WritableStore, media};

/// Bytes that look like nothing.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(step).collect()
}

pub struct Made {
    pub manifest: Descriptor,
    pub model: Vec<u8>,
}

impl Made {
    pub fn digest(&self) -> Digest {
        self.manifest.digest
    }

    pub fn model_digest(&self) -> Digest {
        Digest::of(&self.model)
    }
}

pub fn registry() -> Rc<MemoryStore> {
    Rc::new(MemoryStore::new())
}

/// Puts a package into a registry, as `name:version` and as `name:live`.
pub fn publish(store: &MemoryStore, name: &str, version: &str, model: Vec<u8>) -> Made {
    let config = json!({"format_version": 1, "name": name, "version": version});
    let config = serde_json::to_vec(&config).unwrap();
    let layer = |media_type: &str, file: &str, bytes: &[u8]| {
        let mut layer = Descriptor::new(media_type, bytes);
        for key in [twinfer_package::TITLE, twinfer_package::FILEPATH] {
            layer.annotations.insert(key.into(), file.into());
        }
        layer
    };
    let layers = [
        layer(media::WEIGHT, media::MODEL_NAME, &model),
        layer(media::WEIGHT_CONFIG, media::CONFIG_NAME, &config),
    ];
    let ids = layers.each_ref().map(|layer| layer.digest);
    let pack = json!({
        "descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": ids},
    });
    let pack = serde_json::to_vec(&pack).unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": media::ARTIFACT,
        "config": Descriptor::new(media::MODEL_CONFIG, &pack), "layers": layers,
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let descriptor = Descriptor {
        artifact_type: Some(media::ARTIFACT.into()),
        ..Descriptor::new(media::MANIFEST, &manifest)
    };
    let mut change = store.begin(name).unwrap();
    for bytes in [&model, &config, &pack, &manifest] {
        let wanted = Descriptor::new("application/octet-stream", bytes);
        change.put(&wanted, &mut &**bytes).unwrap();
    }
    let mut index = change.index().unwrap();
    for tag in [version, "live"] {
        index.point(&Reference::new(name, tag).unwrap(), &descriptor);
    }
    change.commit(&index).unwrap();
    Made {
        manifest: descriptor,
        model,
    }
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Content that belongs to no package.
pub fn content(store: &MemoryStore, bytes: &[u8]) -> Wanted {
    let wanted = Descriptor::new("application/octet-stream", bytes);
    let mut change = store.begin("x").unwrap();
    change.put(&wanted, &mut &*bytes).unwrap();
    let index = change.index().unwrap();
    change.commit(&index).unwrap();
    Wanted {
        digest: wanted.digest,
        size: Some(wanted.size),
        name: "content".into(),
        manifest: false,
    }
}

/// What happened, in words.
#[derive(Default)]
pub struct Heard(RefCell<Vec<String>>);

impl Heard {
    pub fn hear(&self, event: Event<'_>) {
        let text = match event {
            Event::Progress {
                loaded,
                total,
                cached,
                ..
            } => {
                let total = total.map_or("?".into(), |total| total.to_string());
                format!(
                    "{} {loaded}/{total}",
                    if cached { "cached" } else { "progress" }
                )
            }
            Event::Waiting { .. } => "waiting".into(),
            Event::Retry { error, wait } => format!("retry {} in {wait}", error.code().as_str()),
            Event::Damaged { wanted, error } => {
                format!("damaged {} {}", wanted.name, error.code().as_str())
            }
            Event::NotKept { error } => format!("not kept {}", error.code().as_str()),
            Event::Unreachable { error } => format!("unreachable {}", error.code().as_str()),
            other => format!("{other:?}"),
        };
        self.0.borrow_mut().push(text);
    }

    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Without progress.
    pub fn told(&self) -> Vec<String> {
        let mut all = self.take();
        all.retain(|text| !text.starts_with("progress") && !text.starts_with("cached"));
        all
    }
}

pub fn quiet(_: Event<'_>) {}
