//! Registries behind the cache.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twinfer::ErrorCode;
use twinfer_cache::{Event, Policy};
use twinfer_package::{Index, Package, Parts, Store, WritableStore};
use twinfer_registry::{CacheSettings, CachedStore, Location, NetOptions};

use crate::fake::{Fake, Faults};
use crate::support::{Place, attach, copy_one, free_port, hasty, reference, signed_tags, writable};

/// What a store told.
pub type Told = Arc<Mutex<Vec<String>>>;

fn cached_with(
    place: &Place,
    locations: &[&str],
    change: impl FnOnce(&mut CacheSettings),
) -> (CachedStore, Told) {
    let locations: Vec<Location> = locations.iter().map(|l| l.parse().unwrap()).collect();
    let mut settings = CacheSettings {
        folder: place.path("cache"),
        policy: Policy::StaleWhileRevalidate,
        quota: None,
        keep: true,
    };
    change(&mut settings);
    let told = Told::default();
    let tell = told.clone();
    let options = NetOptions {
        read_timeout: Duration::from_secs(2),
        ..hasty()
    };
    let store = CachedStore::new(&locations, settings, &options).unwrap();
    let store = store.listen(move |event| {
        let line = match event {
            Event::Damaged { wanted, .. } => format!("damaged {}", wanted.name),
            Event::NotKept { error } => format!("not kept {}", error.code()),
            Event::Unreachable { error } => format!("unreachable {}", error.code()),
            _ => return,
        };
        tell.lock().unwrap().push(line);
    });
    (store, told)
}

pub fn cached(place: &Place, location: &str, policy: Policy) -> (CachedStore, Told) {
    cached_with(place, &[location], |settings| settings.policy = policy)
}

pub fn open(store: &CachedStore, text: &str) -> twinfer::Result<Package> {
    Package::open_parts(store, &reference(text), Parts::All)
}

/// The static host of a package `small:1.0.0` with a document of this many bytes.
fn host(place: &Place, bytes: usize) -> (Fake, String) {
    let fake = Fake::start(Faults::default());
    place.pack("1.0.0", bytes);
    let location = fake.publish(&place.path("registry"));
    (fake, location)
}

pub const SWR: Policy = Policy::StaleWhileRevalidate;

#[test]
fn a_static_host_is_asked_whether_its_index_changed() {
    let place = Place::new();
    let (fake, location) = host(&place, 10_000);
    open(&cached(&place, &location, SWR).0, "small").unwrap();
    let first = fake.requests();
    // Asked before: one request, which is answered with 304.
    open(&cached(&place, &location, Policy::Online).0, "small").unwrap();
    assert_eq!(fake.count("GET /registry/index.json 304"), 1);
    assert_eq!(fake.requests(), first + 1);
    // Asked afterwards.
    let (store, told) = cached(&place, &location, SWR);
    open(&store, "small").unwrap();
    assert_eq!(fake.requests(), first + 1);
    assert_eq!(store.revalidate_pending(), []);
    assert_eq!(fake.count("GET /registry/index.json 304"), 2);
    assert_eq!(*told.lock().unwrap(), [""; 0]);
    // A new version: the answer is used the next time.
    place.pack("1.1.0", 20_000);
    fake.publish(&place.path("registry"));
    let (store, _) = cached(&place, &location, SWR);
    assert_eq!(open(&store, "small").unwrap().version(), "1.0.0");
    let moved = store.revalidate_pending();
    assert_eq!(moved.len(), 1);
    let before = fake.requests();
    let (store, _) = cached(&place, &location, SWR);
    let package = open(&store, "small").unwrap();
    assert_eq!(package.version(), "1.1.0");
    assert_eq!(moved[0].to, Some(*package.digest()));
    assert!(moved[0].from.is_some() && moved[0].from != moved[0].to);
    // Only what is new of it: manifest, configurations, document; not the model.
    let fetched = fake.requests() - before;
    assert!(fetched < package.layers().len() + 2, "{fetched}");
}

#[test]
fn what_is_fresh_is_not_asked_for() {
    let place = Place::new();
    let (fake, location) = host(&place, 1_000);
    fake.set(Faults {
        index_headers: "Cache-Control: max-age=600\r\n".into(),
        ..Faults::default()
    });
    open(&cached(&place, &location, SWR).0, "small").unwrap();
    let before = fake.requests();
    let (store, _) = cached(&place, &location, SWR);
    open(&store, "small").unwrap();
    assert_eq!(store.revalidate_pending(), []);
    assert_eq!(fake.requests(), before);
    // What is asked for and is not there may have been published meanwhile.
    place.pack("1.1.0", 1_000);
    fake.publish(&place.path("registry"));
    let (store, _) = cached(&place, &location, SWR);
    assert_eq!(open(&store, "small:1.1.0").unwrap().version(), "1.1.0");
    // And not kept at all.
    let other = Place::new();
    fake.set(Faults {
        index_headers: "Cache-Control: no-store\r\n".into(),
        ..Faults::default()
    });
    open(&cached(&other, &location, SWR).0, "small").unwrap();
    let (offline, _) = cached(&other, &location, Policy::Offline);
    assert_eq!(
        open(&offline, "small").unwrap_err().code(),
        ErrorCode::Network
    );
}

