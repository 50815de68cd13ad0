//! A registry in a folder: an OCI image layout.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use twinfer::{Error, ErrorCode, Result, bail, err};

use super::{Store, Transaction, WritableStore, copy_verified};
use crate::limits::{MAX_DEPLOYMENT_BYTES, MAX_INDEX_BYTES};
use crate::{Descriptor, Digest, Index, check_name};

const LAYOUT: &str = "oci-layout";
const LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const DEPLOYMENTS: &str = "deployments";
const BLOBS: &str = "blobs/sha256";
const LOCK: &str = ".lock";
/// Files that are being written begin so; left-over ones are removed by the next change.
const PARTIAL: &str = ".partial-";

/// A registry in a folder: an OCI image layout, shared by any number of processes.
///
/// Blobs and index are written to a temporary file, flushed to the disk, and renamed, so
/// that a reader sees a whole file or none, and so does whoever comes after a crash.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: PathBuf,
    /// Where the index is, when it is not in the root.
    index: Option<PathBuf>,
}

impl FolderStore {
    /// The registry in this folder. It is made by the first change, where it is not there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            index: None,
        }
    }

    /// The blobs in this folder, and another file as their index: what of a registry may be
    /// used, where somebody decides that. It can only be read, and the index must be there.
    pub fn with_index(root: impl Into<PathBuf>, index_file: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            index: Some(index_file.into()),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blob_folder(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    /// Where the deployment of a model is: beside the index.
    fn deployment_path(&self, name: &str) -> PathBuf {
        let folder = self.index.as_deref().and_then(Path::parent);
        let folder = folder.unwrap_or(&self.root).join(DEPLOYMENTS);
        folder.join(format!("{name}.json"))
    }

    /// Puts a deployment beside the index, for whoever reads the registry without a server: with
    /// `None` it is taken away. Readers see the old one or the new one, whole.
    ///
    /// # Errors
    /// `storage`, `out_of_space`; `invalid_reference` for a name that no model has.
    pub fn put_deployment(&self, name: &str, document: Option<&[u8]>) -> Result<()> {
        check_name(name)?;
        let path = self.deployment_path(name);
        let folder = path.parent().unwrap_or(&self.root);
        let Some(document) = document else {
            return match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(storage("remove", &path, &e)),
                _ => Ok(()),
            };
        };
        fs::create_dir_all(folder).map_err(|e| storage("make", folder, &e))?;
        write_atomic(folder, &format!("{name}.json"), document)
    }

    fn missing(&self, descriptor: &Descriptor) -> Error {
        err!(
            MissingBlob,
            "{} is not in the registry {}",
            descriptor.label(),
            self.root.display()
        )
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    /// Checks `oci-layout`; false when there is none.
    fn check_layout(&self) -> Result<bool> {
        let path = self.root.join(LAYOUT);
        let Some(bytes) = read_regular(&path, 4096)? else {
            return Ok(false);
        };
        let layout: serde_json::Value = crate::json::from_json(LAYOUT, &bytes)?;
        match layout
            .get("imageLayoutVersion")
            .and_then(serde_json::Value::as_str)
        {
            Some("1.0.0") => Ok(true),
            other => bail!(
                UnsupportedFormatVersion,
                "{} has imageLayoutVersion {}, this version of Twinfer reads 1.0.0: update Twinfer",
                path.display(),
                other.unwrap_or("none")
            ),
        }
    }

    /// Makes the folder into a layout, under the lock.
    fn prepare(&self) -> Result<()> {
        if !self.check_layout()? {
            // Not into somebody's photo album, when `--registry` was mistyped. Our own
            // files that can be there before `oci-layout` begin with a dot.
            let foreign = read_folder(&self.root)?
                .into_iter()
                .find(|name| !name.starts_with('.'));
            if let Some(name) = foreign {
                bail!(
                    Storage,
                    "{} is neither empty nor a registry (it has `{name}` but no oci-layout): choose another folder",
                    self.root.display()
                );
            }
            write_atomic(&self.root, LAYOUT, LAYOUT_CONTENT)?;
        }
        let blobs = self.root.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(|e| storage("make", &blobs, &e))?;
        for folder in [&self.root, &blobs] {
            for name in read_folder(folder)?
                .iter()
                .filter(|name| name.starts_with(PARTIAL))
            {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(|e| storage("remove", &path, &e))?;
            }
        }
        Ok(())
    }
}

impl Store for FolderStore {
    fn index(&self) -> Result<Vec<u8>> {
        if let Some(path) = &self.index {
            return read_regular(path, MAX_INDEX_BYTES)?
                .ok_or_else(|| err!(Storage, "there is no index {}", path.display()));
        }
        self.check_layout()?;
        if let Some(bytes) = read_regular(&self.root.join(INDEX), MAX_INDEX_BYTES)? {
            return Ok(bytes);
        }
        if !self.root.is_dir() {
            bail!(
                Storage,
                "there is no registry folder {}: make one with `twinfer pack`, or name another one",
                self.root.display()
            );
        }
        Index::default().to_json()
    }

    fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match check_name(name) {
            Ok(()) => read_regular(&self.deployment_path(name), MAX_DEPLOYMENT_BYTES),
            // No model has this name, and no file is looked for.
            Err(_) => Ok(None),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read_regular(&self.blob_path(&descriptor.digest), descriptor.size)?
            .ok_or_else(|| self.missing(descriptor))
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let path = self.blob_path(&descriptor.digest);
        let length = regular_length(&path)?.ok_or_else(|| self.missing(descriptor))?;
        let limit = length.min(descriptor.size.saturating_add(1));
        let file = File::open(&path).map_err(|e| storage("read", &path, &e))?;
        Ok(Box::new(file.take(limit)))
    }
}

impl WritableStore for FolderStore {
    fn begin(&self, _name: &str) -> Result<Box<dyn Transaction + '_>> {
        if let Some(index) = &self.index {
            bail!(
                Storage,
                "the registry {} is read through the index {}: nothing is changed through that",
                self.root.display(),
                index.display()
            );
        }
        fs::create_dir_all(&self.root).map_err(|e| storage("make", &self.root, &e))?;
        let path = self.root.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| storage("write", &path, &e))?;
        lock.lock().map_err(|e| storage("lock", &path, &e))?;
        self.prepare()?;
        Ok(Box::new(Change {
            store: self,
            _lock: lock,
        }))
    }
}

