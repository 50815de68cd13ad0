//! Real servers behind the cache.

use std::fs;
use std::time::{Duration, SystemTime};

use twinfer::ErrorCode;
use twinfer_cache::Policy;

use crate::cached::{SWR, cached, open};
use crate::static_host::nginx;
use crate::support::{Place, attach, copy_one, docker_registry, have, reference, writable};

#[test]
fn nginx_is_asked_with_etags_and_ranges() {
    let test = "nginx_is_asked_with_etags_and_ranges";
    if !have(test, "nginx") {
        return;
    }
    let place = Place::new();
    place.pack("1.0.0", 500_000);
    // Not just now: within the second in which a file changed, nothing can be told from times.
    let index = fs::File::options()
        .append(true)
        .open(place.path("registry/index.json"))
        .unwrap();
    index
        .set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    let gzip = "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;";
    let server = nginx(&place, "registry", gzip);
    let location = format!("http://127.0.0.1:{}/", server.port);
    let package = open(&cached(&place, &location, SWR).0, "small").unwrap();
    open(&cached(&place, &location, Policy::Online).0, "small").unwrap();
    let log = fs::read_to_string(place.path("access.log")).unwrap();
    assert!(log.contains("/index.json 304 0\n"), "{log}");
    // A download that broke off in an earlier process.
    let document = package
        .layers()
        .iter()
        .max_by_key(|layer| layer.size)
        .unwrap();
    let blob = place.path("cache/blobs/sha256").join(document.digest.hex());
    let half = fs::read(&blob).unwrap()[..200_000].to_vec();
    fs::remove_file(&blob).unwrap();
    place.write(&format!("cache/partial/{}", document.digest.hex()), half);
    open(&cached(&place, &location, SWR).0, "small").unwrap();
    let log = fs::read_to_string(place.path("access.log")).unwrap();
    assert!(log.contains(" 206 300000\n"), "{log}");
}

#[test]
fn dockers_registry_is_asked_with_conditions() {
    if !have(
        "dockers_registry_is_asked_with_conditions",
        "docker-registry",
    ) {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 100_000);
    attach(&source, "small:1.0.0", b"signature");
    let server = docker_registry(&place, "");
    let location = format!("oci://127.0.0.1:{}/models", server.port);
    copy_one(&source, &*writable(&location), "small:1.0.0").unwrap();
    let package = open(&cached(&place, &location, SWR).0, "small:1.0.0").unwrap();
    let (store, _) = cached(&place, &location, Policy::Online);
    open(&store, "small:1.0.0").unwrap();
    let elsewhere = Place::new();
    let changed = elsewhere.pack("1.0.0", 200_000);
    let options = twinfer_registry::CopyOptions {
        force: true,
        ..Default::default()
    };
    let dest = writable(&location);
    let all = [reference("small:1.0.0")];
    twinfer_registry::copy(&changed, &*dest, &all, &options, &mut |_| ()).unwrap();
    let (store, _) = cached(&place, &location, SWR);
    open(&store, "small:1.0.0").unwrap();
    let moved = store.revalidate_pending();
    assert_eq!(moved[0].from, Some(*package.digest()));
    drop(server);
    let (store, _) = cached(&place, &location, Policy::Offline);
    let next = open(&store, "small:1.0.0");
    // Its layers were not fetched yet: only what the tag points to is known.
    assert_eq!(next.unwrap_err().code(), ErrorCode::Network);
    open(&store, &format!("small@{}", package.digest())).unwrap();
}
