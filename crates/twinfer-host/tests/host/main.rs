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
#[path = "../../../twinfer-state/tests/state/redis_server.rs"]
mod redis_server;
mod remote;
mod state;
mod support;
mod web;
mod wire;
