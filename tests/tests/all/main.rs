//! Tests over the whole workspace that need nothing but `cargo test`.

#![allow(clippy::unwrap_used)] // Only functions marked as tests are exempt by themselves.

mod cache;
mod dependencies;
mod engine_trust;
mod generated;
mod native;
mod trust;
