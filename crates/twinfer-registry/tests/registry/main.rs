//! Registries as they are, with the tools that others use, and as they should not be.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cached;
mod cached_real;
mod copies;
mod engines;
mod fake;
mod faults;
mod real;
mod static_host;
mod support;
