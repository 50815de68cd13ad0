//! Copying between registries in memory and in folders.

use twinfer::ErrorCode;
use twinfer_package::{Index, MemoryStore, Package, Store};
use twinfer_registry::{CopyOptions, Stage, copy};

use crate::support::{Place, attach, copy_one, reference, signed_tags};

fn tags(store: &dyn Store) -> Vec<String> {
    let index = Index::from_json(&store.index().unwrap()).unwrap();
    index
        .tags()
        .iter()
        .map(|t| t.tag.clone())
        .filter(|tag| tag != "twinfer-tags")
        .collect()
}

#[test]
fn a_package_comes_with_all_that_belongs_to_it() {
    let place = Place::new();
    let source = place.pack("1.0.0", 10_000);
    place.pack("1.1.0", 10);
    attach(&source, "small:1.0.0", b"signature");
    signed_tags(&source, "small", 1);
    let dest = MemoryStore::new();
    let mut stages = Vec::new();
    let copied = copy(
        &source,
        &dest,
        &[reference("small:1.0.0")],
        &CopyOptions::default(),
        &mut |p| {
            stages.push((p.stage, p.done));
        },
    );
    let copied = copied.unwrap().remove(0);
    assert_eq!(copied.reference, "small:1.0.0");
    assert!(
        copied.attached == 1 && copied.signed_tags && !copied.unchanged,
        "{copied:?}"
    );
    assert!(
        stages
            .iter()
            .any(|(stage, done)| *stage == Stage::Sending && *done == 10_000)
    );
    assert_eq!(tags(&dest), ["1.0.0"]);
    Package::open(&dest, &reference("small")).unwrap();
    let again = copy_one(&source, &dest, "small:1.0.0").unwrap();
    assert!(again.unchanged && again.bytes_sent == 0, "{again:?}");
}

#[test]
fn references_of_every_form() {
    let place = Place::new();
    let source = place.pack("1.0.0", 10);
    let digest = *Package::open(&source, &reference("small"))
        .unwrap()
        .digest();
    let change = twinfer_package::WritableStore::begin(&source, "small").unwrap();
    let mut index = change.index().unwrap();
    let manifest = index.resolve(&reference("small")).unwrap();
    index.point(&reference("small:stable"), &manifest);
    change.commit(&index).unwrap();
    for (text, wanted) in [
        ("small".to_owned(), &["1.0.0"][..]),
        ("small:stable".to_owned(), &["1.0.0", "stable"]),
        (format!("small@{digest}"), &["1.0.0"]),
        (format!("small:stable@{digest}"), &["1.0.0", "stable"]),
    ] {
        let dest = MemoryStore::new();
        copy_one(&source, &dest, &text).unwrap();
        assert_eq!(tags(&dest), wanted, "{text}");
    }
    for (text, code) in [
        ("other".to_owned(), ErrorCode::UnknownModel),
        ("small:2.0.0".to_owned(), ErrorCode::UnknownVersion),
    ] {
        let error = copy_one(&source, &MemoryStore::new(), &text).unwrap_err();
        assert_eq!(error.code(), code, "{text}");
    }
}

#[test]
fn signatures_of_both_sides_and_the_newer_tags_stay() {
    let (here, there) = (Place::new(), Place::new());
    let (source, dest) = (here.pack("1.0.0", 10), there.pack("1.0.0", 10));
    attach(&source, "small:1.0.0", b"one");
    attach(&dest, "small:1.0.0", b"two");
    signed_tags(&source, "small", 4);
    signed_tags(&dest, "small", 5);
    let before = dest.index().unwrap();
    let newer = |index: &[u8]| {
        let index: serde_json::Value = serde_json::from_slice(index).unwrap();
        let list = index["manifests"].as_array().unwrap();
        let key = "org.opencontainers.image.ref.name";
        list.iter()
            .find(|m| m["annotations"][key] == "small:twinfer-tags")
            .unwrap()["digest"]
            .clone()
    };
    let copied = copy_one(&source, &dest, "small").unwrap();
    assert!(!copied.unchanged);
    assert_eq!(newer(&dest.index().unwrap()), newer(&before));
    // Back: now both have both, and the newer tags.
    let back = copy_one(&dest, &source, "small").unwrap();
    assert_eq!(back.attached, 2);
    assert_eq!(newer(&source.index().unwrap()), newer(&before));
    assert!(copy_one(&source, &dest, "small").unwrap().unchanged);
}

#[test]
fn a_package_that_is_none_or_damaged_is_not_copied() {
    let place = Place::new();
    let source = place.pack("1.0.0", 10_000);
    let package = Package::open(&source, &reference("small")).unwrap();
    for layer in package.layers() {
        let path = place.path("registry/blobs/sha256").join(layer.digest.hex());
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[0] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let dest = MemoryStore::new();
        let error = copy_one(&source, &dest, "small").unwrap_err();
        assert_eq!(error.code(), ErrorCode::DigestMismatch);
        assert!(tags(&dest).is_empty());
        std::fs::write(&path, good).unwrap();
    }
    assert!(copy_one(&source, &MemoryStore::new(), "small:twinfer-tags").is_err());
}
