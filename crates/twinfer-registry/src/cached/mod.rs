//! Registries behind the versioned cache.

mod decode;
mod env;
mod open;
mod origin;
mod revalidate;
mod store;
mod used;

pub(crate) use decode::decoded;
pub use open::OriginBody;
pub use origin::RegistryOrigin;
pub use revalidate::Moved;
pub use store::{CacheSettings, CachedStore};
