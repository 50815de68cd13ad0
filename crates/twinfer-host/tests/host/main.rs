//! The host with real guests, over real sockets.
//!
//! Two components are needed; both are built by
//! `cargo build -p twinfer-worker --lib --example misbehave --target wasm32-wasip2 --profile wasm-dev`.
//! Other paths: `TWINFER_COMPONENT` and `TWINFER_TEST_GUEST`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod authority;
mod bad_guests;
mod cancellation;
mod child;
mod codes;
mod component;
mod deadlines;
mod derived;
mod disk;
mod faults;
mod files;
mod index;
mod kills;
mod lifecycle;
mod models;
mod observe;
mod prometheus;
#[path = "../../../twinfer-state/tests/state/redis_server.rs"]
mod redis_server;
mod releases;
mod reload;
mod remote;
mod repository;
mod routing;
mod shedding;
mod slow_clients;
mod smuggling;
mod state;
mod support;
mod tls;
mod together;
mod traces;
mod web;
mod wire;