#[test]
fn a_file_that_just_changed_is_asked_for_without_a_condition() {
    let place = Place::new();
    let (fake, location) = host(&place, 1_000);
    let now = "Date: Thu, 26 Nov 2026 10:00:01 GMT\r\n";
    for (modified, unchanged) in [("00", 0), ("01", 0), ("59", 1)] {
        let other = Place::new();
        let hour = if modified == "59" { "09:59" } else { "10:00" };
        fake.set(Faults {
            index_headers: format!(
                "{now}Last-Modified: Thu, 26 Nov 2026 {hour}:{modified} GMT\r\n"
            ),
            ..Faults::default()
        });
        let before = fake.count("GET /registry/index.json 304");
        open(&cached(&other, &location, SWR).0, "small").unwrap();
        open(&cached(&other, &location, Policy::Online).0, "small").unwrap();
        let asked = fake.count("GET /registry/index.json 304") - before;
        assert_eq!(asked, unchanged, "{modified}");
    }
}

#[test]
fn an_oci_registry_is_asked_whether_its_tags_moved() {
    let place = Place::new();
    let source = place.pack("1.0.0", 1_000);
    attach(&source, "small:1.0.0", b"signature");
    signed_tags(&source, "small", 1);
    let fake = Fake::start(Faults::default());
    let location = fake.location();
    copy_one(&source, &*writable(&location), "small:1.0.0").unwrap();
    let start = fake.requests();
    let package = open(&cached(&place, &location, SWR).0, "small:1.0.0").unwrap();
    // The manifest came with the tag, and is not asked for again.
    let manifest = format!("GET /v2/models/small/manifests/{} ", package.digest());
    assert_eq!(fake.count(&manifest), 0);
    let first = fake.requests();
    assert!(first > start);
    for name in ["small:1.0.0", "small"] {
        let unchanged = fake.count("GET /v2/models/small/manifests/");
        open(&cached(&place, &location, Policy::Online).0, name).unwrap();
        assert!(fake.count("GET /v2/models/small/manifests/") > unchanged);
    }
    // Tag, list of signatures and signed tags: three times "not modified".
    let log = fake.state.lock().unwrap().log.clone();
    let same = log[first..].iter().filter(|line| line.ends_with(" 304"));
    assert_eq!(same.count(), 3, "{:?}", &log[first..]);
    assert!(log[first..].iter().all(|line| !line.contains("/blobs/")));
    // From the cache alone, also by its digest, and with what is attached.
    let before = fake.requests();
    let (store, _) = cached(&place, &location, SWR);
    open(&store, "small:1.0.0").unwrap();
    open(&store, &format!("small@{}", package.digest())).unwrap();
    let index = Index::from_json(&store.index_of(&reference("small:1.0.0")).unwrap()).unwrap();
    assert_eq!(
        index.to_json().unwrap().len(),
        store_index(&place, &location).len()
    );
    assert_eq!(fake.requests(), before);
    // The tag moves.
    let elsewhere = Place::new();
    let changed = elsewhere.pack("1.0.0", 2_000);
    let options = twinfer_registry::CopyOptions {
        force: true,
        ..Default::default()
    };
    let dest = writable(&location);
    let all = [reference("small:1.0.0")];
    twinfer_registry::copy(&changed, &*dest, &all, &options, &mut |_| ()).unwrap();
    let (store, _) = cached(&place, &location, SWR);
    assert_eq!(
        open(&store, "small:1.0.0").unwrap().digest(),
        package.digest()
    );
    let moved = store.revalidate_pending();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!(moved[0].from, Some(*package.digest()));
    let (store, _) = cached(&place, &location, SWR);
    let next = open(&store, "small:1.0.0").unwrap();
    assert_eq!(moved[0].to, Some(*next.digest()));
    // And the old one is still here, by its digest, in another process and offline.
    let (store, _) = cached(&place, &location, Policy::Offline);
    open(&store, &format!("small@{}", package.digest())).unwrap();
}

