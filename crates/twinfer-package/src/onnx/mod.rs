//! Model files in parts, at the level of protobuf's wire format: unknown fields, their order
//! and everything that a schema would not keep stay as they are.

mod join;
mod rewrite;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use join::join;
pub(crate) use split::{Shard, Split, split};
