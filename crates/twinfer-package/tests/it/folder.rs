//! A registry in a folder: links, rights, left-overs, several writers.

use std::fs;

use twinfer::ErrorCode::*;
use twinfer_package::{Descriptor, FolderStore, Index, Package, Reference, Store, WritableStore};

use crate::fixture::{Recipe, layer, reference};

#[test]
fn a_folder_that_is_not_there_or_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path().join("none"));
    let error = store.index().unwrap_err();
    assert_eq!(error.code(), Storage);
    assert!(error.message().contains("twinfer pack"), "{error}");
    let error = Package::open(&FolderStore::new(folder.path()), &reference()).unwrap_err();
    assert_eq!(error.code(), UnknownModel);
    fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(
        FolderStore::new(folder.path().join("file"))
            .index()
            .unwrap_err()
            .code(),
        Storage
    );
}

#[test]
fn a_folder_with_other_things_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("holiday.jpg"), "x").unwrap();
    let error = Recipe::new()
        .pack(&FolderStore::new(folder.path()))
        .unwrap_err();
    assert_eq!(error.code(), Storage);
    assert!(error.message().contains("holiday.jpg"), "{error}");
    assert!(!folder.path().join("index.json").exists());
}

#[test]
fn a_newer_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    fs::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    assert_eq!(store.index().unwrap_err().code(), UnsupportedFormatVersion);
    assert_eq!(
        Recipe::new().pack(&store).unwrap_err().code(),
        UnsupportedFormatVersion
    );
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_a_layout_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path().join("registry"));
    Recipe::new().pack(&store).unwrap();
    let model = layer(&store, "model.onnx");
    let blob = store.root().join("blobs/sha256").join(model.digest.hex());
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&blob, &elsewhere).unwrap();
    symlink(&elsewhere, &blob).unwrap();
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        Storage
    );
    fs::remove_file(&blob).unwrap();
    symlink("/dev/zero", &blob).unwrap();
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        Storage
    );
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        Storage
    );
    fs::remove_dir(&blob).unwrap();
    // A pipe that nobody writes to would be waited for without end.
    let made = std::process::Command::new("mkfifo")
        .arg(&blob)
        .status()
        .unwrap();
    assert!(made.success());
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        Storage
    );
    fs::remove_file(&blob).unwrap();
    fs::rename(&elsewhere, &blob).unwrap();
    Package::open(&store, &reference()).unwrap();
}

#[test]
fn a_blob_that_is_far_too_long_is_not_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    Recipe::new().pack(&store).unwrap();
    let model = layer(&store, "model.onnx");
    let blob = store.root().join("blobs/sha256").join(model.digest.hex());
    fs::File::options()
        .write(true)
        .open(&blob)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert_eq!(store.blob(&model).unwrap().len() as u64, model.size + 1);
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        SizeMismatch
    );
}

#[test]
fn packing_again_heals_a_damaged_blob_and_sweeps_left_overs() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    let recipe = Recipe::new();
    recipe.pack(&store).unwrap();
    let blob = store
        .root()
        .join("blobs/sha256")
        .join(layer(&store, "model.onnx").digest.hex());
    fs::write(&blob, "damaged").unwrap();
    let left_over = store.root().join("blobs/sha256/.partial-1-abc");
    fs::write(&left_over, "half").unwrap();
    assert!(recipe.pack(&store).unwrap().unchanged);
    Package::open(&store, &reference()).unwrap();
    assert!(!left_over.exists());
}

#[test]
fn a_damaged_index_is_reported_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    Recipe::new().pack(&store).unwrap();
    fs::write(folder.path().join("index.json"), "{").unwrap();
    assert_eq!(
        Package::open(&store, &reference()).unwrap_err().code(),
        InvalidManifest
    );
    assert_eq!(
        Recipe::new().pack(&store).unwrap_err().code(),
        InvalidManifest
    );
    assert_eq!(fs::read(folder.path().join("index.json")).unwrap(), b"{");
}

#[test]
fn many_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let root = folder.path();
            scope.spawn(move || {
                let store = FolderStore::new(root);
                let recipe = Recipe::new();
                for n in 0..5 {
                    recipe.edit("version = \"", &format!("version = \"{n}.{writer}.0\"\n#"));
                    recipe.pack_untested(&store).unwrap();
                }
            });
        }
    });
    let store = FolderStore::new(folder.path());
    let index = Index::from_json(&store.index().unwrap()).unwrap();
    assert_eq!(index.tags().len(), 20);
    for tag in index.tags() {
        Package::open(&store, &Reference::new(&tag.name, &tag.tag).unwrap()).unwrap();
    }
}

#[test]
fn a_change_that_is_dropped_leaves_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    Recipe::new().pack(&store).unwrap();
    let before = store.index().unwrap();
    let mut change = store.begin("m").unwrap();
    let orphan = Descriptor::new("text/plain", b"orphan");
    change.put(&orphan, &mut b"orphan".as_slice()).unwrap();
    drop(change);
    assert_eq!(store.index().unwrap(), before);
    store.begin("m").unwrap();
}

#[test]
fn another_index_decides_what_is_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let own = FolderStore::new(folder.path());
    own.begin("").unwrap().commit(&Index::default()).unwrap();
    let file = folder.path().join("approved.json");
    let other = FolderStore::with_index(folder.path(), &file);
    // One that is not there is not taken for an empty one.
    assert_eq!(other.index().unwrap_err().code(), Storage);
    fs::write(&file, "approved").unwrap();
    assert_eq!(other.index().unwrap(), b"approved");
    assert_ne!(own.index().unwrap(), b"approved");
    let error = other.begin("").map(drop).unwrap_err();
    assert_eq!(error.code(), Storage);
}
