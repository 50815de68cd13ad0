//! Who may ask what: tables of requests and what is decided of them.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod door;
mod limits;
mod paths;
mod settings;
mod support;
mod tokens;
