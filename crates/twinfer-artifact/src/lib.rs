#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod profile;
pub mod slim;

pub use profile::Profile;
