//! The host with real guests, over real sockets.
//!
//! Two components are needed; both are built by
//! `cargo build -p twinfer-worker --lib --example misbehave --target wasm32-wasip2 --profile wasm-dev`.
//! Other paths: `TWINFER_COMPONENT` and `TWINFER_TEST_GUEST`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_guests;
mod codes;
mod component;
mod derived;
mod files;
mod index;
mod lifecycle;
mod observe;
mod prometheus;
mod remote;
mod support;
mod traces;
mod web;
mod wire;
