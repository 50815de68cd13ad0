//! Packages from recipe to self test, and everything that is wrong with them.

// The helpers of tests too may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_packages;
mod bad_recipes;
mod fixture;
mod folder;
mod golden;
mod mutations;
mod oms;
mod onnx;
mod pack;
mod provenance;
mod shards;
mod signing;
mod tools;
mod trust_mutations;
