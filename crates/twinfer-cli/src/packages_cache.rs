//! The cache of packages that come over the network.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use twinfer::{Result, bail};
use twinfer_cache::{Event, Policy};
use twinfer_registry::{CacheSettings, CachedStore, Location, Moved, NetOptions};

use crate::bar::Bar;
use crate::options::CacheArgs;
use crate::trust::warn;

/// Where it is, when nobody says.
fn user_folder() -> Option<PathBuf> {
    Some(crate::user::folder("XDG_CACHE_HOME", ".cache")?.join("twinfer/packages"))
}

/// The cache as the command line describes it, in front of these registries.
///
/// # Errors
/// As [`CachedStore::new`]; `invalid_parameter` where there is no folder for it and nothing
/// else will do.
pub fn open(
    args: &CacheArgs,
    locations: &[Location],
    net: &NetOptions,
    bar: Bar,
) -> Result<CachedStore> {
    let folder = args.cache_dir.clone().or_else(user_folder);
    let only_kept = locations.is_empty() || args.policy() == Policy::Offline;
    if folder.is_none() && only_kept {
        bail!(
            InvalidParameter,
            "the user has no folder for caches: name one with --cache-dir or TWINFER_CACHE_DIR"
        );
    }
    let settings = CacheSettings {
        keep: folder.is_some() && !args.no_package_cache,
        folder: folder.unwrap_or_default(),
        policy: args.policy(),
        quota: Some(args.cache_quota),
    };
    let teller = Teller {
        bar: Mutex::new(bar),
        told: Mutex::default(),
    };
    Ok(CachedStore::new(locations, settings, net)?.listen(move |event| teller.tell(&event)))
}

/// Tells people what happens, on standard error.
struct Teller {
    bar: Mutex<Bar>,
    /// Warnings that were given.
    told: Mutex<Vec<String>>,
}

impl Teller {
    fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Progress {
                wanted,
                loaded,
                total: Some(total),
                cached: false,
            } => {
                let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
                match loaded >= total {
                    true => bar.clear(),
                    false => bar.line(&wanted.name, *loaded, *total),
                }
            }
            Event::Damaged { wanted, error } => self.warn(format!(
                "what the cache had of {} was damaged and is fetched again: {error}",
                wanted.label()
            )),
            Event::NotKept { error } => self.warn(format!("not kept in the cache: {error}")),
            Event::Unreachable { error } => self.warn(format!(
                "the registry does not answer; the last good answer is used: {error}"
            )),
            _ => {}
        }
    }

    /// Each of them once: ten layers on a full disk are one warning.
    fn warn(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&text) {
            return;
        }
        self.bar
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        warn(&text);
        told.push(text);
    }
}

/// What to say of a tag that has moved.
pub fn note(moved: &Moved) -> String {
    match moved.to {
        Some(digest) => format!(
            "note: `{}` now points to {digest}; the next call uses it",
            moved.reference
        ),
        None => format!(
            "note: `{}` is not in the registry any more",
            moved.reference
        ),
    }
}
