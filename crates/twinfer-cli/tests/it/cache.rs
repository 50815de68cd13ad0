//! The cache of packages, as users have it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Place, Said};
use crate::trust;

/// A static host of the registry of a place, which counts what it is asked for.
struct Host {
    port: u16,
    log: Arc<Mutex<BTreeMap<String, usize>>>,
    gone: Arc<AtomicBool>,
}

impl Host {
    /// Blobs come after this long.
    fn start(folder: PathBuf, slow: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = Self {
            port: listener.local_addr().unwrap().port(),
            log: Arc::default(),
            gone: Arc::default(),
        };
        let (log, gone) = (host.log.clone(), host.gone.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, log, gone) = (folder.clone(), log.clone(), gone.clone());
                thread::spawn(move || {
                    if !gone.load(Ordering::SeqCst) {
                        let _ = answer(stream, &folder, &log, slow);
                    }
                });
            }
        });
        host
    }

    fn location(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// How often each blob was asked for; and everything.
    fn blobs(&self) -> Vec<usize> {
        let log = self.log.lock().unwrap();
        let blobs = log.iter().filter(|(path, _)| path.contains("/blobs/"));
        blobs.map(|(_, count)| *count).collect()
    }

    fn requests(&self) -> usize {
        self.log.lock().unwrap().values().sum()
    }
}

fn answer(
    mut stream: TcpStream,
    folder: &Path,
    log: &Mutex<BTreeMap<String, usize>>,
    slow: Duration,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    *log.lock().unwrap().entry(path.clone()).or_default() += 1;
    if path.contains("/blobs/") {
        thread::sleep(slow);
    }
    let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

/// A place with a package, and its host.
fn host(slow: u64) -> (Place, Host, String) {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let host = Host::start(place.path("registry"), Duration::from_millis(slow));
    let location = host.location();
    (place, host, location)
}

fn blob_files(place: &Place) -> Vec<PathBuf> {
    let folder = fs::read_dir(place.path("package-cache/blobs/sha256")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_package_is_fetched_once_and_used_without_the_network() {
    let (place, host, location) = host(0);
    let inspect = ["inspect", "tumour-risk-mlp", "--registry", &location];
    let first = place.good(&inspect);
    let blobs = host.blobs();
    assert!(blobs.len() > 4 && blobs.iter().all(|count| *count == 1));
    // Asked for the index only, when the answer is out already.
    let before = host.requests();
    assert_eq!(place.good(&inspect), first);
    assert_eq!(host.requests(), before + 1);
    host.gone.store(true, Ordering::SeqCst);
    for more in [&[][..], &["--offline"], &["--cache-policy", "offline"]] {
        assert_eq!(place.good(&[&inspect[..], more].concat()), first);
    }
    place.good(
        &[
            &["unpack", "tumour-risk-mlp", "files", "--offline"],
            &inspect[2..],
        ]
        .concat(),
    );
    let said = place.twinfer(&[&inspect[..], &["--cache-policy", "online"]].concat());
    assert_eq!((said.code, &*said.out), (Some(0), &*first));
    assert!(
        said.err
            .starts_with("warning: the registry does not answer"),
        "{}",
        said.err
    );
    // What reads the registry itself does not take the cache for it.
    for command in ["verify", "ls"] {
        place.bad(
            &[command, "--offline", "--registry", &location],
            "invalid_parameter",
            1,
        );
        place.bad(&[command, "--registry", &location], "network", 4);
    }
    let without = [&inspect[..], &["--no-package-cache"]].concat();
    place.bad(&without, "network", 4);
    let other = [&inspect[..], &["--offline", "--cache-dir", "other"]].concat();
    place.bad(&other, "network", 4);
    // A mirror still has it.
    let (_second, mirror) = {
        let second = Host::start(place.path("registry"), Duration::ZERO);
        let location = second.location();
        (second, location)
    };
    let mirrored = [&without[..], &["--mirror", &mirror]].concat();
    assert_eq!(place.good(&mirrored), first);
}

#[test]
fn a_tag_that_has_moved_is_told() {
    let (place, _host, location) = host(0);
    place.good(&["tag", "tumour-risk-mlp:1.0.0", "stable"]);
    let inspect = ["inspect", "tumour-risk-mlp:stable", "--registry", &location];
    place.good(&inspect);
    let index = fs::read_to_string(place.path("registry/index.json")).unwrap();
    place.recipe("2.0.0", 10);
    let recipe = fs::read_to_string(place.path("recipe/twinfer.toml")).unwrap();
    place.write(
        "recipe/twinfer.toml",
        recipe.replace("\"big\"", "\"tumour-risk-mlp\""),
    );
    place.good(&["pack", "recipe"]);
    place.good(&["tag", "tumour-risk-mlp:2.0.0", "stable", "--breaking"]);
    assert_ne!(
        index,
        fs::read_to_string(place.path("registry/index.json")).unwrap()
    );
    let said = place.twinfer(&inspect);
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("tumour-risk-mlp:1.0.0"), "{}", said.out);
    let note = "note: `tumour-risk-mlp:stable` now points to sha256:";
    assert!(
        said.err.starts_with(note) && said.err.contains("the next call uses it"),
        "{}",
        said.err
    );
    let next = place.good(&inspect);
    assert!(next.contains("tumour-risk-mlp:2.0.0"), "{next}");
    // A version that the kept index does not have is asked for.
    place.good(&["inspect", "tumour-risk-mlp:2.0.0", "--registry", &location]);
}

#[test]
fn two_processes_at_once_fetch_a_blob_once() {
    let (place, host, location) = host(200);
    let inspect = ["inspect", "tumour-risk-mlp", "--registry", &location];
    let outputs: Vec<Said> = thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| place.twinfer(&inspect)));
        both.map(|thread| thread.join().unwrap()).into()
    });
    for said in &outputs {
        assert_eq!((said.code, &*said.err), (Some(0), ""));
    }
    assert!(
        host.blobs().iter().all(|count| *count == 1),
        "{:?}",
        host.blobs()
    );
}

