//! The `twinfer` command as its user has it: arguments, output, errors, exit codes, and
//! what is left after it was killed.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod batch;
mod cache;
mod columns;
mod crash;
mod follow;
mod health;
mod inspect;
mod maintain;
mod mlflow;
#[path = "../../../twinfer-serve/tests/serve/onnx_file.rs"]
mod onnx_file;
mod packages;
mod predict;
#[path = "../../../twinfer-state/tests/state/redis_server.rs"]
mod redis_server;
mod registries;
mod releases;
mod reload;
mod run;
mod server;
mod slim;
mod slim_component;
mod state;
mod support;
mod trust;
mod unpack;
mod usage;
mod values;
