//! The environment of this instance.
//!
//! Asked of the host each time: the C library reads it once and keeps it, and in a fused
//! component that could have been at build time.

use spin_sdk::wasip3::cli::environment::get_environment;

/// The variable of this name.
pub(crate) fn variable(name: &str) -> Option<String> {
    let all = get_environment().into_iter();
    all.filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .next()
}
