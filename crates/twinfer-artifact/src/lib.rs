#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod component;
pub mod fuse;
mod profile;
pub mod slim;

pub use profile::Profile;
