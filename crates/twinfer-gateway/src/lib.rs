//! Who may ask what of a server: API keys, JWT, client certificates, scopes, rate limits.
//!
//! No host is in here: no clock, no sockets, no files. A door (the host, or the component on hosts
//! of others) hands in the head of each request, and does what [`Gateway::admit`] decides.
//!
//! | step | where |
//! |---|---|
//! | what a request asks for: scope and model, by method and path | [`Wanted::of`] |
//! | who asks | [`Gateway::admit`]: `Authorization: Bearer`, `X-API-Key`, the names in a certificate |
//! | how often | token buckets in a [`twinfer_state::State`], for each address and each principal |
//! | keys of a JWT issuer, where they are at an address | [`Gateway::wants_keys`] and [`Gateway::put_keys`]: the door fetches |
//!
//! [`Settings`] are what an operator writes, in TOML or JSON. See `docs/access.md`.
#![deny(missing_docs)]

mod certificate;
mod credentials;
mod decision;
mod door;
mod error;
mod gateway;
mod jwt;
mod key;
mod limit;
mod pattern;
mod refusal;
mod scope;
mod settings;
mod wanted;

pub use certificate::Certificate;
pub use decision::{Decision, Principal};
pub use door::{Admitted, Door, Surroundings, forget_credentials};
pub use error::{Result, SettingsError};
pub use gateway::{Gateway, Rules, Visitor};
pub use jwt::Refetch;
pub use key::ApiKey;
pub use pattern::Patterns;
pub use refusal::{Reason, Refusal};
pub use scope::{Scope, Scopes};
pub use settings::{CertificateSettings, JwtSettings, KeySettings, RateSettings, Rates, Settings};
pub use wanted::{ModelWanted, Surface, Wanted};
