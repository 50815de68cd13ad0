//! The lying server and the list of the cache suite, without a cache.

use std::collections::BTreeSet;

use twinfer_cache::{FolderBackend, KeyValueBackend, MemoryBackend, MemoryKeyValue};
use twinfer_package::{FolderStore, Package, Parts};
use twinfer_tests::cache::list::Asked;
use twinfer_tests::cache::native;
use twinfer_tests::cache::registry::{BAD, Made};
use twinfer_tests::cache::server::LyingServer;
use twinfer_tests::cache::{cases, registry, verdict};
use twinfer_tests::http::{Response, request};

type Values = KeyValueBackend<MemoryKeyValue>;

#[test]
fn the_packages_of_the_suite_answer_what_the_list_says() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::write(folder.path()).unwrap();
    let store = FolderStore::new(&made.folder);
    for (name, version) in [("steady", 1), ("steady", 2), ("steady", BAD), ("drip", 1)] {
        let reference = format!("{name}:{version}.0.0").parse().unwrap();
        let package = Package::open_parts(&store, &reference, Parts::Tested).unwrap();
        let model = package.load().unwrap();
        let report = package.self_test(&model).unwrap();
        assert_eq!(report.check().is_ok(), version != BAD, "{name} {version}");
    }
}

/// A server, and a client of one session.
struct Lied {
    _folder: tempfile::TempDir,
    server: LyingServer,
    layer: String,
}

impl Lied {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::write(folder.path()).unwrap();
        let layer = made.layers[&registry::key("steady", 1)].clone();
        let server = LyingServer::start(made).unwrap();
        Self {
            _folder: folder,
            server,
            layer: format!("blobs/sha256/{layer}"),
        }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
        let origin = self.server.origin();
        let address = origin.trim_start_matches("http://");
        request(address, "GET", path, headers, &[])
    }

    fn log(&self, session: &str) -> Vec<Asked> {
        let log = self.get(&format!("/_log/{session}"), &[]).unwrap();
        serde_json::from_slice(&log.body).unwrap()
    }
}

#[test]
fn sessions_of_the_lying_server_know_nothing_of_each_other() {
    let lied = Lied::new();
    let layer = |session: &str| lied.get(&format!("/not-found-once/{session}/{}", lied.layer), &[]);
    assert_eq!(layer("one").unwrap().status, 404);
    assert_eq!(layer("one").unwrap().status, 200);
    assert_eq!(layer("two").unwrap().status, 404);
    let statuses: Vec<u16> = lied.log("one").iter().map(|asked| asked.status).collect();
    assert_eq!(statuses, [404, 200]);
    assert_eq!(lied.log("one"), []);
    assert_eq!(lied.log("two").len(), 1);
}

#[test]
fn the_lying_server_cuts_where_it_should_and_goes_on_where_it_is_asked_to() {
    let lied = Lied::new();
    let path = format!("/cut-once/s/{}", lied.layer);
    let cut = lied.get(&path, &[]).unwrap_err().to_string();
    assert!(cut.contains("cut off"), "{cut}");
    let rest = lied.get(&path, &[("range", "bytes=1000-")]).unwrap();
    let whole = lied.get(&path, &[]).unwrap();
    assert_eq!((rest.status, whole.status), (206, 200));
    assert_eq!(rest.body, whole.body[1000..]);
    let ranges: Vec<Option<String>> = lied.log("s").into_iter().map(|asked| asked.range).collect();
    assert_eq!(ranges, [None, Some("bytes=1000-".into()), None]);
}

#[test]
fn the_lying_server_moves_tags_and_changes_its_mind() {
    let lied = Lied::new();
    let index = || lied.get("/none/s/index.json", &[]).unwrap();
    let before = index();
    let validator = before.header("etag").unwrap().to_owned();
    let again = lied.get("/none/s/index.json", &[("if-none-match", &validator)]);
    assert_eq!(again.unwrap().status, 304);
    lied.get("/_set/s/live-2", &[]).unwrap();
    let after = lied.get("/none/s/index.json", &[("if-none-match", &validator)]);
    assert_ne!(after.unwrap().body, before.body);
    lied.get("/_set/s/dead", &[]).unwrap();
    assert!(lied.get("/none/s/index.json", &[]).is_err());
    lied.get("/_set/s/none", &[]).unwrap();
    assert_eq!(index().status, 200);
}

#[test]
fn nobody_listens_where_nobody_should() {
    let lied = Lied::new();
    let nobody = lied.server.nobody();
    let address = nobody.trim_start_matches("http://");
    assert!(request(address, "GET", "/", &[], &[]).is_err());
}

#[test]
fn cases_have_names_of_their_own_that_paths_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::write(folder.path()).unwrap();
    let list = cases::all(&made, &LyingServer::start(made.clone()).unwrap());
    let names: BTreeSet<&str> = list.cases.iter().map(|case| &*case.id).collect();
    assert_eq!(names.len(), list.cases.len());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(names.iter().all(|name| name.chars().all(plain)));
    let text = serde_json::to_string(&list).unwrap();
    let read: twinfer_tests::cache::list::CacheCases = serde_json::from_str(&text).unwrap();
    assert_eq!(read.cases.len(), list.cases.len());
}

#[test]
fn the_cache_holds_against_the_lying_server_natively() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::write(folder.path()).unwrap();
    let server = LyingServer::start(made.clone()).unwrap();
    let list = cases::all(&made, &server);
    let results = [
        native::run::<MemoryBackend, _>("native-memory", &list, native::open).unwrap(),
        native::run::<FolderBackend, _>("native-folder", &list, native::open).unwrap(),
        native::run::<Values, _>("native-key-value", &list, native::open).unwrap(),
    ];
    let found = verdict::judge(&list, &results);
    assert!(found.failed.is_empty(), "{}", found.failed.join("\n"));
    assert!(found.passes() > 150, "{}", found.passes());
}