fn store_index(place: &Place, location: &str) -> Vec<u8> {
    let (store, _) = cached(place, location, Policy::Offline);
    let index = store.index_of(&reference("small:1.0.0")).unwrap();
    Index::from_json(&index).unwrap().to_json().unwrap()
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    for (no_ranges, encoding, sent_at_most) in [
        (false, None, 1_050_000),
        (true, None, 1_450_000),
        (false, Some("gzip"), 1_450_000),
    ] {
        let place = Place::new();
        let (fake, location) = host(&place, 1_000_000);
        fake.set(Faults {
            cut_downloads: (2, 200_000),
            no_ranges,
            encoding,
            ..Faults::default()
        });
        let (store, _) = cached(&place, &location, SWR);
        let package = open(&store, "small").unwrap();
        assert_eq!(package.version(), "1.0.0");
        let sent = fake.state.lock().unwrap().sent;
        assert!(sent < sent_at_most, "{encoding:?} {no_ranges}: {sent}");
        let parts = fake.state.lock().unwrap().log.clone();
        let parts = parts.iter().filter(|line| line.ends_with(" 206")).count();
        assert_eq!(parts > 0, !no_ranges, "{encoding:?}");
    }
}

#[test]
fn answers_that_cannot_be_used_are_errors_that_say_so() {
    let place = Place::new();
    let (fake, location) = host(&place, 500_000);
    let other = Place::new();
    let try_it = |faults: Faults| {
        fake.set(faults);
        let (store, _) = cached_with(&other, &[&location], |s| s.keep = false);
        open(&store, "small").unwrap_err()
    };
    let error = try_it(Faults {
        encoding: Some("br"),
        ..Faults::default()
    });
    assert_eq!(error.code(), ErrorCode::Network, "{error}");
    assert!(error.to_string().contains("`br`"), "{error}");
    let error = try_it(Faults {
        cut_downloads: (1, 100_000),
        shifted_ranges: true,
        ..Faults::default()
    });
    assert_eq!(error.code(), ErrorCode::Network, "{error}");
    let page = |status, headers: &str| Faults {
        instead: vec![(
            "/registry/blobs".into(),
            status,
            headers.into(),
            b"<html>".to_vec(),
        )],
        ..Faults::default()
    };
    let error = try_it(page(200, "Content-Type: text/html\r\n"));
    assert!(
        error.code() == ErrorCode::Network && error.to_string().contains("web page"),
        "{error}"
    );
    for (status, code) in [
        (404, ErrorCode::MissingBlob),
        (410, ErrorCode::MissingBlob),
        (403, ErrorCode::Unauthorized),
        (503, ErrorCode::Network),
        (418, ErrorCode::Network),
    ] {
        assert_eq!(try_it(page(status, "")).code(), code, "{status}");
    }
    assert!(!other.path("cache").exists());
}

#[test]
fn mirrors_are_asked_in_their_order() {
    let place = Place::new();
    let (first, at_first) = host(&place, 10_000);
    let second = Fake::start(Faults::default());
    let at_second = second.publish(&place.path("registry"));
    // The first has lost a blob.
    let document = {
        let mut state = first.state.lock().unwrap();
        let largest = state
            .files
            .iter()
            .filter(|(path, _)| path.contains("/blobs/"))
            .max_by_key(|(_, content)| content.len());
        let path = largest.unwrap().0.clone();
        state.files.remove(&path);
        path
    };
    let (store, told) = cached_with(&place, &[&at_first, &at_second], |_| ());
    open(&store, "small").unwrap();
    assert_eq!(second.requests(), 1);
    assert_eq!(second.count(&format!("GET {document} 200")), 1);
    assert_eq!(*told.lock().unwrap(), [""; 0]);
    // Nobody at all at the first; a folder as the last one.
    let nobody = format!("http://127.0.0.1:{}/registry", free_port());
    let other = Place::new();
    let folder = place.path("registry");
    for last in [&at_second, folder.to_str().unwrap()] {
        let (store, _) = cached_with(&other, &[&nobody, last], |s| s.keep = false);
        open(&store, "small").unwrap();
    }
}

