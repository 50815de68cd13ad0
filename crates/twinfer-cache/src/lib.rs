#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod backend;
mod cache;
mod env;
mod evict;
mod fetch;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod folder;
mod incoming;
mod key_value;
mod load;
mod local;
mod locks;
mod maintain;
mod memory;
mod origin;
mod record;
mod resolve;

pub use backend::{Backend, BlobWriter, LockMode, Space};
pub use cache::{Cache, Event, Listener, Options, Policy};
pub use env::Env;
pub use evict::Removed;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use folder::{FolderBackend, FolderLock, FolderWriter};
pub use key_value::{KeyValue, KeyValueBackend, KeyValueWriter, MAX_VALUE_BYTES, MemoryKeyValue};
pub use load::{LoadOptions, Loaded, may_be_old};
pub use locks::LocalLock;
pub use maintain::{Listing, PackageListing, ReferenceListing, Verified};
pub use memory::{MemoryBackend, MemoryWriter};
pub use origin::{Asked, Body, Freshness, Opened, Origin, Wanted};
pub use record::Statistics;
pub use resolve::{Resolved, Source};
