//! The state of the git repository that a recipe is in, asked from the program `git`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{GitState, InputFile};

/// The last commit that touched the folder, and whether these files are as they are at HEAD.
///
/// `None` where there is no git, no repository, no commit of the folder, or only the end of a
/// shallow history: the commit would then depend on how the repository was cloned.
pub(super) fn state(folder: &Path, inputs: &[InputFile]) -> Option<GitState> {
    let commit = git(folder, &["log", "-1", "--format=%H", "--", "."], "")?;
    let commit = commit.trim();
    if commit.is_empty() || ends_shallow(folder, commit) {
        return None;
    }
    Some(GitState {
        commit: commit.into(),
        dirty: is_dirty(folder, inputs).unwrap_or(true),
    })
}

/// Whether history was cut off at this commit.
fn ends_shallow(folder: &Path, commit: &str) -> bool {
    let path = git(folder, &["rev-parse", "--git-path", "shallow"], "");
    let text = path.and_then(|path| fs::read_to_string(folder.join(path.trim())).ok());
    text.is_some_and(|text| text.lines().any(|line| line.trim() == commit))
}

/// Whether a file is not the one at HEAD, byte by byte. (`git status` would run the filters
/// that a foreign repository configures.)
fn is_dirty(folder: &Path, inputs: &[InputFile]) -> Option<bool> {
    let tree = git(folder, &["ls-tree", "-r", "-z", "HEAD", "."], "")?;
    let committed: BTreeMap<&str, &str> = tree
        .split('\0')
        .filter_map(|line| {
            let (info, name) = line.split_once('\t')?;
            Some((name, info.split(' ').nth(2)?))
        })
        .collect();
    // Absolute: git goes to the root of the repository before it reads these.
    let root = folder.canonicalize().ok()?;
    let mut names = String::new();
    for input in inputs {
        let path = root.join(&input.name);
        names += path.to_str().filter(|path| !path.contains(['\n', '\0']))?;
        names.push('\n');
    }
    let arguments = ["hash-object", "--no-filters", "--stdin-paths"];
    let hashes = git(folder, &arguments, &names)?;
    let hashes: Vec<&str> = hashes.lines().collect();
    if hashes.len() != inputs.len() {
        return None;
    }
    let clean = |(input, hash): (&InputFile, &&str)| match committed.get(input.name.as_str()) {
        Some(there) => there == hash || is_pointer(folder, there, input),
        None => false,
    };
    Some(!inputs.iter().zip(&hashes).all(clean))
}

/// Whether what is committed is the pointer of Git LFS to this file.
fn is_pointer(folder: &Path, committed: &str, input: &InputFile) -> bool {
    let size = git(folder, &["cat-file", "-s", committed], "");
    let short = size.is_some_and(|s| s.trim().parse::<u64>().is_ok_and(|s| s < 1024));
    let wanted = format!("oid {}", input.digest);
    short
        && git(folder, &["cat-file", "blob", committed], "").is_some_and(|text| {
            text.starts_with("version https://git-lfs") && text.lines().any(|l| l == wanted)
        })
}

/// What git says; `None` when it fails.
fn git(folder: &Path, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        // Nothing that the configuration of a foreign repository could make git start.
        .args(["--no-pager", "-c", "core.fsmonitor=false"])
        .args(["-c", "log.showSignature=false"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // Set inside of git's own hooks: another repository than that of the folder.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    let text = input.to_owned();
    // In a thread, so that neither side waits for the other.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    // A git that fails early does not read its input.
    let _ = writer.join();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())?
}
