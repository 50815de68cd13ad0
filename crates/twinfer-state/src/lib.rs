#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod bounded;
mod bucket;
mod change;
mod error;
mod limits;
mod memory;
#[cfg(feature = "redis")]
mod redis_state;
#[cfg(feature = "resilient")]
mod resilient;
#[cfg(feature = "runtime")]
mod runtime;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;
mod status;
#[cfg(feature = "runtime")]
mod watch;

pub use bucket::{Rate, Taken};
pub use change::Changes;
pub use error::{Result, StateError};
pub use limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use memory::MemoryState;
#[cfg(feature = "redis")]
pub use redis_state::{Clock, RedisOptions, RedisState};
#[cfg(feature = "resilient")]
pub use resilient::{Event, EventSink, Resilient, ResilientOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteState;
pub use state::{ANY, Document, State, Sum};
pub use status::Status;
#[cfg(feature = "runtime")]
pub use watch::Watch;
