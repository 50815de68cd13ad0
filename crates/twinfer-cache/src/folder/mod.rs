//! A cache in a folder that any number of processes share.

mod lock;
mod write;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use twinfer::{Result, bail, err};
use twinfer_package::Digest;
use twinfer_package::files::{read_folder, read_regular, regular_length, storage};
use twinfer_package::limits::MAX_INDEX_BYTES;

pub use lock::FolderLock;
pub use write::FolderWriter;

use crate::{Backend, LockMode, Space};

const BLOBS: &str = "blobs/sha256";
const PARTIAL: &str = "partial";
const DOCUMENTS: &str = "documents";
const LOCKS: &str = "locks";
const TEMPORARY: &str = "temporary";
/// Marks the folder for programs that make backups (bford.info/cachedir).
const TAG: &str = "CACHEDIR.TAG";
const TAG_CONTENT: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
# This folder is a cache of Twinfer. It can be removed at any time.\n";
/// Names in the root of our folders; what a fresh file system has counts as nothing.
const OURS: [&str; 7] = [
    "blobs",
    PARTIAL,
    DOCUMENTS,
    LOCKS,
    TEMPORARY,
    TAG,
    "lost+found",
];
/// The largest document is an index, with a line about it.
const MAX_DOCUMENT: u64 = MAX_INDEX_BYTES + (64 << 10);
/// A document is written in an instant: what is older was left behind by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Keeps everything in a folder, shared by any number of processes.
///
/// Blobs are in `blobs/sha256/<hex>`, as in an OCI image layout; what was begun is in
/// `partial/<hex>`, documents in `documents/<key>`, and `locks/` and `temporary/` are empty but
/// for the moments in which they are used. Everything appears by a rename. Only its owner can
/// read it, on systems with such permissions.
///
/// Locks are those of the operating system, and so end with their process. Where it has none
/// (WASI), they exclude within the process only: content is verified when it is read, so others
/// who write the same at the same time cost a second download and no more.
///
/// A folder that cannot be written still gives what it has. Links are not followed, and what is
/// no regular file is not opened.
#[derive(Debug, Clone)]
pub struct FolderBackend {
    root: Arc<Path>,
}