/// A change under way. The lock goes when the file is closed, also by the death of the process.
struct Change<'a> {
    store: &'a FolderStore,
    _lock: File,
}

impl Transaction for Change<'_> {
    fn index(&self) -> Result<Index> {
        Index::from_json(&Store::index(self.store)?)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        let length = regular_length(&self.store.blob_path(&descriptor.digest))?;
        Ok(length == Some(descriptor.size))
    }

    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<()> {
        // What is there and whole is not written again; a damaged blob is.
        if self.has(descriptor)? {
            let mut there = self.store.open(descriptor)?;
            if copy_verified(descriptor, &mut there, |_| Ok(())).is_ok() {
                return Ok(());
            }
        }
        let folder = self.store.root.join(BLOBS);
        let mut writing = Writing::begin(&folder, &descriptor.digest.hex())?;
        copy_verified(descriptor, content, |part| writing.write(part))?;
        writing.finish()
    }

    fn commit(self: Box<Self>, index: &Index) -> Result<()> {
        // The names of the blobs must be on the disk before the index that uses them.
        sync_folder(&self.store.root.join(BLOBS))?;
        write_atomic(&self.store.root, INDEX, &index.to_json()?)?;
        sync_folder(&self.store.root)
    }
}

/// The length of a file; `None` when there is none. Links are not followed, and pipes and
/// devices not opened: a registry that was unpacked from somewhere must not make us read
/// elsewhere, or for ever.
///
/// # Errors
/// `storage`.
pub fn regular_length(path: &Path) -> Result<Option<u64>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(storage("read", path, &e)),
    };
    if !metadata.is_file() {
        bail!(
            Storage,
            "{} is not a regular file; links are not followed here",
            path.display()
        );
    }
    Ok(Some(metadata.len()))
}

/// Reads a regular file of at most `limit` bytes, or the first `limit + 1` of a longer one;
/// `None` when there is none.
///
/// # Errors
/// `storage`, `out_of_memory`.
pub fn read_regular(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(length) = regular_length(path)? else {
        return Ok(None);
    };
    let expected = length.min(limit.saturating_add(1));
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(usize::try_from(expected).unwrap_or(usize::MAX))
        .map_err(|_| {
            err!(
                OutOfMemory,
                "there is no memory for the {expected} bytes of {}",
                path.display()
            )
        })?;
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|e| storage("read", path, &e))?;
    Ok(Some(bytes))
}

/// A file that becomes whole or is not there, whatever happens.
struct Writing {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Writing {
    fn begin(folder: &Path, name: &str) -> Result<Self> {
        // The process id only helps people who look: the lock keeps all others out.
        let partial = folder.join(format!("{PARTIAL}{}-{name}", std::process::id()));
        let target = folder.join(name);
        let file = File::create(&partial).map_err(|e| storage("write", &target, &e))?;
        Ok(Self {
            file,
            partial,
            target,
            done: false,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| storage("write", &self.target, &e))
    }

    fn finish(mut self) -> Result<()> {
        let written = self.file.sync_all();
        written
            .and_then(|()| fs::rename(&self.partial, &self.target))
            .map_err(|e| storage("write", &self.target, &e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.done {
            // Best effort; the next change removes it otherwise.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn write_atomic(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut writing = Writing::begin(folder, name)?;
    writing.write(bytes)?;
    writing.finish()
}

/// Flushes the names in a folder to the disk, where the system has such a thing.
///
/// # Errors
/// `storage`, `out_of_space`.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(|e| storage("flush", folder, &e))?;
    }
    Ok(())
}

/// The names in a folder.
///
/// # Errors
/// `storage`.
pub fn read_folder(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| storage("read", folder, &e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| storage("read", folder, &e))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// An error of the file system as ours.
pub fn storage(what: &str, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        // FileTooLarge is also what a quota of the process (`ulimit -f`) gives.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Error::new(
            ErrorCode::OutOfSpace,
            format!(
                "cannot {what} {path}: {error}; free some space and try again, nothing was changed"
            ),
        ),
        _ => Error::new(ErrorCode::Storage, format!("cannot {what} {path}: {error}")),
    }
}
