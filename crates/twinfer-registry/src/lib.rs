#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod auth;
mod cached;
mod copy;
mod download;
mod entries;
mod error;
mod location;
mod mirror;
mod net;
mod oci;
mod static_host;
mod walk;

pub use cached::{CacheSettings, CachedStore, Moved, OriginBody, RegistryOrigin};
pub use copy::{Copied, CopyOptions, Progress, Stage, copy};
pub use location::Location;
pub use mirror::{MirrorOptions, Mirrored, mirror};
pub use net::{NetOptions, server_client};
pub use oci::OciStore;
pub use static_host::HttpStore;
pub use walk::{closure, read_all};
