#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod profile;

pub use profile::Profile;
