//! Image layouts on static hosts.

use std::process::Command;

use twinfer::ErrorCode;
use twinfer_package::{Index, Package};
use twinfer_registry::{MirrorOptions, mirror};

use crate::fake::{Fake, Faults};
use crate::support::{Place, Server, attach, copy_one, free_port, have, open, reference, writable};

/// nginx on a folder, with these directives beside it, and an access log `access.log`.
pub fn nginx(place: &Place, folder: &str, more: &str) -> Server {
    let port = free_port();
    let root = place.path("");
    place.write(
        "nginx.conf",
        format!(
            "daemon off; pid {root}/nginx.pid; error_log {root}/error.log;\nworker_processes 1;\nevents {{}}\n\
             http {{ log_format short '$request_uri $status $body_bytes_sent'; access_log {root}/access.log short; {more} client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
             server {{ listen 127.0.0.1:{port}; root {folder}; location ~ /\\. {{ deny all; }} }} }}",
            root = root.display(),
            folder = place.path(folder).display(),
        ),
    );
    // Its workers may run as another user, who has to get into the temporary folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("nginx");
    command
        .arg("-e")
        .arg(place.path("start.log"))
        .arg("-c")
        .arg(place.path("nginx.conf"));
    Server::start(&mut command, port)
}

#[test]
fn nginx_serves_a_mirror() {
    if !have("nginx_serves_a_mirror", "nginx") {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 500_000);
    attach(&source, "small:1.0.0", b"signature");
    let public = place.path("public");
    let options = MirrorOptions::default();
    let first = mirror(&source, &public, options, &mut |_| ()).unwrap();
    assert_eq!(first.written.last().unwrap(), "index.json");
    assert!(
        mirror(&source, &public, options, &mut |_| ())
            .unwrap()
            .unchanged
    );
    let server = nginx(&place, "public", "");
    let location = format!("http://127.0.0.1:{}", server.port);
    let store = open(&location);
    assert_eq!(
        store.index().unwrap(),
        std::fs::read(place.path("registry/index.json")).unwrap()
    );
    Package::open(&*store, &reference("small")).unwrap();
    let local = writable(place.path("copy").to_str().unwrap());
    let copied = copy_one(&*store, &*local, "small").unwrap();
    assert_eq!(copied.attached, 1);
    let error = Package::open(&*store, &reference("small:2.0.0")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownVersion);
    let error = open(&format!("{location}/nowhere")).index().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Storage);
    // A new version: only what is new is written, the index last.
    let source = place.pack("1.1.0", 1_000);
    let second = mirror(&source, &public, options, &mut |_| ()).unwrap();
    assert!(
        second.bytes_skipped > 500_000 && second.bytes_sent < 10_000,
        "{second:?}"
    );
    assert_eq!(
        Package::open(&*store, &reference("small"))
            .unwrap()
            .version(),
        "1.1.0"
    );
}

#[test]
fn a_mirror_that_failed_half_way_was_never_seen() {
    let place = Place::new();
    let source = place.pack("1.0.0", 1_000);
    let public = place.path("public");
    mirror(&source, &public, MirrorOptions::default(), &mut |_| ()).unwrap();
    let before = std::fs::read(public.join("index.json")).unwrap();
    // The new version lacks its last blob.
    let source = place.pack("1.1.0", 2_000);
    let package = Package::open(&source, &reference("small:1.1.0")).unwrap();
    let lost = package.layers().last().unwrap().digest;
    let path = place.path("registry/blobs/sha256").join(lost.hex());
    let content = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = mirror(&source, &public, MirrorOptions::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MissingBlob);
    assert_eq!(std::fs::read(public.join("index.json")).unwrap(), before);
    Package::open(&*open(public.to_str().unwrap()), &reference("small:1.0.0")).unwrap();
    std::fs::write(&path, content).unwrap();
    mirror(&source, &public, MirrorOptions::default(), &mut |_| ()).unwrap();
    Package::open(&*open(public.to_str().unwrap()), &reference("small:1.1.0")).unwrap();
}

#[test]
fn what_is_no_longer_named_goes_a_round_later() {
    let place = Place::new();
    let source = place.pack("1.0.0", 1_000);
    let public = place.path("public");
    let delete = MirrorOptions { delete: true };
    mirror(&source, &public, delete, &mut |_| ()).unwrap();
    std::fs::write(public.join("blobs/sha256/notes.txt"), "mine").unwrap();
    let other = Place::new();
    let source = other.pack("2.0.0", 2_000);
    // Those who read the old index a moment ago still find everything.
    let first = mirror(&source, &public, delete, &mut |_| ()).unwrap();
    assert!(first.removed.is_empty(), "{first:?}");
    let second = mirror(&source, &public, delete, &mut |_| ()).unwrap();
    assert!(second.removed.len() >= 3 && !second.unchanged, "{second:?}");
    assert!(public.join("blobs/sha256/notes.txt").exists());
    Package::open(&*open(public.to_str().unwrap()), &reference("small:2.0.0")).unwrap();
    assert!(
        mirror(&source, &public, delete, &mut |_| ())
            .unwrap()
            .unchanged
    );
    let index = Index::from_json(&std::fs::read(public.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.tags().len(), 1);
}

#[test]
fn hosts_that_are_no_registry() {
    let fake = Fake::start(Faults::default());
    let answer = |status, headers: &str, body: &[u8]| {
        fake.set(Faults {
            instead: vec![("/".into(), status, headers.into(), body.to_vec())],
            ..Faults::default()
        });
        let store = open(&format!("http://127.0.0.1:{}/registry", fake.port));
        Package::open(&*store, &reference("small"))
            .unwrap_err()
            .code()
    };
    let html = "Content-Type: text/html\r\n";
    assert_eq!(answer(200, html, b"<!doctype html>"), ErrorCode::Network);
    assert_eq!(answer(200, "", b" <!doctype html>"), ErrorCode::Network);
    assert_eq!(answer(404, html, b"<html>"), ErrorCode::Storage);
    assert_eq!(answer(500, "", b""), ErrorCode::Network);
    assert_eq!(answer(403, "", b""), ErrorCode::Unauthorized);
    assert_eq!(answer(200, "", b"{"), ErrorCode::InvalidManifest);
    assert_eq!(
        answer(200, "", &[b' '; (16 << 20) + 1]),
        ErrorCode::InvalidManifest
    );
    let circle = "Location: /registry/index.json\r\n";
    assert_eq!(answer(302, circle, b""), ErrorCode::Network);
    let nobody = open("http://127.0.0.1:1/registry");
    let error = nobody.index().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network);
    assert!(error.to_string().contains("127.0.0.1:1/"), "{error}");
}
