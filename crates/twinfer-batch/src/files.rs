//! Files that survive a crash.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use twinfer::{Error, Result, err};

/// An error of the file system as ours.
pub(crate) fn storage(what: &str, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => err!(
            OutOfSpace,
            "cannot {what} {path}: {error}; free some space and start the job again, it goes on where it was"
        ),
        _ => err!(Storage, "cannot {what} {path}: {error}"),
    }
}

/// An error of reading the input.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => err!(InvalidInput, "there is no {}", path.display()),
        _ => storage("read", path, error),
    }
}

/// Writes a small file as a whole, so that after a crash the old or the new one is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let partial = crate::job::beside(path, ".new");
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|e| storage("write", path, &e))?;
    sync_folder_of(path)
}

/// Puts a file that is durable in its place.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| storage("write", to, &e))?;
    sync_folder_of(to)
}

/// Removes a file, which need not be there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(storage("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Makes the names in the folder of a path durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Only Unix opens folders; elsewhere renames are as durable as the system makes them.
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| storage("write", folder, &e))?;
    }
    Ok(())
}

/// Cuts off what a checkpoint does not know.
pub(crate) fn shorten(file: &File, bytes: u64) -> io::Result<()> {
    let found = file.metadata()?.len();
    if found < bytes {
        let text = format!("it has {found} bytes, and had {bytes} when the job was interrupted");
        return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
    }
    file.set_len(bytes)
}
