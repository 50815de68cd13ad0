//! What a program needs of the machine that it was linked on, to run where there is nothing else.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::run::{Run, find_program};

/// The shared libraries and the loader of a program, each with its path in an image (relative), and
/// the licence texts that Debian has of them.
///
/// # Errors
/// Where `ldd` does not say, or a library is not there.
pub fn needed(program: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let printed = Run::new("ldd").args([program]).read()?;
    let mut files = Vec::new();
    for library in read(&printed)? {
        files.extend(license(&library));
        let inside = library.strip_prefix("/").unwrap_or(&library).to_owned();
        files.push((library, inside));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The paths that `ldd` prints: `NAME => PATH (ADDRESS)`, and `PATH (ADDRESS)` for the loader.
fn read(printed: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in printed.lines().map(str::trim) {
        let place = line.rsplit("=> ").next().unwrap_or(line);
        if place.starts_with("not found") {
            return Err(Failure::new(format!("the command needs {line}")));
        }
        // `linux-vdso.so.1` has no path: it is of the kernel.
        if let Some(path) = place
            .split(" (")
            .next()
            .filter(|path| path.starts_with('/'))
        {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

/// The licence text of the Debian package that a library is of, and where it goes.
fn license(library: &Path) -> Option<(PathBuf, PathBuf)> {
    find_program(&["dpkg-query"])?;
    let owner = Run::new("dpkg-query")
        .args(["-S".as_ref(), library.as_os_str()])
        .read()
        .ok()?;
    // `libc6:amd64: /lib/…`
    let package = owner.split(':').next()?;
    let inside = Path::new("usr/share/doc").join(package).join("copyright");
    let text = Path::new("/").join(&inside);
    text.is_file().then_some((text, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_what_is_missing_is_named() {
        let printed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                       \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1c)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f1d)\n";
        let paths = read(printed).unwrap();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libm.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(
            read("\tstatically linked\n").unwrap(),
            Vec::<PathBuf>::new()
        );
        let failure = read("\tlibssl.so.3 => not found\n")
            .unwrap_err()
            .to_string();
        assert!(failure.contains("libssl.so.3"), "{failure}");
    }
}
