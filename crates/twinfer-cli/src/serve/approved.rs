//! The index that the server reads: what of the registry may be served.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinfer::{Result, err};
use twinfer_package::{Descriptor, Index, Store};

const INDEX: &str = "index.json";
/// For clients that read `/registry/` as the image layout that it is.
const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
/// What the folders of running servers begin with.
const RUN: &str = "run-";
/// Locked as long as the server runs.
const LOCK: &str = "lock";

/// The approved index, in a folder of this process, and a copy of it for the next one.
#[derive(Debug)]
pub struct Approved {
    folder: TempDir,
    /// Held, so that others do not take the folder for one that was left behind.
    _lock: File,
    /// The copy for the next start.
    memory: Option<PathBuf>,
    index: Index,
}

impl Approved {
    /// An empty index, and what the last server of this registry had approved. Without a
    /// folder for both, this one is temporary and nothing is remembered.
    ///
    /// # Errors
    /// `storage`.
    pub fn open(home: Option<&Path>) -> Result<(Self, Option<Index>)> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(RUN);
        let made = match home {
            Some(home) => fs::create_dir_all(home).and_then(|()| {
                remove_left_behind(home);
                builder.tempdir_in(home)
            }),
            None => builder.tempdir(),
        };
        let place = home.map_or_else(std::env::temp_dir, Into::into);
        let folder = made.map_err(|e| storage("make a folder in", &place, &e))?;
        let lock = lock(&folder.path().join(LOCK))?;
        for name in ["served", "trial"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).map_err(|e| storage("make", &path, &e))?;
        }
        let memory = home.map(|home| home.join(INDEX));
        let last = memory.as_deref().and_then(remembered);
        let mut approved = Self {
            folder,
            _lock: lock,
            memory: None,
            index: Index::default(),
        };
        exchange(&approved.served(), LAYOUT.0, LAYOUT.1)?;
        approved.show(&Index::default())?;
        approved.memory = memory;
        Ok((approved, last))
    }

    /// The folder that the host reads.
    pub fn served(&self) -> PathBuf {
        self.folder.path().join("served")
    }

    /// What is approved.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Makes this the approved index, at once and as a whole. The error of the copy for the
    /// next start is given back: it changes nothing for this one.
    ///
    /// # Errors
    /// `storage`, `out_of_space`: the old one is in place then.
    pub fn approve(&mut self, index: Index) -> Result<Option<twinfer::Error>> {
        let json = index.to_json()?;
        exchange(&self.served(), INDEX, &json)?;
        self.index = index;
        Ok(self.remember(&json).err())
    }

    fn remember(&self, json: &[u8]) -> Result<()> {
        match self.memory.as_deref().and_then(Path::parent) {
            Some(folder) => exchange(folder, INDEX, json),
            None => Ok(()),
        }
    }

    /// Serves more than is approved for a while; [`Approved::approve`] ends that.
    ///
    /// # Errors
    /// As [`Approved::approve`].
    pub fn show(&self, more: &Index) -> Result<()> {
        let mut index = self.index.clone();
        index.merge(more);
        exchange(&self.served(), INDEX, &index.to_json()?)
    }

    /// A folder with an index that is not approved yet.
    ///
    /// # Errors
    /// As [`Approved::approve`].
    pub fn trial(&self, index: &Index) -> Result<PathBuf> {
        let folder = self.folder.path().join("trial");
        exchange(&folder, INDEX, &index.to_json()?)?;
        Ok(folder)
    }
}

/// A registry as it would be with another index.
pub struct View<'a> {
    index: Vec<u8>,
    store: &'a dyn Store,
}

impl<'a> View<'a> {
    /// # Errors
    /// `internal`.
    pub fn new(index: &Index, store: &'a dyn Store) -> Result<Self> {
        Ok(Self {
            index: index.to_json()?,
            store,
        })
    }
}

impl Store for View<'_> {
    fn index(&self) -> Result<Vec<u8>> {
        Ok(self.index.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.store.blob(descriptor)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn std::io::Read + Send + '_>> {
        self.store.open(descriptor)
    }
}

/// A damaged memory is the same as none.
fn remembered(path: &Path) -> Option<Index> {
    Index::from_json(&fs::read(path).ok()?).ok()
}

fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| storage("write", path, &e))?;
    file.lock().map_err(|e| storage("lock", path, &e))?;
    Ok(file)
}

/// Folders of servers that were killed. Failures do not matter: the next start tries again.
fn remove_left_behind(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    for entry in entries.flatten() {
        let folder = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(RUN);
        if ours
            && let Ok(lock) = File::open(folder.join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Writes a file so that readers see the old one or the new one, whole.
fn exchange(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map(drop).map_err(|e| e.error)
    };
    write().map_err(|e| storage("write", &path, &e))
}

fn storage(what: &str, path: &Path, error: &std::io::Error) -> twinfer::Error {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            err!(OutOfSpace, "cannot {what} {path}: {error}; free some space")
        }
        _ => err!(Storage, "cannot {what} {path}: {error}"),
    }
}
