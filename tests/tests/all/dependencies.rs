//! Every direct dependency has a line in docs/dependencies.md, and every line a dependency.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_dependency_has_a_reason_in_the_document() {
    let mut used = BTreeSet::new();
    for file in manifests() {
        let text = std::fs::read_to_string(&file).unwrap();
        let manifest: Value = toml::from_str(&text).unwrap();
        collect(&manifest, &mut used);
    }
    for file in ["web/package.json", "bench/package.json"] {
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(root().join(file)).unwrap()).unwrap();
        collect(&manifest, &mut used);
    }
    used.retain(|name| !name.starts_with("twinfer"));
    let document = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| dependency"));
    let listed: BTreeSet<String> = rows
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    assert_eq!(used, listed);
}

fn manifests() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let others = [".", "worker", "xtask", "tests"].map(|folder| root().join(folder));
    crates
        .chain(others)
        .map(|folder| folder.join("Cargo.toml"))
        .filter(|file| file.is_file())
        .collect()
}

/// The keys of every table of dependencies, at whatever depth (`workspace`, `target`).
fn collect(manifest: &Value, used: &mut BTreeSet<String>) {
    let Some(table) = manifest.as_object() else {
        return;
    };
    for (key, value) in table {
        if key.to_ascii_lowercase().ends_with("dependencies") {
            used.extend(
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone()),
            );
        } else {
            collect(value, used);
        }
    }
}
