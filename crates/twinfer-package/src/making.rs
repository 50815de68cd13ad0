//! Folders that are there whole, or not at all.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use twinfer::{Result, bail};

use crate::store::storage;

/// A folder that is being filled beside its place, and moved there at the end. Dropped before,
/// it leaves nothing.
pub(crate) struct Making {
    partial: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Making {
    /// Begins to make a folder.
    ///
    /// # Errors
    /// `storage` where something is there that is no empty folder.
    pub(crate) fn begin(target: &Path) -> Result<Self> {
        let Some(name) = target.file_name().filter(|_| is_empty(target)) else {
            bail!(
                Storage,
                "{} is there already, and not an empty folder: nothing is overwritten, choose another one",
                target.display()
            );
        };
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| storage("make", parent, &e))?;
        let partial = parent.join(format!(
            ".{}.partial-{}",
            name.to_string_lossy(),
            std::process::id()
        ));
        // Left by a process of the same number that was killed.
        match fs::remove_dir_all(&partial) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(storage("remove", &partial, &e));
            }
            _ => {}
        }
        fs::create_dir(&partial).map_err(|e| storage("make", &partial, &e))?;
        Ok(Self {
            partial,
            target: target.into(),
            done: false,
        })
    }

    /// Where a file of the folder is for now.
    pub(crate) fn path(&self, name: &Path) -> PathBuf {
        self.partial.join(name)
    }

    /// A place beside the folder, for a file that is moved into it. Removed with it.
    pub(crate) fn aside(&self) -> PathBuf {
        let mut name = self.partial.clone().into_os_string();
        name.push("-file");
        name.into()
    }

    /// Moves the folder to its place.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn finish(mut self) -> Result<()> {
        // An empty folder may be there. Whoever put something into it meanwhile keeps it.
        match fs::remove_dir(&self.target) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(storage("replace", &self.target, &e));
            }
            _ => {}
        }
        fs::rename(&self.partial, &self.target).map_err(|e| storage("make", &self.target, &e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: what is left has a name that says what it is.
            let _ = fs::remove_dir_all(&self.partial);
            let _ = fs::remove_file(self.aside());
        }
    }
}

/// Whether there is nothing, or an empty folder.
fn is_empty(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(e) => e.kind() == ErrorKind::NotFound,
        Ok(metadata) => {
            metadata.is_dir()
                && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
        }
    }
}
