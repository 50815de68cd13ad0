//! Locks of the operating system on files that are there only as long as they are held.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::LazyLock;

use twinfer::Result;
use twinfer_package::files::{regular_length, storage};

use crate::LockMode;
use crate::locks::{LocalLock, LockTable};

/// For systems without locks; on others it saves asking them.
static IN_PROCESS: LazyLock<LockTable> = LazyLock::new(LockTable::default);

/// A lock of a [`super::FolderBackend`].
#[derive(Debug)]
pub struct FolderLock {
    // Given back in this order.
    _file: Option<LockFile>,
    _local: LocalLock,
}

#[derive(Debug)]
struct LockFile {
    file: File,
    path: PathBuf,
    mode: LockMode,
}

impl FolderLock {
    pub(super) fn take(path: PathBuf, mode: LockMode) -> Result<Option<Self>> {
        let name = path.to_string_lossy().into_owned();
        let Some(_local) = IN_PROCESS.take(name, mode) else {
            return Ok(None);
        };
        loop {
            // Also that it is no link and no pipe.
            regular_length(&path)?;
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(|e| storage("write", &path, &e))?;
            let locked = match mode {
                LockMode::Shared => file.try_lock_shared(),
                LockMode::Exclusive => file.try_lock(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {
                    return Ok(Some(Self {
                        _file: None,
                        _local,
                    }));
                }
                Err(TryLockError::Error(e)) => return Err(storage("lock", &path, &e)),
            }
            let held = LockFile {
                file,
                path: path.clone(),
                mode,
            };
            // Else who held it before removed it between our opening and locking it.
            if held.is_in_place() {
                return Ok(Some(Self {
                    _file: Some(held),
                    _local,
                }));
            }
        }
    }
}

#[cfg(unix)]
impl LockFile {
    /// Whether the path still leads to the file that is locked.
    fn is_in_place(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let there = std::fs::symlink_metadata(&self.path);
        match (there, self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }
}

#[cfg(unix)]
impl Drop for LockFile {
    fn drop(&mut self) {
        // Only who holds it alone may remove it; losing a share on the way to that is giving
        // it back.
        let alone = self.mode == LockMode::Exclusive || self.file.try_lock().is_ok();
        if alone && self.is_in_place() {
            // Best effort: an empty file that is left over harms nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Without file numbers nobody can tell whether a file is still the same: it stays.
#[cfg(not(unix))]
impl LockFile {
    fn is_in_place(&self) -> bool {
        true
    }
}
