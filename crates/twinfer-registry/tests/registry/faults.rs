//! Registries that lie, fail and break off.

use twinfer::ErrorCode;
use twinfer_package::{Index, Package};

use crate::fake::{Fake, Faults};
use crate::support::{Place, attach, copy_one, open, reference, signed_tags, writable};

/// A fake registry with `small:1.0.0` in it, whose document has this many bytes.
fn pushed(place: &Place, bytes: usize) -> Fake {
    let fake = Fake::start(Faults::default());
    let source = place.pack("1.0.0", bytes);
    copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
    fake
}

fn code_of(fake: &Fake) -> ErrorCode {
    let store = open(&fake.location());
    Package::open(&*store, &reference("small:1.0.0"))
        .unwrap_err()
        .code()
}

#[test]
fn what_is_there_is_not_sent_again() {
    let place = Place::new();
    let fake = pushed(&place, 300_000);
    let received = fake.state.lock().unwrap().received;
    assert!(received > 300_000, "{received}");
    let source = place.pack("1.0.0", 300_000);
    let again = copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
    assert!(again.unchanged && again.bytes_sent == 0, "{again:?}");
    assert_eq!(fake.state.lock().unwrap().received, received);
    // Another version with the same model: only what is new.
    let source = place.pack("1.1.0", 1_000);
    let next = copy_one(&source, &*writable(&fake.location()), "small:1.1.0").unwrap();
    let total = next.bytes_sent + next.bytes_skipped;
    assert!(
        next.bytes_skipped > 0 && next.bytes_sent < total,
        "{next:?}"
    );
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let place = Place::new();
    let source = place.pack("1.0.0", 1_000_000);
    // Chunks have 64 KiB; two of them are cut after 40 kB, in the middle of the document.
    let fake = Fake::start(Faults {
        cut_uploads: (2, 40_000),
        ..Faults::default()
    });
    let copied = copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
    let blobs: u64 = fake
        .state
        .lock()
        .unwrap()
        .blobs
        .values()
        .map(|b| b.len() as u64)
        .sum();
    let received = fake.state.lock().unwrap().received;
    assert!(copied.bytes_sent >= 1_000_000);
    // Not a byte twice.
    assert_eq!(received, blobs);
    assert_eq!(fake.state.lock().unwrap().faults.cut_uploads.0, 0);
    let package = Package::open(&*open(&fake.location()), &reference("small")).unwrap();
    assert_eq!(package.file("README.md").unwrap().len(), 1_000_000);
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    for no_ranges in [false, true] {
        let place = Place::new();
        let fake = pushed(&place, 1_000_000);
        fake.set(Faults {
            cut_downloads: (2, 300_000),
            no_ranges,
            ..Faults::default()
        });
        fake.state.lock().unwrap().sent = 0;
        let local = writable(place.path("copy").to_str().unwrap());
        let copied = copy_one(&*open(&fake.location()), &*local, "small:1.0.0").unwrap();
        let sent = fake.state.lock().unwrap().sent;
        let manifest = 2_000;
        match no_ranges {
            // Not a byte twice (the manifest is no blob).
            false => assert!(
                sent <= copied.bytes_sent && sent + manifest > copied.bytes_sent,
                "{sent} {copied:?}"
            ),
            true => assert_eq!(sent / 100_000, 16),
        }
        Package::open(&*local, &reference("small:1.0.0")).unwrap();
    }
}

#[test]
fn a_registry_that_always_breaks_off_is_given_up() {
    let place = Place::new();
    let fake = pushed(&place, 300_000);
    fake.set(Faults {
        cut_downloads: (1_000, 100),
        no_ranges: true,
        ..Faults::default()
    });
    assert_eq!(code_of(&fake), ErrorCode::Network);
    assert!(fake.count("GET /v2/models/small/blobs/") < 20);
}