#[test]
fn the_cache_is_looked_after() {
    let (place, host, location) = host(0);
    assert!(place.good(&["cache", "ls"]).contains("0 B in 0 blobs"));
    let inspect = ["inspect", "tumour-risk-mlp", "--registry", &location];
    let digest = place.json(&inspect)["digest"].clone();
    let digest = digest.as_str().unwrap();
    let listed = place.good(&["cache", "ls"]);
    for part in ["package-cache", digest, "pinned", "10.0 GB", &location] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let listing = place.json(&["cache", "ls"]);
    assert_eq!(listing["packages"][0]["digest"], digest);
    assert_eq!(listing["references"][0]["active"], digest);
    assert_eq!(listing["quota"], 10_000_000_000_u64);
    assert!(
        place
            .good(&["cache", "verify"])
            .contains("as they should be")
    );

    // One flipped byte.
    let largest = blob_files(&place)
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let before = host.requests();
    flip(&largest);
    let said = place.twinfer(&inspect);
    assert_eq!(said.code, Some(0));
    assert!(
        said.err.starts_with("warning: what the cache had of"),
        "{}",
        said.err
    );
    // That blob and the index.
    assert_eq!(host.requests(), before + 2);
    flip(&largest);
    let said = place.twinfer(&["cache", "verify"]);
    assert_eq!(said.code, Some(3));
    assert!(
        said.err.starts_with("error[digest_mismatch]: "),
        "{}",
        said.err
    );
    assert!(said.out.contains("removed  sha256:"), "{}", said.out);
    assert!(
        place
            .good(&["cache", "verify"])
            .contains("as they should be")
    );

    // What is pinned stays; a left-over goes.
    let left_over = place
        .path("package-cache/blobs/sha256")
        .join("0".repeat(64));
    fs::write(&left_over, "abc").unwrap();
    let pruned = place.good(&["cache", "prune", "--to", "0"]);
    assert!(
        pruned.contains("removed 0 packages, 1 blobs, 3 B") && pruned.contains("previous version"),
        "{pruned}"
    );
    assert!(!left_over.exists());
    let cleared = place.json(&["cache", "clear"]);
    assert_eq!(cleared["removed"]["packages"][0], digest);
    assert!(blob_files(&place).is_empty());
    assert_eq!(place.json(&["cache", "ls"])["statistics"]["hits"], 0);
    place.good(&inspect);
}

#[test]
fn a_folder_that_is_no_cache_is_left_alone() {
    let (place, _host, location) = host(0);
    place.write("photos/cat.jpg", "cat");
    let inspect = ["inspect", "tumour-risk-mlp", "--registry", &location];
    let said = place.twinfer(&[&inspect[..], &["--cache-dir", "photos"]].concat());
    // The package is there all the same.
    assert_eq!(said.code, Some(0));
    assert!(
        said.err.starts_with("warning: not kept in the cache: "),
        "{}",
        said.err
    );
    let files = fs::read_dir(place.path("photos")).unwrap().count();
    assert_eq!(files, 1);
    // Local registries need no cache.
    place.good(&["inspect", "tumour-risk-mlp"]);
    assert!(!place.path("package-cache").exists());
}

#[test]
fn a_policy_refuses_nothing_because_the_cache_is_old() {
    let place = trust::place();
    let host = Host::start(place.path("registry"), Duration::ZERO);
    let location = host.location();
    let remote = ["inspect", "big", "--registry", &location];
    place.good(&remote);
    // What the cache knows is unsigned.
    place.good(&["sign", "big:1.0.0", "--key", "release.key"]);
    trust::policy(&place, serde_json::json!({"signed_tags": "required"}));
    let sign = trust::with_trust(&["sign-tags", "big", "--key", "release.key", "--days", "30"]);
    place.good(&sign);
    let trusted = trust::with_trust(&remote);
    place.good(&trusted);
    // And then a list of tags that is older than one that was seen.
    place.good(&sign);
    place.good(&trust::with_trust(&["inspect", "big"]));
    place.good(&trusted);
    // Signatures are no left-overs: without the network the policy still decides.
    place.good(&["cache", "prune", "--to", "0"]);
    let offline = [&trusted[..], &["--offline"]].concat();
    place.good(&offline);
    let unpack = [
        "unpack",
        "big",
        "files",
        "--offline",
        "--registry",
        &location,
    ];
    place.good(&trust::with_trust(&unpack));
    // What the policy really refuses stays refused.
    let pem = fs::read_to_string(place.path("release.key.pub")).unwrap();
    place.good(&["keygen", "other.key"]);
    place.write("other.pem", &pem);
    let other = fs::read_to_string(place.path("other.key.pub")).unwrap();
    let policy = fs::read_to_string(place.path("policy.json")).unwrap();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    place.write(
        "policy.json",
        policy.replace(&quoted(&pem), &quoted(&other)),
    );
    place.bad(&trusted, "untrusted_key", 3);
}
