//! Folders of the user.

use std::path::PathBuf;

/// The folder that this variable of the XDG base directory specification names, or else this
/// one in the user's home; on Windows the one for local data of programs.
pub fn folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if cfg!(windows) {
        return set("LOCALAPPDATA");
    }
    set(variable).or_else(|| Some(set("HOME")?.join(in_home)))
}
