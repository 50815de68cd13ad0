//! The wasmtime host of the Twinfer component.
//!
//! It runs `worker/` (or any `wasi:http/handler@0.3` component that imports
//! only `wasi:*`) behind an HTTP server, and serves a registry folder and a
//! page beside it as static files.
//!
//! | path | answered by |
//! |---|---|
//! | `/registry/*` | the OCI image layout, read-only |
//! | `/healthz`, `/livez` | the host itself: it accepts connections |
//! | `/readyz` | the host: whether the component answers, and the state |
//! | `/metrics` | the host, where it has an [`Observer`] |
//! | GET and HEAD of a file that the page folder has | that file |
//! | everything else | the component |
//!
//! What a guest can do: read the registry folder (and the one of the index, where that
//! is another), read the clock, get random bytes, write log lines. Where the configuration
//! says so it can also send requests to origins on a list, and keep packages in a folder or
//! a key-value store. It has no other network, no other file, and bounded memory and time.
//! One instance handles one request at a time and is reused,
//! because a loaded model is worth keeping; an instance that traps, loops or
//! asks for too much memory is thrown away and only its own request fails.
//!
//! A fused component has its model loaded from the start, so each request gets an instance of its
//! own, which shares all memory that it does not change with the others. A slim component lacks
//! functions; a request that needs one of them is answered by the full component.
//!
//! ```no_run
//! # fn main() -> Result<(), twinfer_host::HostError> {
//! use twinfer_host::{Host, HostConfig};
//!
//! let host = Host::start(HostConfig {
//!     listen: ([127, 0, 0, 1], 0).into(),
//!     ..HostConfig::new("twinfer_worker.wasm", "registry")
//! })?;
//! println!("http://{}", host.local_addr());
//! host.shutdown()?;
//! # Ok(()) }
//! ```
#![deny(missing_docs)]

mod access;
mod cache;
mod config;
mod deadline;
mod engine;
mod error;
mod files;
mod guest;
mod handle;
mod headers;
mod health;
mod key_value;
mod label;
mod live;
mod log;
mod mime;
mod observe;
mod outbound;
mod pool;
mod releases;
mod repeatable;
mod reply;
mod route;
mod server;
mod state;
mod static_site;
mod tls;
mod trial;

pub use access::AccessConfig;
pub use config::{Announcement, HostConfig, Instances, LEAST_TAKEN, Limits};
pub use error::{HostError, HostErrorKind};
pub use handle::{Handle, Refused, Reloaded};
pub use key_value::KeyValue;
pub use log::{Log, LogFormat, LogLevel, LogSink};
pub use observe::{ObserveOptions, Observer, StateSeen};
pub use releases::{Answered, COPY_SKIPPED, Copied, Releases};
pub use reply::ReplyCode;
pub use server::{Host, RunningHost};
pub use tls::TlsFiles;
pub use trial::Trial;
pub use twinfer_observe::{DeploymentSeen, InForceSeen, VariantSeen};