#[test]
fn errors_of_the_server_are_tried_again_but_not_for_ever() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    fake.set(Faults {
        errors: 2,
        ..Faults::default()
    });
    Package::open(&*open(&fake.location()), &reference("small")).unwrap();
    fake.set(Faults {
        errors: 1_000,
        ..Faults::default()
    });
    let store = open(&fake.location());
    let error = Package::open(&*store, &reference("small:1.0.0")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network);
    assert!(
        error.to_string().contains("500") && error.to_string().contains("3 times"),
        "{error}"
    );
    assert_eq!(fake.state.lock().unwrap().faults.errors, 997);
}

#[test]
fn other_content_than_the_digest_says() {
    let place = Place::new();
    let fake = pushed(&place, 50_000);
    for blob in fake.state.lock().unwrap().blobs.values_mut() {
        blob[0] ^= 1;
    }
    assert_eq!(code_of(&fake), ErrorCode::DigestMismatch);
    // Nothing of it is ever in the folder.
    let local = writable(place.path("copy").to_str().unwrap());
    let error = copy_one(&*open(&fake.location()), &*local, "small").unwrap_err();
    assert_eq!(error.code(), ErrorCode::DigestMismatch);
    let blobs = std::fs::read_dir(place.path("copy/blobs/sha256")).unwrap();
    assert_eq!(blobs.count(), 0);
    assert!(!place.path("copy/index.json").exists());
}

#[test]
fn a_manifest_that_is_not_the_one_of_the_digest() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    let digest = {
        let mut state = fake.state.lock().unwrap();
        let key = state
            .manifests
            .keys()
            .find(|k| k.contains("/sha256:"))
            .unwrap()
            .clone();
        state.manifests.insert(
            key.clone(),
            (
                "application/vnd.oci.image.manifest.v1+json".into(),
                b"{}".to_vec(),
            ),
        );
        key.split_once('/')
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .1
            .to_owned()
    };
    let store = open(&fake.location());
    let error = Package::open(&*store, &reference(&format!("small@{digest}"))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DigestMismatch, "{error}");
}

#[test]
fn content_without_an_end_is_cut_off() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    for (path, code) in [
        ("/v2/models/small/blobs/", ErrorCode::SizeMismatch),
        ("/v2/models/small/manifests/", ErrorCode::InvalidManifest),
        ("/v2/models/small/tags/", ErrorCode::Network),
    ] {
        fake.set(Faults {
            endless: Some(path.into()),
            ..Faults::default()
        });
        let wanted = if path.contains("tags") {
            "small"
        } else {
            "small:1.0.0"
        };
        let store = open(&fake.location());
        let error = Package::open(&*store, &reference(wanted)).unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
    }
}

#[test]
fn manifests_that_are_none() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    let path = "/v2/models/small/manifests/1.0.0".to_owned();
    let index = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}";
    for (body, code) in [
        (&b"{}"[..], ErrorCode::InvalidManifest),
        (b"null", ErrorCode::InvalidManifest),
        (b"not JSON", ErrorCode::InvalidManifest),
        (b"<html>", ErrorCode::Network),
        (index.as_bytes(), ErrorCode::InvalidManifest),
        (&[b' '; (4 << 20) + 1], ErrorCode::InvalidManifest),
    ] {
        fake.set(Faults {
            instead: vec![(
                path.clone(),
                200,
                "Content-Type: application/json\r\n".into(),
                body.to_vec(),
            )],
            ..Faults::default()
        });
        assert_eq!(code_of(&fake), code, "{:?}", &body[..body.len().min(20)]);
    }
}

#[test]
fn credentials_that_are_never_enough_are_not_asked_for_ever() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    fake.set(Faults {
        always_401: true,
        ..Faults::default()
    });
    assert_eq!(code_of(&fake), ErrorCode::Unauthorized);
    assert!(fake.count("GET /v2/models/small/manifests/") <= 2);
}

