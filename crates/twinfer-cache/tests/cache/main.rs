//! What the cache promises, in every place where it can be, whatever the registry does.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod content;
mod origin;
mod packages;
mod references;
mod world;