impl FolderBackend {
    /// The cache in this folder. It is made by the first change, where it is not there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into().into(),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    fn partial(&self, digest: &Digest) -> PathBuf {
        self.root.join(PARTIAL).join(digest.hex())
    }

    fn document_path(&self, key: &str) -> Result<PathBuf> {
        check_key(key)?;
        Ok(self.root.join(DOCUMENTS).join(key))
    }

    /// One of our folders, made where it is not there.
    fn make(&self, path: PathBuf) -> Result<PathBuf> {
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            self.prepare()?;
            make_private(&path)?;
        }
        Ok(path)
    }

    fn prepare(&self) -> Result<()> {
        let tag = self.root.join(TAG);
        if regular_length(&tag)?.is_some() {
            return Ok(());
        }
        make_private(&self.root)?;
        // Not into somebody's photo album, when the folder was mistyped.
        let foreign = read_folder(&self.root)?
            .into_iter()
            .find(|name| !name.starts_with('.') && !OURS.contains(&&**name));
        if let Some(name) = foreign {
            bail!(
                Storage,
                "{} is neither empty nor a cache (it has `{name}` but no {TAG}): choose another folder",
                self.root.display()
            );
        }
        fs::write(&tag, TAG_CONTENT).map_err(|e| storage("write", &tag, &e))
    }

    /// What crashes left behind of documents.
    fn sweep(&self) {
        let folder = self.root.join(TEMPORARY);
        for name in read_folder(&folder).unwrap_or_default() {
            let path = folder.join(name);
            let old = fs::symlink_metadata(&path)
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|written| SystemTime::now().duration_since(written).ok())
                .is_some_and(|age| age > LEFT_BEHIND);
            if old {
                // Best effort: it is small, and there is a next time.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Backend for FolderBackend {
    type Writer = FolderWriter;
    type Lock = FolderLock;

    fn label(&self) -> String {
        format!("the folder {}", self.root.display())
    }

    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>> {
        read(&self.document_path(key)?, MAX_DOCUMENT)
    }

    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()> {
        let path = self.document_path(key)?;
        if let Some(folder) = path.parent() {
            self.make(folder.into())?;
        }
        let temporary = self.make(self.root.join(TEMPORARY))?;
        write::replace(&temporary, &path, content)
    }

    async fn remove_document(&self, key: &str) -> Result<()> {
        remove(&self.document_path(key)?)
    }

    /// A document that cannot be read is one without content: it is there, and says nothing.
    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() {
            check_key(folder)?;
        }
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(DOCUMENTS).join(&folder);
            for entry in entries(&path)? {
                let name = entry.file_name().to_string_lossy().into_owned();
                let key = match &*folder {
                    "" => name,
                    folder => format!("{folder}/{name}"),
                };
                if check_key(&key).is_err() {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(key);
                } else if key.starts_with(prefix) {
                    match read(&entry.path(), MAX_DOCUMENT) {
                        Ok(None) => {}
                        content => found.push((key, content.ok().flatten().unwrap_or_default())),
                    }
                }
            }
        }
        Ok(found)
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        regular_length(&self.blob(digest))
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        read(&self.blob(digest), limit)
    }

    async fn read_at(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        let path = self.blob(digest);
        match regular_length(&path)? {
            None => Ok(None),
            Some(_) => write::read_piece(&path, offset, length).map(Some),
        }
    }

    async fn write(&self, digest: &Digest) -> Result<FolderWriter> {
        self.make(self.root.join(PARTIAL))?;
        let blobs = self.make(self.root.join(BLOBS))?;
        FolderWriter::open(self.partial(digest), blobs, &digest.hex())
    }

    async fn remove(&self, digest: &Digest) -> Result<()> {
        remove(&self.blob(digest))?;
        remove(&self.partial(digest))
    }

    async fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        sizes(&self.root.join(BLOBS))
    }

    async fn partials(&self) -> Result<Vec<(Digest, u64)>> {
        self.sweep();
        sizes(&self.root.join(PARTIAL))
    }

    async fn remove_partial(&self, digest: &Digest) -> Result<()> {
        remove(&self.partial(digest))
    }

    async fn lock(&self, name: &str, mode: LockMode, _wait: bool) -> Result<Option<FolderLock>> {
        check_key(name)?;
        let folder = self.make(self.root.join(LOCKS))?;
        // Names are flat, whatever they are made of.
        FolderLock::take(folder.join(name.replace('/', "-")), mode)
    }

    async fn space(&self) -> Result<Space> {
        Ok(Space {
            available: free(&self.root),
            quota: None,
        })
    }
}

/// Bytes that we may still write on this file system.
#[cfg(unix)]
fn free(root: &Path) -> Option<u64> {
    let there = root.ancestors().find(|path| path.exists())?;
    // The root of a relative path is `.`, written as nothing.
    let there = match there.as_os_str().is_empty() {
        true => Path::new("."),
        false => there,
    };
    let system = rustix::fs::statvfs(there).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// The standard library cannot tell: writing then says that there is no room.
#[cfg(not(unix))]
fn free(_root: &Path) -> Option<u64> {
    None
}

/// A key is made of names of files that do not begin with a dot: none leads elsewhere.
fn check_key(key: &str) -> Result<()> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
    let good = key.len() <= 200
        && key.bytes().all(allowed)
        && key
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'));
    match good {
        true => Ok(()),
        false => Err(err!(Internal, "`{key}` is not a key of a cache")),
    }
}

/// Reads a regular file; `None` also for one that is removed while it is read.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match read_regular(path, limit) {
        Err(_) if matches!(regular_length(path), Ok(None)) => Ok(None),
        read => read,
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if !is_missing(&e) => Err(storage("remove", path, &e)),
        _ => Ok(()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = fs::read_dir(folder).and_then(|entries| entries.collect());
    match read {
        Err(e) if is_missing(&e) => Ok(Vec::new()),
        read => read.map_err(|e| storage("read", folder, &e)),
    }
}

/// The files of a folder that are named after a digest.
fn sizes(folder: &Path) -> Result<Vec<(Digest, u64)>> {
    let mut sizes = Vec::new();
    for entry in entries(folder)? {
        let name = entry.file_name();
        let digest = format!("sha256:{}", name.to_string_lossy()).parse();
        // What is removed meanwhile, and what is no file, is not there.
        if let (Ok(digest), Ok(metadata)) = (digest, entry.metadata())
            && metadata.is_file()
        {
            sizes.push((digest, metadata.len()));
        }
    }
    Ok(sizes)
}

fn make_private(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| storage("make", path, &e))
}
