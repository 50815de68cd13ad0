//! Stores in folders.
//!
//! A store is a folder below the configured one. Each value is a file of it, named after the
//! digest of its key, with the key in front of the value: keys have characters and lengths that
//! names of files must not have. Files appear by a rename.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{Error, KeyResponse, MAX_VALUE, PAGE};

/// What is not a value yet. It is not hexadecimal.
const PARTIAL: &str = "new-";

/// A store.
pub(super) struct FolderStore {
    folder: Arc<Path>,
}

impl FolderStore {
    pub(super) async fn open(root: &Path, name: &str) -> wasmtime::Result<Result<Self, Error>> {
        let folder = root.join(name);
        let made = blocking(move || fs::create_dir_all(&folder).map(|()| folder)).await?;
        Ok(made.map(|folder| Self {
            folder: folder.into(),
        }))
    }

    /// Does something with the file of a key.
    async fn with<T: Send + 'static>(
        &self,
        key: String,
        work: impl FnOnce(&Path, PathBuf, &str) -> io::Result<T> + Send + 'static,
    ) -> wasmtime::Result<Result<T, Error>> {
        let folder = self.folder.clone();
        blocking(move || work(&folder, folder.join(file_of(&key)), &key)).await
    }

    pub(super) async fn get(
        &self,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.with(key, |_, path, key| read(&path, key)).await
    }

    pub(super) async fn set(
        &self,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.with(key, move |folder, path, key| {
            write(folder, &path, key, &value)
        })
        .await
    }

    pub(super) async fn delete(&self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.with(key, |_, path, _| match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        })
        .await
    }

    pub(super) async fn exists(&self, key: String) -> wasmtime::Result<Result<bool, Error>> {
        self.with(key, |_, path, _| path.try_exists()).await
    }

    pub(super) async fn list(
        &self,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        let folder = self.folder.clone();
        blocking(move || list(&folder, cursor.as_deref())).await
    }
}

/// Files block, and must not hold up the other instances.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> wasmtime::Result<Result<T, Error>> {
    let done = spawn_blocking(work).await?;
    // Not where it is: the paths of the host are not the guest's.
    Ok(done.map_err(|e| Error::Other(e.kind().to_string())))
}

fn file_of(key: &str) -> String {
    let digest = Sha256::digest(key);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of the key in one byte, the key, the value.
fn write(folder: &Path, path: &Path, key: &str, value: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let partial = folder.join(format!("{PARTIAL}{}-{number}", std::process::id()));
    let length = u8::try_from(key.len()).map_err(io::Error::other)?;
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(&[length])?;
        file.write_all(key.as_bytes())?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    written.inspect_err(|_| {
        // Best effort: the error that matters is the one that is returned.
        let _ = fs::remove_file(&partial);
    })
}

fn read(path: &Path, key: &str) -> io::Result<Option<Vec<u8>>> {
    let Some((file, found)) = open(path)? else {
        return Ok(None);
    };
    if found != key {
        return Err(io::Error::from(ErrorKind::InvalidData));
    }
    let mut value = Vec::new();
    file.take(MAX_VALUE as u64 + 1).read_to_end(&mut value)?;
    Ok(Some(value))
}

/// A file, read up to its value, and its key.
fn open(path: &Path) -> io::Result<Option<(File, String)>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut length = [0];
    file.read_exact(&mut length)?;
    let mut key = vec![0; usize::from(length[0])];
    file.read_exact(&mut key)?;
    let key = String::from_utf8(key).map_err(|_| ErrorKind::InvalidData)?;
    Ok(Some((file, key)))
}

/// A page of keys, in the order of their files; the cursor is the last file.
fn list(folder: &Path, after: Option<&str>) -> io::Result<KeyResponse> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PARTIAL) && after.is_none_or(|after| *name > *after) {
            files.push(name);
        }
    }
    files.sort_unstable();
    let more = files.len() > PAGE;
    files.truncate(PAGE);
    let keys = files
        .iter()
        .filter_map(|name| Some(open(&folder.join(name)).ok()??.1))
        .collect();
    Ok(KeyResponse {
        keys,
        cursor: files.pop().filter(|_| more),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_there_whole_under_any_key() {
        let folder = tempfile::tempdir().unwrap();
        let at = |key: &str| folder.path().join(file_of(key));
        let long = "ü/".repeat(80);
        for (key, value) in [("a", &b"1"[..]), ("../b", b""), (&*long, b"\0\n")] {
            assert_eq!(read(&at(key), key).unwrap(), None);
            write(folder.path(), &at(key), key, b"before").unwrap();
            write(folder.path(), &at(key), key, value).unwrap();
            assert_eq!(read(&at(key), key).unwrap().unwrap(), value);
        }
        // What was begun is no value, and what is damaged stops nobody.
        fs::write(folder.path().join("new-1-1"), "").unwrap();
        fs::write(at("damaged"), [200, 1]).unwrap();
        let mut page = list(folder.path(), None).unwrap();
        page.keys.sort_unstable();
        assert_eq!(
            (page.keys, page.cursor),
            (vec!["../b".into(), "a".into(), long], None)
        );
        assert!(read(&at("damaged"), "damaged").is_err());
    }

    #[test]
    fn many_keys_come_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..PAGE + 5 {
            let key = number.to_string();
            write(folder.path(), &folder.path().join(file_of(&key)), &key, b"").unwrap();
        }
        let first = list(folder.path(), None).unwrap();
        assert_eq!(first.keys.len(), PAGE);
        let second = list(folder.path(), first.cursor.as_deref()).unwrap();
        assert_eq!((second.keys.len(), second.cursor), (5, None));
        assert!(second.keys.iter().all(|key| !first.keys.contains(key)));
    }
}
