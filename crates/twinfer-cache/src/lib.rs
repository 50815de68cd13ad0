#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod backend;
mod cache;
mod env;
mod evict;
mod fetch;
mod load;
mod maintain;
mod memory;
mod origin;
mod record;
mod resolve;

pub use backend::{Backend, BlobWriter, LockMode, Space};
pub use cache::{Cache, Event, Listener, Options, Policy};
pub use env::Env;
pub use evict::Removed;
pub use load::{LoadOptions, Loaded};
pub use maintain::{Listing, PackageListing, ReferenceListing, Verified};
pub use memory::{MemoryBackend, MemoryLock, MemoryWriter};
pub use origin::{Asked, Body, Freshness, Opened, Origin, Wanted};
pub use record::Statistics;
pub use resolve::{Resolved, Source};