#[test]
fn a_token_is_fetched_when_it_is_wanted() {
    let place = Place::new();
    let fake = Fake::start(Faults {
        bearer: true,
        ..Faults::default()
    });
    let source = place.pack("1.0.0", 200_000);
    copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
    Package::open(&*open(&fake.location()), &reference("small")).unwrap();
    // One for pushing, one for reading, each for the one who pushed and the one who read.
    assert!(
        fake.count("GET /token") <= 3,
        "{}",
        fake.count("GET /token")
    );
}

#[test]
fn redirects_lead_to_storage_but_not_in_circles_or_away_from_tls() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    let storage = pushed(&place, 100);
    let redirect = |to: String| Faults {
        instead: vec![(
            "/v2/models/small/blobs/".into(),
            307,
            format!("Location: {to}\r\n"),
            Vec::new(),
        )],
        ..Faults::default()
    };
    fake.set(redirect(format!(
        "http://127.0.0.1:{}/v2/models/small/blobs/x",
        fake.port
    )));
    assert_eq!(code_of(&fake), ErrorCode::Network);
    // Plain HTTP to another machine.
    fake.set(redirect("http://192.0.2.1/x".into()));
    assert_eq!(code_of(&fake), ErrorCode::Network);
    // To where the content is other.
    let blob = storage
        .state
        .lock()
        .unwrap()
        .blobs
        .keys()
        .next()
        .unwrap()
        .clone();
    fake.set(redirect(format!(
        "http://127.0.0.1:{}/v2/models/small/blobs/{blob}",
        storage.port
    )));
    let code = code_of(&fake);
    assert!(
        matches!(code, ErrorCode::SizeMismatch | ErrorCode::DigestMismatch),
        "{code}"
    );
}

#[test]
fn lists_come_in_pages() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    for version in ["1.1.0", "1.2.0", "1.10.0", "2.0.0-rc.1"] {
        let source = place.pack(version, 10);
        copy_one(
            &source,
            &*writable(&fake.location()),
            &format!("small:{version}"),
        )
        .unwrap();
    }
    let store = open(&fake.location());
    let package = Package::open(&*store, &reference("small")).unwrap();
    assert_eq!(package.version(), "1.10.0");
    let error = Package::open(&*store, &reference("small:3.0.0")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownVersion);
    assert!(error.to_string().contains("1.2.0"), "{error}");
    let error = Package::open(&*store, &reference("other")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownModel);
}

#[test]
fn what_is_attached_comes_by_api_or_by_tag() {
    for referrers_api in [false, true] {
        let place = Place::new();
        let fake = Fake::start(Faults {
            referrers_api,
            ..Faults::default()
        });
        let source = place.pack("1.0.0", 100);
        attach(&source, "small:1.0.0", b"first");
        signed_tags(&source, "small", 3);
        let copied = copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap();
        assert!(copied.attached == 1 && copied.signed_tags, "{copied:?}");
        let tags: Vec<String> = fake
            .state
            .lock()
            .unwrap()
            .manifests
            .keys()
            .filter(|k| k.contains("/sha256-"))
            .cloned()
            .collect();
        assert_eq!(tags.is_empty(), referrers_api, "{tags:?}");
        // Another signature by somebody else: both are there in the end.
        let other = Place::new();
        let second = other.pack("1.0.0", 100);
        attach(&second, "small:1.0.0", b"second");
        copy_one(&second, &*writable(&fake.location()), "small:1.0.0").unwrap();
        let local = writable(place.path("copy").to_str().unwrap());
        let back = copy_one(&*open(&fake.location()), &*local, "small:1.0.0").unwrap();
        assert_eq!(
            (back.attached, back.signed_tags),
            (2, true),
            "api: {referrers_api}"
        );
        let index = Index::from_json(&local.index().unwrap()).unwrap();
        let text = String::from_utf8(index.to_json().unwrap()).unwrap();
        assert!(
            text.contains("small:sha256-") && text.contains("small:twinfer-tags"),
            "{text}"
        );
    }
}

