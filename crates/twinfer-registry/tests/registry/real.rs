//! Debian's `docker-registry`, and the tools that others use with it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use twinfer_package::{Index, Package, Store};

use crate::support::{
    Place, attach, copy_one, docker_registry, have, noise, open, python, reference, signed_tags,
    writable,
};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn push_pull_and_copy() {
    if !have("push_pull_and_copy", "docker-registry") {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 1_000_000);
    attach(&source, "small:1.0.0", b"signature");
    signed_tags(&source, "small", 1);
    let server = docker_registry(&place, "");
    let location = format!("oci://127.0.0.1:{}/models", server.port);
    let copied = copy_one(&source, &*writable(&location), "small").unwrap();
    assert!(
        copied.bytes_sent > 1_000_000 && copied.attached == 1,
        "{copied:?}"
    );
    let again = copy_one(&source, &*writable(&location), "small").unwrap();
    assert!(again.unchanged, "{again:?}");

    let remote = open(&location);
    let package = Package::open(&*remote, &reference("small")).unwrap();
    assert_eq!(package.digest(), &copied.digest);
    let index = Index::from_json(&remote.index().unwrap()).unwrap();
    let tags: Vec<String> = index
        .tags()
        .iter()
        .map(|t| format!("{}:{}", t.name, t.tag))
        .collect();
    assert_eq!(tags, ["small:1.0.0"]);

    // Back into a folder: the same index, byte for byte.
    let local = writable(place.path("copy").to_str().unwrap());
    let back = copy_one(&*remote, &*local, "small:1.0.0").unwrap();
    assert!(back.attached == 1 && back.signed_tags, "{back:?}");
    assert_eq!(
        Index::from_json(&local.index().unwrap()).unwrap().tags(),
        Index::from_json(&source.index().unwrap()).unwrap().tags()
    );

    // To another repository of the registry: nothing travels.
    let to = format!("oci://127.0.0.1:{}/production/eu", server.port);
    let moved = copy_one(&*remote, &*writable(&to), "small:1.0.0").unwrap();
    assert!(moved.bytes_mounted > 1_000_000, "{moved:?}");
    assert!(moved.bytes_sent < 10_000, "{moved:?}");
    Package::open(&*open(&to), &reference("small:1.0.0")).unwrap();
}

#[test]
fn skopeo_reads_what_we_push_and_we_read_what_it_pushes() {
    let test = "skopeo_reads_what_we_push_and_we_read_what_it_pushes";
    if !have(test, "docker-registry") || !have(test, "skopeo") {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 100_000);
    let server = docker_registry(&place, "");
    let host = format!("127.0.0.1:{}", server.port);
    let copied = copy_one(&source, &*writable(&format!("oci://{host}/ours")), "small").unwrap();
    let raw = run(Command::new("skopeo").args([
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{host}/ours/small:1.0.0"),
    ]));
    assert_eq!(twinfer_package::Digest::of(raw.as_bytes()), copied.digest);
    let layout = place.path("by-skopeo");
    run(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{host}/ours/small:1.0.0"),
        &format!("oci:{}:small:1.0.0", layout.display()),
    ]));
    let read = Package::open(&*open(layout.to_str().unwrap()), &reference("small")).unwrap();
    assert_eq!(read.digest(), &copied.digest);
    // From our folder into the registry by skopeo, and read by us.
    run(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        &format!("oci:{}:small:1.0.0", place.path("registry").display()),
        &format!("docker://{host}/theirs/small:1.0.0"),
    ]));
    let theirs = open(&format!("oci://{host}/theirs"));
    let read = Package::open(&*theirs, &reference("small")).unwrap();
    assert_eq!(read.digest(), &copied.digest);
}

const ORAS: &str = r#"
import json, os, sys
import oras.client, oras.oci, oras.defaults
host, ours, theirs, folder, layout = sys.argv[1:6]
client = oras.client.OrasClient(hostname=host, insecure=True, tls_verify=False)
# What we pushed: by its tag, with its files.
manifest = client.get_manifest(client.get_container(f"{host}/{ours}"), allowed_media_type=["application/vnd.oci.image.manifest.v1+json"])
files = client.pull(target=f"{host}/{ours}", outdir=folder)
print(json.dumps(sorted(os.path.basename(f) for f in files)))
print(json.dumps(sorted(client.get_tags(f"{host}/{ours.split(':')[0]}"))))
# What it pushes: the blobs and the manifest of a layout.
name, tag = theirs.split(":")
container = client.get_container(f"{host}/{name}:{tag}")
index = json.load(open(f"{layout}/index.json"))
digest = index["manifests"][0]["digest"]
path = lambda d: f"{layout}/blobs/{d.replace(':', '/')}"
body = json.load(open(path(digest)))
for layer in body["layers"] + [body["config"]]:
    client._check_200_response(client.upload_blob(path(layer["digest"]), container, layer))
client._check_200_response(client.upload_manifest(body, container))
"#;

