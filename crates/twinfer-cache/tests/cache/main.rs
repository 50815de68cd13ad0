//! What the cache promises, in every place where it can be, whatever the registry does.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(unix)]
mod child;
mod content;
mod folder;
mod key_value;
#[cfg(unix)]
mod kills;
mod loads;
mod maintain;
mod many;
mod origin;
mod packages;
#[cfg(unix)]
mod processes;
mod references;
mod room;
mod trust;
mod world;
