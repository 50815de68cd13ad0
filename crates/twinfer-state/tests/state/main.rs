//! One suite for all places, and what is special of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod places;
mod processes;
mod redis;
mod redis_server;
mod resilient;
mod sqlite;
mod watch;
