//! The trust policy of the command line, and what was seen of signed tags before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};
use twinfer_package::{
    Decision, Package, Parts, PublicKey, Reference, Seen, Store, TrustPolicy, Verdict, admit,
};

/// Longest file of counters; 10,000 names are about 1 MB.
const MAX_STATE: u64 = 16 << 20;
const FORMAT: u32 = 1;

/// Opens packages under the policy, where there is one.
#[derive(Debug, Clone)]
pub struct Trust {
    policy: Option<TrustPolicy>,
    state: Option<PathBuf>,
}

/// The counters that were seen, by the name of the model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format_version: u32,
    counters: BTreeMap<String, u64>,
}

impl Trust {
    /// Reads the policy; none where no file is named.
    ///
    /// # Errors
    /// `invalid_policy`; `storage` when it cannot be read.
    pub fn read(policy: Option<&Path>, state: Option<PathBuf>) -> Result<Self> {
        let read = |path: &Path| {
            let json = fs::read(path).map_err(|e| {
                err!(
                    Storage,
                    "cannot read the trust policy {}: {e}",
                    path.display()
                )
            })?;
            TrustPolicy::from_json(&json).map_err(|e| e.context(path.display()))
        };
        Ok(Self {
            policy: policy.map(read).transpose()?,
            state: state.or_else(user_state),
        })
    }

    /// The same, with the policy that is in this file now.
    ///
    /// # Errors
    /// As [`Trust::read`].
    pub fn again(&self, policy: Option<&Path>) -> Result<Self> {
        Self::read(policy, self.state.clone())
    }

    /// The same, with a policy that accepts this key only.
    ///
    /// # Errors
    /// `internal`.
    pub fn with_key(self, key: &PublicKey) -> Result<Self> {
        Ok(Self {
            policy: Some(TrustPolicy::of_key(key)?),
            ..self
        })
    }

    /// The policy.
    pub fn policy(&self) -> Option<&TrustPolicy> {
        self.policy.as_ref()
    }

    /// Opens a package, when the policy admits it. A warning goes to standard error.
    ///
    /// # Errors
    /// Those of opening; `storage` for a file of counters that cannot be read.
    pub fn open(&self, store: &dyn Store, reference: &Reference, parts: Parts) -> Result<Package> {
        let (package, decision) = self.decide(store, reference, parts)?;
        if let Some(Verdict::Warned { reason }) = decision.map(|d| d.verdict) {
            warn(&format!("{reference} is used, but {reason}"));
        }
        Ok(package)
    }

    /// Opens a package, and says what was decided where there is a policy.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn decide(
        &self,
        store: &dyn Store,
        reference: &Reference,
        parts: Parts,
    ) -> Result<(Package, Option<Decision>)> {
        let Some(policy) = &self.policy else {
            return Ok((Package::open_parts(store, reference, parts)?, None));
        };
        let seen = self.seen(reference)?;
        let (package, decision) = Package::open_trusted(store, reference, parts, policy, seen)?;
        self.keep(reference, seen, &decision);
        Ok((package, Some(decision)))
    }

    /// What the policy says of a package, without reading more of it than that takes;
    /// `None` without a policy.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn admit(&self, store: &dyn Store, reference: &Reference) -> Result<Option<Decision>> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        let seen = self.seen(reference)?;
        let decision = admit(store, reference, policy, seen)?.decision;
        self.keep(reference, seen, &decision);
        Ok(Some(decision))
    }

    /// The same for a package that may not be used in the end: nothing is remembered, and
    /// `last`, a counter that the caller knows, counts as seen.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn consider(
        &self,
        store: &dyn Store,
        reference: &Reference,
        last: Option<u64>,
    ) -> Result<Option<Decision>> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        let mut seen = self.seen(reference)?;
        seen.last_counter = seen.last_counter.max(last);
        let admitted = admit(store, reference, policy, seen).map_err(|e| e.context(reference))?;
        Ok(Some(admitted.decision))
    }

    /// The reference for a command that opens the package by itself: pinned to what the policy
    /// admits, so that nothing can be exchanged in between; as it is without a policy.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn pinned(&self, store: &dyn Store, reference: &Reference) -> Result<Reference> {
        let Some(policy) = &self.policy else {
            return Ok(reference.clone());
        };
        let seen = self.seen(reference)?;
        let admitted = admit(store, reference, policy, seen)?;
        self.keep(reference, seen, &admitted.decision);
        if let Verdict::Warned { reason } = &admitted.decision.verdict {
            warn(&format!("{reference} is used, but {reason}"));
        }
        Ok(reference.clone().pinned(admitted.descriptor.digest))
    }

    fn seen(&self, reference: &Reference) -> Result<Seen> {
        Ok(Seen {
            now: now(),
            last_counter: self.counters()?.get(reference.name()).copied(),
        })
    }

    fn keep(&self, reference: &Reference, seen: Seen, decision: &Decision) {
        if let Some(counter) = decision.counter.filter(|c| Some(*c) != seen.last_counter)
            && let Err(error) = self.remember(reference.name(), counter)
        {
            // The package is what it should be; only the next rollback might go unseen.
            warn(&format!("the counter of signed tags is not kept: {error}"));
        }
    }

    /// The counters that were seen.
    ///
    /// # Errors
    /// `storage`.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let Some(path) = &self.state else {
            return Ok(BTreeMap::new());
        };
        let bytes = match fs::metadata(path) {
            Ok(metadata) if metadata.len() <= MAX_STATE => fs::read(path),
            Ok(metadata) => bail!(
                Storage,
                "{} has {} bytes, which is more than a file of counters has",
                path.display(),
                metadata.len()
            ),
            Err(e) => Err(e),
        };
        match bytes {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => bail!(Storage, "cannot read {}: {e}", path.display()),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(State {
                    format_version: FORMAT,
                    counters,
                }) => Ok(counters),
                // Beginning anew by itself would forget what protects from old lists.
                _ => bail!(
                    Storage,
                    "{} is not a file of counters that this version reads: repair or remove it",
                    path.display()
                ),
            },
        }
    }

    /// Keeps a counter, unless a higher one is there.
    ///
    /// # Errors
    /// `storage`.
    pub fn remember(&self, name: &str, counter: u64) -> Result<()> {
        let Some(path) = &self.state else {
            return Ok(());
        };
        let failed = |e: std::io::Error| err!(Storage, "cannot write {}: {e}", path.display());
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Held until the end of this function; two commands must not lose each other's.
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.with_extension("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut counters = self.counters()?;
        let last = counters.entry(name.to_owned()).or_default();
        if *last >= counter {
            return Ok(());
        }
        *last = counter;
        let state = State {
            format_version: FORMAT,
            counters,
        };
        let json = serde_json::to_vec_pretty(&state)
            .map_err(|e| err!(Internal, "counters have no JSON form: {e}"))?;
        let partial = path.with_extension("partial");
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        };
        write().map_err(failed)
    }
}

/// A warning, where errors go.
pub fn warn(text: &str) {
    // Nothing more can be done when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// Seconds since 1970. Before that the clock is wrong, and then nothing that expires counts.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(u64::MAX, |since| since.as_secs())
}

/// Where counters are kept: with the user, not with any registry.
fn user_state() -> Option<PathBuf> {
    Some(crate::user::folder("XDG_STATE_HOME", ".local/state")?.join("twinfer/trust.json"))
}
