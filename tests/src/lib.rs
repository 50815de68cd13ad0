//! Suites that cross crates and runtimes.
//!
//! The program `twinfer-conformance` writes one list of cases, runs it natively and against
//! the component, and compares the answers of all places; `cargo xtask test` calls it.
#![deny(missing_docs)]

pub mod compare;
pub mod http;
