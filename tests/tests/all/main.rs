//! Tests over the whole workspace that need nothing but `cargo test`.

mod generated;
mod native;
