#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod answer;
pub mod cache;
pub mod case;
pub mod compare;
pub mod component;
pub mod forge;
pub mod http;
pub mod list;
pub mod native;
pub mod pictures;
pub mod trust;
pub mod verdict;
pub mod wire;
