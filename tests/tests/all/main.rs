//! Tests over the whole workspace that need nothing but `cargo test`.

mod dependencies;
mod generated;
mod native;
