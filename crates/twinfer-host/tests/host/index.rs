//! Another index than the registry's own: who reads it, and how a change of it is prepared.

use std::fs;
use std::path::Path;

use twinfer_package::{FolderStore, Index, PackOptions, Store, pack};

use crate::support::{Fixture, real_component};

const READY: &str = "/v2/models/types/ready";

/// A host of the real component with a packed model and the index of a folder beside it, which
/// has nothing in it yet.
fn fixture() -> Fixture {
    Fixture::with(real_component(), |config| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let options = PackOptions {
            self_test: false,
            ..PackOptions::default()
        };
        let store = FolderStore::new(&config.registry);
        pack(&root.join("tests/models/types"), &store, options).unwrap();
        let index = config.registry.parent().unwrap().join("index");
        fs::create_dir(&index).unwrap();
        let empty = Index::default().to_json().unwrap();
        fs::write(index.join("index.json"), empty).unwrap();
        config.index = Some(index);
    })
}

#[test]
fn guest_and_pages_read_the_other_index() {
    let host = fixture();
    let before = host.get("/registry/index.json");
    host.get(READY).expect_error(404, "unknown_model");
    let own = FolderStore::new(host.registry()).index().unwrap();
    let index = host.folder.path().join("index");
    fs::write(index.join("next"), &own).unwrap();
    fs::rename(index.join("next"), index.join("index.json")).unwrap();
    assert_eq!(host.get(READY).status, 200);
    let after = host.get("/registry/index.json");
    assert_eq!(after.body, own);
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_eq!(after.header("cache-control"), Some("no-cache"));
    // A page that has the old one is not told that nothing changed.
    let etag = before.header("etag").unwrap();
    let asked = host.get_with(
        "/registry/index.json",
        &format!("if-none-match: {etag}\r\n"),
    );
    assert_eq!(asked.status, 200);
}

#[test]
fn an_index_is_tried_out_beside_the_one_that_is_served() {
    let host = fixture();
    let handle = host.host.as_ref().unwrap().handle();
    let refused = handle.try_out(&host.folder.path().join("index"), &[READY.into()]);
    assert_eq!(refused.unwrap_err().code, "unknown_model");
    let trial = host.folder.path().join("trial");
    fs::create_dir(&trial).unwrap();
    let own = FolderStore::new(host.registry()).index().unwrap();
    fs::write(trial.join("index.json"), own).unwrap();
    handle.try_out(&trial, &[READY.into()]).unwrap();
    host.get(READY).expect_error(404, "unknown_model");
}

#[test]
fn a_host_that_has_ended_is_not_waited_for() {
    let mut host = fixture();
    let handle = host.host.as_ref().unwrap().handle();
    host.shutdown().unwrap();
    let index = host.folder.path().join("index");
    assert_eq!(
        handle.try_out(&index, &[READY.into()]).unwrap_err().code,
        "internal"
    );
    handle.prepare(
        "types",
        &[READY.into()],
        std::time::Duration::from_secs(3600),
    );
}
