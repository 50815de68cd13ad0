//! One conformance suite for the versioned cache: the same cases for every back end, against a
//! server that lies.
//!
//! [`registry::Made::write`] packs a few small packages, [`server::LyingServer`] serves them with
//! every fault that there is, [`cases::all`] is the list, [`native`], [`component`] and
//! `web/test/run-cache.mjs` run it, and [`verdict::judge`] says which case failed where.

pub mod cases;
pub mod component;
pub mod fault;
mod kept_cases;
pub mod list;
pub mod native;
pub mod registry;
pub mod server;
pub mod suite;
pub mod verdict;
mod writing;
