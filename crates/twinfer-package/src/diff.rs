//! What differs between two packages.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value as Json};
use twinfer::{Change, compatibility};

use crate::{Descriptor, Digest, Package};

/// What differs between two packages, for those who have the old one.
#[derive(Debug, Clone, Serialize)]
pub struct PackageDiff {
    /// The old package.
    pub old: PackageName,
    /// The new package.
    pub new: PackageName,
    /// The layers that are not the same, by name.
    pub layers: Vec<LayerChange>,
    /// Layers, configuration and manifest of the new package that are not in the old one.
    pub to_load: Amount,
    /// All of the new package.
    pub total: Amount,
    /// What callers notice.
    pub changes: Vec<Change>,
    /// Whether a change breaks callers of the old package.
    pub breaking: bool,
    /// The metrics of both, by path (`test.accuracy`).
    pub metrics: Vec<MetricChange>,
}

/// What a package is called.
#[derive(Debug, Clone, Serialize)]
pub struct PackageName {
    /// The name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of the manifest.
    pub digest: Digest,
}

/// A number of parts, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub parts: usize,
    /// How many bytes together.
    pub bytes: u64,
}

/// A layer that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerChange {
    /// Its file name.
    pub name: String,
    /// Bytes in the old package; `None` for one that was added.
    pub old: Option<u64>,
    /// Bytes in the new package; `None` for one that was removed.
    pub new: Option<u64>,
}

/// A metric of two packages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricChange {
    /// Where it is in `metrics.json`: keys joined with `.`, positions as `[0]`.
    pub path: String,
    /// The old value.
    pub old: Option<Json>,
    /// The new value.
    pub new: Option<Json>,
}

impl PackageDiff {
    /// Compares two packages that were opened with [`crate::Parts::Description`] or more.
    pub fn of(old: &Package, new: &Package) -> Self {
        let changes = compatibility(old.config(), new.config());
        let there: BTreeSet<Digest> = parts(old).map(|(digest, _)| digest).collect();
        Self {
            old: PackageName::of(old),
            new: PackageName::of(new),
            layers: layers(old, new),
            to_load: amount(parts(new).filter(|(digest, _)| !there.contains(digest))),
            total: amount(parts(new)),
            breaking: changes.iter().any(|change| change.breaking),
            changes,
            metrics: metrics(old.metrics(), new.metrics()),
        }
    }
}

impl PackageName {
    fn of(package: &Package) -> Self {
        Self {
            name: package.name().into(),
            version: package.version().into(),
            digest: *package.digest(),
        }
    }
}

/// Everything that a package is stored as.
fn parts(package: &Package) -> impl Iterator<Item = (Digest, u64)> {
    let manifest = package.manifest();
    let inside = std::iter::once(&manifest.config).chain(&manifest.layers);
    let inside = inside.map(|d| (d.digest, d.size));
    // The size of the manifest is not in it; written again it is as long, but for other tools.
    let size = crate::json::to_json(manifest).map_or(0, |json| json.len() as u64);
    std::iter::once((*package.digest(), size)).chain(inside)
}

/// Equal content counts once.
fn amount(parts: impl Iterator<Item = (Digest, u64)>) -> Amount {
    let distinct: BTreeMap<Digest, u64> = parts.collect();
    Amount {
        parts: distinct.len(),
        bytes: distinct.values().sum(),
    }
}

fn layers(old: &Package, new: &Package) -> Vec<LayerChange> {
    let by_name = |package: &Package| -> BTreeMap<String, Descriptor> {
        let layers = package.layers().iter();
        layers
            .map(|l| (l.file_name().unwrap_or_default().to_owned(), l.clone()))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed =
        |name: &&&String| old.get(**name).map(|l| l.digest) != new.get(**name).map(|l| l.digest);
    names
        .iter()
        .filter(changed)
        .map(|name| LayerChange {
            name: (*name).clone(),
            old: old.get(*name).map(|l| l.size),
            new: new.get(*name).map(|l| l.size),
        })
        .collect()
}

type Metrics = Map<String, Json>;

fn metrics(old: Option<&Metrics>, new: Option<&Metrics>) -> Vec<MetricChange> {
    let flat = |metrics: Option<&Metrics>| {
        let mut flat = BTreeMap::new();
        for (key, value) in metrics.into_iter().flatten() {
            flatten(key.clone(), value, &mut flat);
        }
        flat
    };
    let (old, new) = (flat(old), flat(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |path: &&String| MetricChange {
        path: (*path).clone(),
        old: old.get(*path).cloned(),
        new: new.get(*path).cloned(),
    };
    paths.iter().map(change).collect()
}

fn flatten(path: String, value: &Json, into: &mut BTreeMap<String, Json>) {
    match value {
        Json::Object(object) => {
            for (key, value) in object {
                flatten(format!("{path}.{key}"), value, into);
            }
        }
        Json::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                flatten(format!("{path}[{index}]"), value, into);
            }
        }
        value => drop(into.insert(path, value.clone())),
    }
}
