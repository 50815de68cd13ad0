//! Engines with a package loaded in them.

pub mod component;
pub mod page;
mod runnable;
mod snapshot;
mod stack;
