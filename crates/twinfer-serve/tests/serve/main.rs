//! The application over registries in memory, with the sample models and the
//! test models of the cross-runtime suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod console;
mod extensions;
mod infer;
mod metadata;
mod onnx_file;
mod openapi;
mod predict;
mod registry;
mod remote;
mod runs;
mod support;
mod trust;
mod types;
