//! The folder in which an output grows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use twinfer::{Result, bail, err};

use crate::files::{remove, rename, storage, sync_folder_of};
use crate::job::beside;
use crate::write::whole;

/// What the name of the folder beside the output ends with.
const FOLDER: &str = ".batch";

/// The folder beside the output in which it grows. One process at a time has it.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    _lock: File,
}

impl Place {
    /// # Errors
    /// `storage`, also when another process works on the same output.
    pub(crate) fn open(output: &Path) -> Result<Self> {
        if output.is_dir() {
            bail!(
                InvalidInput,
                "the output {} is a folder: name a file in it",
                output.display()
            );
        }
        let folder = beside(output, FOLDER);
        fs::create_dir_all(&folder).map_err(|e| storage("make", &folder, &e))?;
        sync_folder_of(&folder)?;
        let path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let lock = lock.map_err(|e| storage("write", &path, &e))?;
        if let Err(error) = lock.try_lock() {
            return Err(match error {
                fs::TryLockError::WouldBlock => err!(
                    Storage,
                    "another process works on {}: wait for it, or end it",
                    output.display()
                ),
                fs::TryLockError::Error(e) => storage("lock", &path, &e),
            });
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.json")
    }

    /// Puts the whole output in its place, and removes the folder.
    pub(crate) fn put(&self, output: &Path) -> Result<()> {
        let whole = whole(&self.folder);
        if whole.exists() {
            rename(&whole, output)?;
        }
        let entries = fs::read_dir(&self.folder).map_err(|e| storage("read", &self.folder, &e))?;
        for entry in entries {
            let path = entry.map_err(|e| storage("read", &self.folder, &e))?.path();
            // The checkpoint goes last: until then the job is known to be finished.
            if path != self.checkpoint() {
                remove(&path)?;
            }
        }
        remove(&self.checkpoint())?;
        fs::remove_dir(&self.folder).map_err(|e| storage("remove", &self.folder, &e))
    }
}

/// Whether neither the output is there nor what would become it.
pub(crate) fn is_gone(output: &Path) -> bool {
    !output.exists() && !whole(&beside(output, FOLDER)).exists()
}