#[test]
fn layers_are_taken_over_within_a_registry() {
    let place = Place::new();
    let fake = pushed(&place, 100_000);
    let received = fake.state.lock().unwrap().received;
    // The fake has one heap of blobs: let it say that other repositories lack them.
    let to = format!("oci://127.0.0.1:{}/production", fake.port);
    let faults = Faults {
        instead: Vec::new(),
        ..Faults::default()
    };
    fake.set(faults);
    let copied = copy_one(&*open(&fake.location()), &*writable(&to), "small:1.0.0").unwrap();
    assert_eq!(fake.state.lock().unwrap().received, received, "{copied:?}");
    Package::open(&*open(&to), &reference("small:1.0.0")).unwrap();
}

#[test]
fn a_version_stays_what_it_is() {
    let place = Place::new();
    let fake = pushed(&place, 100);
    let other = Place::new();
    let source = other.pack("1.0.0", 101);
    let error = copy_one(&source, &*writable(&fake.location()), "small:1.0.0").unwrap_err();
    assert_eq!(error.code(), ErrorCode::VersionExists);
    let options = twinfer_registry::CopyOptions {
        force: true,
        ..Default::default()
    };
    let references = [reference("small:1.0.0")];
    twinfer_registry::copy(
        &source,
        &*writable(&fake.location()),
        &references,
        &options,
        &mut |_| (),
    )
    .unwrap();
    let package = Package::open(&*open(&fake.location()), &reference("small")).unwrap();
    assert_eq!(package.file("README.md").unwrap().len(), 101);
}

#[test]
fn wrong_content_never_becomes_a_blob() {
    use twinfer_package::Descriptor;
    let fake = Fake::start(Faults::default());
    let store = writable(&fake.location());
    let wanted = Descriptor::new("text/plain", &[7; 200_000]);
    for (content, code) in [
        (vec![7; 199_999], ErrorCode::SizeMismatch),
        (vec![7; 200_001], ErrorCode::SizeMismatch),
        (vec![7; 64 << 10], ErrorCode::SizeMismatch),
        (vec![8; 200_000], ErrorCode::DigestMismatch),
        (Vec::new(), ErrorCode::SizeMismatch),
    ] {
        let mut change = store.begin("small").unwrap();
        let error = change.put(&wanted, &mut content.as_slice()).unwrap_err();
        assert_eq!(error.code(), code, "{} bytes", content.len());
    }
    {
        let state = fake.state.lock().unwrap();
        assert!(state.blobs.is_empty() && state.uploads.is_empty());
    }
    for size in [0, 1, 64 << 10, 2 * (64 << 10), 200_000] {
        let content = vec![9; size];
        let wanted = Descriptor::new("text/plain", &content);
        let mut change = store.begin("small").unwrap();
        change.put(&wanted, &mut content.as_slice()).unwrap();
        assert!(change.has(&wanted).unwrap());
    }
}

#[test]
fn plain_http_stays_on_this_machine() {
    use twinfer_registry::{Location, NetOptions};
    let location: Location = "http://192.0.2.1/models".parse().unwrap();
    let error = location.open(&NetOptions::default()).err().unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidParameter);
    assert!(error.to_string().contains("--plain-http"));
    let allowed = NetOptions {
        plain_http: true,
        ..NetOptions::default()
    };
    location.open(&allowed).unwrap();
}

#[test]
fn an_answer_that_drips_is_given_up() {
    use std::io::{Read, Write};
    use std::time::Duration;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    let options = twinfer_registry::NetOptions {
        read_timeout: Duration::from_millis(200),
        attempts: 2,
        ..crate::support::hasty()
    };
    let location: twinfer_registry::Location = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let error = location.open(&options).unwrap().index().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network);
    assert!(error.to_string().contains("took longer"), "{error}");
}
