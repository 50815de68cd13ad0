//! Packages to send, tools of others, and servers that end with the test.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinfer_package::{
    Descriptor, FolderStore, Index, PackOptions, Reference, Store, WritableStore, media, pack,
};
use twinfer_registry::{Copied, CopyOptions, Location, NetOptions, copy};

/// A temporary folder.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The registry folder of this place, with the package `small:VERSION` in it: a real
    /// model, and a document of so many bytes that do not compress.
    pub fn pack(&self, version: &str, document_bytes: usize) -> FolderStore {
        let model =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../twinfer/tests/data/mlp_binary.onnx");
        self.write("recipe/model.onnx", fs::read(model).unwrap());
        self.write("recipe/README.md", noise(version, document_bytes));
        self.write(
            "recipe/twinfer.toml",
            format!(
                "[package]\nname = \"small\"\nversion = \"{version}\"\ncreated = \"2026-11-25T00:00:00Z\"\n\
                 [model]\nfile = \"model.onnx\"\n[files]\ncard = \"README.md\"\n"
            ),
        );
        let store = FolderStore::new(self.path("registry"));
        let options = PackOptions {
            self_test: false,
            ..PackOptions::default()
        };
        pack(&self.path("recipe"), &store, options).unwrap();
        store
    }
}

/// Bytes without a pattern, but always the same.
pub fn noise(seed: &str, count: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(88_172_645_463_325_252_u64, |s, b| {
        s.wrapping_mul(31).wrapping_add(u64::from(b))
    });
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdefghijklmnopqrstuv"[(state >> 59) as usize]
        })
        .collect()
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Settings that do not wait long.
pub fn hasty() -> NetOptions {
    NetOptions {
        backoff: Duration::from_millis(5),
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(5),
        attempts: 3,
        chunk_bytes: 64 << 10,
        ..NetOptions::default()
    }
}

pub fn open(location: &str) -> Box<dyn Store> {
    location
        .parse::<Location>()
        .unwrap()
        .open(&hasty())
        .unwrap()
}

pub fn writable(location: &str) -> Box<dyn WritableStore> {
    let location: Location = location.parse().unwrap();
    location.open_writable(&hasty()).unwrap()
}

pub fn copy_one(
    source: &dyn Store,
    dest: &dyn WritableStore,
    text: &str,
) -> twinfer::Result<Copied> {
    let all = copy(
        source,
        dest,
        &[reference(text)],
        &CopyOptions::default(),
        &mut |_| (),
    );
    all.map(|mut all| all.remove(0))
}

/// Attaches something to a package, as a signature is.
pub fn attach(store: &dyn WritableStore, text: &str, content: &[u8]) {
    let reference = reference(text);
    let index = Index::from_json(&store.index().unwrap()).unwrap();
    let subject = index.resolve(&reference).unwrap();
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let (manifest, manifest_json, blobs) = artifact(kind, content, Some(&subject));
    let list = serde_json::json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [{
        "mediaType": media::MANIFEST, "digest": manifest.digest, "size": manifest.size, "artifactType": kind,
    }]})
    .to_string();
    let list_descriptor = Descriptor::new(media::INDEX, list.as_bytes());
    let mut change = store.begin(reference.name()).unwrap();
    for (descriptor, bytes) in &blobs {
        change.put(descriptor, &mut bytes.as_slice()).unwrap();
    }
    change
        .put(&manifest, &mut manifest_json.as_slice())
        .unwrap();
    change.put(&list_descriptor, &mut list.as_bytes()).unwrap();
    let mut index = change.index().unwrap();
    let tag = format!("sha256-{}", subject.digest.hex());
    index.point(
        &Reference::new(reference.name(), &tag).unwrap(),
        &list_descriptor,
    );
    change.commit(&index).unwrap();
}

/// Puts a signed list of tags with this counter (the signature is none: nobody looks here).
pub fn signed_tags(store: &dyn WritableStore, name: &str, counter: u64) {
    use std::fmt::Write;
    let payload = format!("{{\"counter\":{counter}}}");
    let mut base64 = String::new();
    // Small enough to do without the crate: groups of three bytes.
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = format!("{payload:<width$}", width = payload.len().div_ceil(3) * 3);
    for group in padded.as_bytes().chunks(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            write!(base64, "{}", DIGITS[(bits >> shift & 63) as usize] as char).unwrap();
        }
    }
    let envelope = format!("{{\"payload\":\"{base64}\"}}");
    let kind = "application/vnd.twinfer.tags.v1+json";
    let (manifest, json, blobs) = artifact(kind, envelope.as_bytes(), None);
    let mut change = store.begin(name).unwrap();
    for (descriptor, bytes) in &blobs {
        change.put(descriptor, &mut bytes.as_slice()).unwrap();
    }
    change.put(&manifest, &mut json.as_slice()).unwrap();
    let mut index = change.index().unwrap();
    index.point(&Reference::new(name, "twinfer-tags").unwrap(), &manifest);
    change.commit(&index).unwrap();
}

type Blobs = Vec<(Descriptor, Vec<u8>)>;

fn artifact(
    kind: &str,
    content: &[u8],
    subject: Option<&Descriptor>,
) -> (Descriptor, Vec<u8>, Blobs) {
    let empty = Descriptor::new("application/vnd.oci.empty.v1+json", b"{}");
    let layer = Descriptor::new(kind, content);
    let mut manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": kind,
        "config": empty, "layers": [layer],
    });
    if let Some(subject) = subject {
        manifest["subject"] = serde_json::json!({"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size});
    }
    let json = manifest.to_string().into_bytes();
    let mut descriptor = Descriptor::new(media::MANIFEST, &json);
    descriptor.artifact_type = Some(kind.into());
    (
        descriptor,
        json,
        vec![(empty, b"{}".to_vec()), (layer, content.to_vec())],
    )
}

/// Whether a tool is here; says what is skipped where not.
pub fn have(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    found || skip(test, &format!("{tool} is not on the PATH"))
}

/// The Python with the packages of the tests.
pub fn python(test: &str, module: &str) -> Option<PathBuf> {
    let python = std::env::var_os("TWINFER_TEST_PYTHON").map(PathBuf::from);
    let has = |python: &PathBuf| {
        let import = format!("import {module}");
        let run = Command::new(python).args(["-c", &import]).output();
        run.is_ok_and(|run| run.status.success())
    };
    let found = python.filter(has);
    if found.is_none() {
        skip(test, &format!("TWINFER_TEST_PYTHON with {module}"));
    }
    found
}

fn skip(test: &str, missing: &str) -> bool {
    assert!(
        std::env::var_os("TWINFER_TEST_ALL").is_none_or(|all| all != "1"),
        "{test}: {missing}"
    );
    // Not captured, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing}");
    false
}

/// A process that ends with the test.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start(command: &mut Command, port: u16) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(300),
                "it does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Debian's `docker-registry`; `http` and `auth` are parts of its configuration.
pub fn docker_registry(place: &Place, more: &str) -> Server {
    let port = free_port();
    let data = place.path(&format!("data-{port}"));
    let name = format!("registry-{port}.yml");
    place.write(
        &name,
        format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
            data.display()
        ),
    );
    Server::start(
        Command::new("docker-registry")
            .arg("serve")
            .arg(place.path(&name)),
        port,
    )
}