#[test]
fn the_last_good_answer_outlives_the_network() {
    let place = Place::new();
    let (fake, location) = host(&place, 10_000);
    let package = open(&cached(&place, &location, SWR).0, "small").unwrap();
    fake.set(Faults {
        gone: true,
        ..Faults::default()
    });
    for policy in [Policy::Offline, SWR, Policy::Online] {
        let (store, told) = cached(&place, &location, policy);
        assert_eq!(open(&store, "small").unwrap().digest(), package.digest());
        assert_eq!(store.revalidate_pending(), [], "{policy:?}");
        let wanted: &[&str] = match policy {
            Policy::Online => &["unreachable network"],
            _ => &[],
        };
        assert_eq!(*told.lock().unwrap(), wanted, "{policy:?}");
    }
    // What nobody has loaded is not there.
    for policy in [Policy::Offline, SWR, Policy::Online] {
        let (store, _) = cached(&Place::new(), &location, policy);
        let error = open(&store, "small").unwrap_err();
        assert_eq!(error.code(), ErrorCode::Network, "{policy:?}");
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_in_the_cache_is_fetched_again() {
    let place = Place::new();
    let (fake, location) = host(&place, 10_000);
    let package = open(&cached(&place, &location, SWR).0, "small").unwrap();
    let document = package
        .layers()
        .iter()
        .max_by_key(|layer| layer.size)
        .unwrap();
    let path = place.path("cache/blobs/sha256").join(document.digest.hex());
    let asked = format!("GET /registry/blobs/sha256/{}", document.digest.hex());
    flip(&path);
    let (store, told) = cached(&place, &location, SWR);
    open(&store, "small").unwrap();
    assert_eq!(*told.lock().unwrap(), ["damaged README.md"]);
    assert_eq!(fake.count(&asked), 2);
    // As a stream.
    flip(&path);
    let mut bytes = Vec::new();
    store
        .open(document)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    document.verify(&bytes).unwrap();
    assert_eq!(fake.count(&asked), 3);
    // And without anybody who has it.
    flip(&path);
    let (store, _) = cached(&place, &location, Policy::Offline);
    let error = open(&store, "small").unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network, "{error}");
}

#[test]
fn what_does_not_fit_is_used_and_not_kept() {
    let place = Place::new();
    let (_fake, location) = host(&place, 100_000);
    let (store, told) = cached_with(&place, &[&location], |s| s.quota = Some(50_000));
    open(&store, "small").unwrap();
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .all(|line| line == "not kept out_of_space")
    );
    assert!(!told.lock().unwrap().is_empty());
    assert!(store.list().unwrap().bytes < 50_000);
    // A stream of it too.
    let package = open(&store, "small").unwrap();
    let mut bytes = Vec::new();
    let largest = package.layers().iter().max_by_key(|layer| layer.size);
    let mut stream = store.open(largest.unwrap()).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 100_000);
}

#[test]
fn packages_and_tags_are_noted() {
    let place = Place::new();
    let (_fake, location) = host(&place, 1_000);
    let (store, _) = cached(&place, &location, SWR);
    let package = open(&store, "small").unwrap();
    let listing = store.list().unwrap();
    assert_eq!(listing.packages.len(), 1);
    assert_eq!(listing.packages[0].digest, *package.digest());
    assert_eq!(listing.packages[0].bytes, listing.packages[0].of);
    assert_eq!(listing.packages[0].bytes, listing.bytes);
    assert!(listing.packages[0].pinned);
    assert_eq!(listing.references[0].reference, "small");
    assert_eq!(listing.references[0].registry, location);
    // A candidate changes nothing of that.
    let other = place.pack("1.1.0", 1_000);
    drop(other);
    let folder = place.path("registry");
    let (store, _) = cached(&place, folder.to_str().unwrap(), Policy::Online);
    open(&store.candidates(), "small").unwrap();
    let (store, _) = cached(&place, folder.to_str().unwrap(), SWR);
    let listing = store.list().unwrap();
    assert_eq!((listing.packages.len(), listing.references.len()), (2, 1));
    // Nothing is a left-over: what is not pinned goes, the other stays.
    let removed = store.prune(0).unwrap();
    assert_eq!(removed.packages.len(), 1);
    let (store, _) = cached(&place, &location, Policy::Offline);
    open(&store, "small:1.0.0").unwrap();
}

#[test]
fn a_package_can_be_copied_out_of_the_cache() {
    let place = Place::new();
    let source = place.pack("1.0.0", 10_000);
    attach(&source, "small:1.0.0", b"signature");
    let fake = Fake::start(Faults::default());
    copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
    let (store, _) = cached(&place, &fake.location(), SWR);
    let dest: Box<dyn WritableStore> = writable(place.path("copy").to_str().unwrap());
    let copied = copy_one(&store, &*dest, "small:1.0.0").unwrap();
    assert_eq!(copied.attached, 1);
    fake.set(Faults {
        gone: true,
        ..Faults::default()
    });
    let (store, _) = cached(&place, &fake.location(), Policy::Offline);
    let dest = writable(place.path("again").to_str().unwrap());
    assert_eq!(
        copy_one(&store, &*dest, "small:1.0.0").unwrap().digest,
        copied.digest
    );
}
