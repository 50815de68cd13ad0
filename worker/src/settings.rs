//! The environment variables of a component that fetches its packages.

use std::str::FromStr;

use twinfer::{Result, bail, err};
use twinfer_cache::Policy;
use twinfer_serve::{Address, RemoteOptions};

use crate::environment::variable;

/// Bytes of packages that are kept in memory: they are there beside the loaded models.
const MEMORY_QUOTA: u64 = 256 << 20;

/// Where packages are kept.
pub(crate) enum Place {
    Memory,
    Folder(String),
    #[cfg(feature = "key-value")]
    KeyValue(String),
}

/// What a component that fetches its packages is told.
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    pub(crate) place: Place,
    pub(crate) cache: twinfer_cache::Options,
    pub(crate) remote: RemoteOptions,
}

impl Settings {
    /// `None` for a registry in a folder. What is malformed is an error, not a default: nothing
    /// is served then from a place that nobody meant.
    pub(crate) fn read(registry: &str) -> Option<Result<Self>> {
        registry
            .contains("://")
            .then(|| Self::read_remote(registry).map_err(|error| error.context("the environment")))
    }

    fn read_remote(registry: &str) -> Result<Self> {
        let mirrors = variable("TWINFER_MIRRORS").unwrap_or_default();
        let mirrors = mirrors.split(',').map(str::trim).filter(|m| !m.is_empty());
        let addresses = std::iter::once(registry).chain(mirrors);
        let addresses = addresses.map(Address::parse).collect::<Result<Vec<_>>>()?;
        let place = place(&variable("TWINFER_CACHE").unwrap_or_default())?;
        let mut cache = twinfer_cache::Options {
            quota: number("TWINFER_CACHE_QUOTA")?,
            ..twinfer_cache::Options::default()
        };
        if matches!(place, Place::Memory) {
            cache.quota = cache.quota.or(Some(MEMORY_QUOTA));
        }
        let mut remote = RemoteOptions {
            log: |line| eprintln!("{line}"),
            ..RemoteOptions::default()
        };
        if let Some(seconds) = number::<u64>("TWINFER_POLL")? {
            remote.poll = seconds.saturating_mul(1000);
        }
        remote.policy = policy()?;
        if remote.policy == Policy::Offline {
            // What is not there is not there the next time either.
            cache.attempts = 1;
        }
        Ok(Self {
            addresses,
            place,
            cache,
            remote,
        })
    }
}

fn place(text: &str) -> Result<Place> {
    match text {
        "" | "memory" => Ok(Place::Memory),
        #[cfg(feature = "key-value")]
        name if name.starts_with("key-value:") => {
            Ok(Place::KeyValue(name["key-value:".len()..].to_owned()))
        }
        #[cfg(not(feature = "key-value"))]
        name if name.starts_with("key-value:") => bail!(
            InvalidParameter,
            "TWINFER_CACHE={name}: this component was built without key-value stores: use the one with the feature `key-value`"
        ),
        folder if folder.starts_with('/') => Ok(Place::Folder(folder.to_owned())),
        other => bail!(
            InvalidParameter,
            "TWINFER_CACHE={other} is neither `memory`, nor a folder such as /cache, nor `key-value:NAME`"
        ),
    }
}

fn policy() -> Result<Policy> {
    match variable("TWINFER_CACHE_POLICY").as_deref() {
        None | Some("" | "stale-while-revalidate") => Ok(Policy::StaleWhileRevalidate),
        Some("online") => Ok(Policy::Online),
        Some("offline") => Ok(Policy::Offline),
        Some(other) => bail!(
            InvalidParameter,
            "TWINFER_CACHE_POLICY={other} is none of `online`, `stale-while-revalidate`, `offline`"
        ),
    }
}

fn number<T: FromStr>(name: &str) -> Result<Option<T>> {
    match variable(name) {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            err!(
                InvalidParameter,
                "{name}={text} is not a number that it can be"
            )
        }),
    }
}
