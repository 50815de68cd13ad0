//! A folder whose files are a row each.

use std::fs;
use std::path::Path;

use twinfer::{Result, bail};

use super::Chunks;
use crate::chunk::{Chunk, Place, Raw};
use crate::files::unreadable;

/// Every file in a folder and in those inside, by path, with `/` between; in the order of the bytes of
/// their paths. Names that begin with a dot are left out, links are followed.
///
/// # Errors
/// `invalid_input`, also for names that are not UTF-8 and for folders that contain themselves;
/// `storage`.
pub(super) fn list(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    walk(root, "", 0, &mut files)?;
    files.sort_unstable();
    Ok(files)
}

/// Deeper folders are an accident: a link to a folder above.
const MAX_DEPTH: usize = 64;

fn walk(folder: &Path, inside: &str, depth: usize, files: &mut Vec<String>) -> Result<()> {
    if depth > MAX_DEPTH {
        bail!(
            InvalidInput,
            "{} is more than {MAX_DEPTH} folders deep: perhaps a link goes in a circle",
            folder.display()
        );
    }
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        let name = path.file_name().unwrap_or_default();
        let Some(name) = name.to_str() else {
            bail!(
                InvalidInput,
                "the name of {} is not UTF-8, and so cannot stand in the output",
                path.display()
            );
        };
        if name.starts_with('.') {
            continue;
        }
        let inside = match inside {
            "" => name.to_owned(),
            inside => format!("{inside}/{name}"),
        };
        match fs::metadata(&path).map_err(|e| unreadable(&path, &e))? {
            metadata if metadata.is_dir() => walk(&path, &inside, depth + 1, files)?,
            metadata if metadata.is_file() => files.push(inside),
            _ => {}
        }
    }
    Ok(())
}

pub(super) struct Files {
    files: std::vec::IntoIter<String>,
    place: Place,
    rows: usize,
}

impl Files {
    pub(super) fn new(files: Vec<String>, place: Place, rows: usize) -> Self {
        let mut files = files.into_iter();
        if place.row > 0 {
            files.nth(place.row as usize - 1);
        }
        Self { files, place, rows }
    }
}

impl Chunks for Files {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let first = self.place.row;
        let files: Vec<String> = self.files.by_ref().take(self.rows).collect();
        self.place.row += files.len() as u64;
        Ok((!files.is_empty()).then_some(Chunk {
            first,
            rows: Raw::Files(files),
            file: None,
            next: self.place.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_one_order_from_any_place() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a/z.png", "a/y/x.png", ".hidden", "a.png"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let files = list(folder.path()).unwrap();
        assert_eq!(files, ["a.png", "a/y/x.png", "a/z.png", "b.png"]);
        let place = Place {
            row: 3,
            ..Place::default()
        };
        let mut rest = Files::new(files, place, 2);
        let chunk = rest.next().unwrap().unwrap();
        assert!(matches!(&chunk.rows, Raw::Files(files) if files == &["b.png"]));
        assert_eq!((chunk.first, chunk.next.row), (3, 4));
        assert!(rest.next().unwrap().is_none());
    }
}