#[test]
fn oras_reads_what_we_push_and_we_read_what_it_pushes() {
    let test = "oras_reads_what_we_push_and_we_read_what_it_pushes";
    let Some(python) = python(test, "oras.client") else {
        return;
    };
    if !have(test, "docker-registry") {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 100_000);
    let server = docker_registry(&place, "");
    let host = format!("127.0.0.1:{}", server.port);
    copy_one(&source, &*writable(&format!("oci://{host}/ours")), "small").unwrap();
    let out = place.path("by-oras");
    let printed = run(Command::new(python)
        .args(["-c", ORAS, &host, "ours/small:1.0.0", "theirs/small:1.0.0"])
        .arg(&out)
        .arg(place.path("registry")));
    let mut lines = printed.lines();
    let files: Vec<String> = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(
        files,
        ["README.md", "model.onnx", "provenance.json", "twinfer.json"]
    );
    assert_eq!(lines.next().unwrap(), "[\"1.0.0\"]");
    let read = |file: &str| std::fs::read(out.join(Path::new(file))).unwrap();
    assert_eq!(read("README.md"), noise("1.0.0", 100_000));
    // oras writes the manifest anew, so its digest may be another: the files are the same.
    let theirs = open(&format!("oci://{host}/theirs"));
    let package = Package::open(&*theirs, &reference("small:1.0.0")).unwrap();
    assert_eq!(package.file("README.md").unwrap(), noise("1.0.0", 100_000));
}

/// Lies between us and a registry, and cuts off the connection once, when this many bytes
/// went to the registry.
fn cutting_proxy(to: u16, after: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = passed.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut back, mut to_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut back, &mut to_client));
            let counter = counter.clone();
            thread::spawn(move || {
                let (mut from, mut to) = (client, server);
                let mut buffer = vec![0; 4096];
                while let Ok(count) = from.read(&mut buffer) {
                    let before = counter.fetch_add(count, Ordering::SeqCst);
                    let cut = before < after && before + count >= after;
                    if count == 0 || cut || to.write_all(&buffer[..count]).is_err() {
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                        return;
                    }
                }
            });
        }
    });
    (port, passed)
}

#[test]
fn a_line_that_breaks_does_not_break_a_push() {
    if !have(
        "a_line_that_breaks_does_not_break_a_push",
        "docker-registry",
    ) {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 2_000_000);
    for after in [100_000, 1_000_000, 1_990_000] {
        let server = docker_registry(&place, "");
        let (port, passed) = cutting_proxy(server.port, after);
        let location = format!("oci://127.0.0.1:{port}/models");
        copy_one(&source, &*writable(&location), "small").unwrap();
        // It was cut, and little more went over the line than there is to send, or, where the
        // registry gives up what it had (distribution 2.8 does), the blob once more.
        let passed = passed.load(Ordering::SeqCst);
        assert!(
            passed > after && passed < 2_100_000 + after,
            "{after}: {passed}"
        );
        let straight = open(&format!("oci://127.0.0.1:{}/models", server.port));
        Package::open(&*straight, &reference("small")).unwrap();
    }
}

#[test]
fn many_tags_are_listed() {
    if !have("many_tags_are_listed", "docker-registry") {
        return;
    }
    let place = Place::new();
    let source = place.pack("1.0.0", 10);
    let server = docker_registry(&place, "");
    let location = format!("oci://127.0.0.1:{}/models", server.port);
    copy_one(&source, &*writable(&location), "small").unwrap();
    let store = writable(&location);
    let change = store.begin("small").unwrap();
    let mut index = change.index().unwrap();
    let manifest = index.resolve(&reference("small")).unwrap();
    for number in 0..120 {
        index.point(&reference(&format!("small:alias-{number}")), &manifest);
    }
    change.commit(&index).unwrap();
    let index = Index::from_json(&open(&location).index().unwrap()).unwrap();
    assert_eq!(index.tags().len(), 121);
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    use twinfer_registry::{Location, NetOptions};
    let test = "tls_with_an_authority_of_ones_own";
    if !have(test, "docker-registry") || !have(test, "openssl") {
        return;
    }
    let place = Place::new();
    place.write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    let openssl = |arguments: &str| {
        let arguments = arguments.split_whitespace();
        let folder = place.path("");
        run(Command::new("openssl").args(arguments).current_dir(folder))
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests"
    ));
    openssl(&format!(
        "req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost"
    ));
    openssl(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.pem",
    );
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        place.path("leaf.pem").display(),
        place.path("leaf.key").display()
    );
    let server = docker_registry(&place, &tls);
    let source = place.pack("1.0.0", 100_000);
    let location: Location = format!("oci://127.0.0.1:{}/models", server.port)
        .parse()
        .unwrap();
    let trusting = |file: &str| NetOptions {
        ca_file: Some(place.path(file)),
        ..crate::support::hasty()
    };
    let dest = location.open_writable(&trusting("ca.pem")).unwrap();
    copy_one(&source, &*dest, "small").unwrap();
    let read = location.open(&trusting("ca.pem")).unwrap();
    Package::open(&*read, &reference("small")).unwrap();
    // Another authority; and no TLS at all.
    openssl(&format!(
        "req -x509 {key} -keyout other.key -out other.pem -days 2 -subj /CN=other"
    ));
    for options in [trusting("other.pem"), crate::support::hasty()] {
        let store = location.open(&options).unwrap();
        let error = Package::open(&*store, &reference("small:1.0.0")).unwrap_err();
        assert_eq!(error.code(), twinfer::ErrorCode::Network, "{error}");
    }
}
