//! Engines with a package loaded in them.

pub mod component;
mod stack;
