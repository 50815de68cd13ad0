//! The scripts that Redis runs, each as a whole.

use std::sync::LazyLock;

use redis::Script;

/// All of them, with their digests.
pub(super) struct Scripts {
    pub(super) put: Script,
    pub(super) delete: Script,
    pub(super) changed: Script,
    pub(super) add: Script,
    pub(super) take: Script,
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    put: Script::new(include_str!("put.lua")),
    delete: Script::new(include_str!("delete.lua")),
    changed: Script::new(include_str!("changed.lua")),
    add: Script::new(include_str!("add.lua")),
    take: Script::new(include_str!("take.lua")),
});
