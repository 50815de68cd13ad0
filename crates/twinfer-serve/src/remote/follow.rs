//! Following the registry: what moved is fetched and tested, and only then used.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use twinfer::{Error, ErrorCode, Model, Result};
use twinfer_cache::{Backend, Env, LoadOptions, Origin, Policy, Source};
use twinfer_package::{Digest, Parts, Reference};

use super::approved::Approved;
use super::{Remote, State, any};
use crate::App;

/// Milliseconds between two questions that requests for unknown models cause.
const EARLY: u64 = 5_000;

/// A package that has proved itself.
pub(super) struct Proved<L> {
    reference: Reference,
    digest: Digest,
    /// `None` where it is in use already.
    model: Option<Model>,
    lease: Option<L>,
}

struct Turn<'a, L>(&'a Mutex<State<L>>);

impl<L> Drop for Turn<'_, L> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.following = false;
    }
}

impl<B: Backend, E: Env, O: Origin> Remote<B, E, O> {
    /// Whether it is time to ask what is new.
    pub fn due(&self) -> bool {
        self.options.policy != Policy::Offline && self.is_older_than(self.options.poll)
    }

    /// Asks what is new when it is time for that, for at most [`super::RemoteOptions::turn`]. What
    /// fails is in the log: the last good state serves on.
    pub async fn follow(&self, app: &App) {
        if self.due()
            && self
                .within(self.options.turn, self.refresh(app, None))
                .await
                .is_none()
        {
            (self.options.log)("what is new was not all fetched in time; it goes on from there");
        }
    }

    pub(super) fn may_ask_early(&self) -> bool {
        self.options.policy != Policy::Offline && self.is_older_than(EARLY.min(self.options.poll))
    }

    fn is_older_than(&self, milliseconds: u64) -> bool {
        let now = self.cache.env().now();
        let state = self.state();
        // A clock that was set back makes it time to ask.
        !state.following
            && state
                .checked
                .is_none_or(|checked| checked > now || now - checked >= milliseconds)
    }

    /// Asks the registry, also for the sake of one reference that it may have by now.
    pub(super) async fn refresh(&self, app: &App, wanted: Option<&Reference>) {
        let Some(_turn) = self.begin_turn() else {
            return;
        };
        if let Err(error) = self.ask(app, wanted).await {
            (self.options.log)(&format!("the registry was not followed: {error}"));
        }
    }

    /// One at a time follows; the turn ends also when the future is dropped.
    fn begin_turn(&self) -> Option<Turn<'_, B::Lock>> {
        let mut state = self.state();
        if state.following {
            return None;
        }
        state.following = true;
        state.checked = Some(self.cache.env().now());
        Some(Turn(&self.state))
    }

    async fn ask(&self, app: &App, wanted: Option<&Reference>) -> Result<()> {
        let (listen, reference) = (self.listener(), any()?);
        let policy = match wanted {
            Some(_) => Policy::Online,
            None => self.options.policy,
        };
        let mut resolved = self
            .cache
            .resolve(&self.origins, &reference, policy, &listen)
            .await?;
        if resolved.source == Source::Stale {
            resolved = self
                .cache
                .revalidate(&self.origins, &reference, &listen)
                .await?;
        }
        self.state().no_store = !resolved.keep;
        let old = self.approved()?;
        if resolved.index != old.json {
            let newer = Approved::new(resolved.index)?;
            let newer = Arc::new(newer.with_what_is_in_force(&old)?);
            let taken = self.examine(app, &old, &newer, wanted).await;
            // Others may have begun to use a name meanwhile.
            let old = self.approved()?;
            if !taken.is_empty() {
                self.approve(old.with(&taken, &newer)?).await;
            }
        }
        self.follow_deployments(app, resolved.source == Source::Registry)
            .await
    }

    /// The names that may move.
    async fn examine(
        &self,
        app: &App,
        old: &Approved,
        newer: &Arc<Approved>,
        wanted: Option<&Reference>,
    ) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        for name in old.changed_names(newer) {
            let used = self.used_of(&name, wanted);
            let in_use = old.used.contains(&name) || !used.is_empty();
            if !in_use {
                taken.insert(name);
                continue;
            }
            // What only others use, they test; we do when we are asked for it.
            if used.is_empty() || self.was_refused(&name, newer) {
                continue;
            }
            match self.prove(app, newer, &used).await {
                Ok(proved) => {
                    self.move_to(app, proved).await;
                    self.state().refused.remove(&name);
                    taken.insert(name);
                }
                Err(error) => {
                    self.tell_refused(&name, &error);
                    if !is_transient(&error) {
                        self.state().refused.insert(name, newer.clone());
                    }
                }
            }
        }
        taken
    }

    pub(super) fn tell_refused(&self, name: &str, error: &Error) {
        // One event, one line.
        let lines = error.message().lines().map(str::trim);
        (self.options.log)(&format!(
            "update_refused: `{name}` stays as it is ({}): {}",
            error.code().as_str(),
            lines.collect::<Vec<_>>().join("; ")
        ));
    }

    fn used_of(&self, name: &str, wanted: Option<&Reference>) -> Vec<Reference> {
        let state = self.state();
        let used = state.used.iter().chain(wanted);
        let used: HashSet<_> = used.filter(|r| r.name() == name).cloned().collect();
        used.into_iter().collect()
    }

    /// By an index that says the same of it: another attempt would end the same.
    fn was_refused(&self, name: &str, newer: &Approved) -> bool {
        let refused = self.state().refused.get(name).cloned();
        refused.is_some_and(|by| !by.changed_names(newer).contains(name))
    }

    /// Fetches and tests what the references point to in a newer index. Those that are no
    /// longer there are left out: who takes a tag away wants it gone.
    async fn prove(
        &self,
        app: &App,
        newer: &Approved,
        references: &[Reference],
    ) -> Result<Vec<Proved<B::Lock>>> {
        let mut all = Vec::new();
        for reference in references {
            match newer.index.resolve(reference) {
                Ok(_) => all.push(self.prove_one(app, newer, reference).await?),
                Err(error) if is_gone(&error) => {
                    self.state().used.remove(reference);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    pub(super) async fn prove_one(
        &self,
        app: &App,
        newer: &Approved,
        reference: &Reference,
    ) -> Result<Proved<B::Lock>> {
        let options = LoadOptions {
            policy: Policy::Online,
            trust: self.trust(app, reference)?,
            parts: Parts::Tested,
            candidate: true,
        };
        let mut loaded = self
            .cache
            .load(&self.held(newer), reference, &options, &self.listener())
            .await?;
        self.get_signatures(app, newer, reference).await?;
        let digest = *loaded.package.digest();
        let model = match app.holds(&digest) {
            true => None,
            false => {
                let mut test = || {
                    let model = loaded.package.take_model()?;
                    loaded.package.self_test(&model)?.check()?;
                    Ok(model)
                };
                Some(test().map_err(|error: Error| error.context(reference))?)
            }
        };
        Ok(Proved {
            reference: reference.clone(),
            digest,
            model,
            lease: loaded.lease,
        })
    }

    pub(super) async fn move_to(&self, app: &App, proved: Vec<Proved<B::Lock>>) {
        for one in proved {
            if let Some(model) = one.model {
                (self.options.log)(&format!(
                    "update: {} is {} from now on",
                    one.reference, one.digest
                ));
                app.hold(one.digest, model);
            }
            if one.reference.digest().is_none()
                && let Err(error) = self
                    .cache
                    .use_from_now_on(&self.origins, &one.reference, one.digest)
                    .await
            {
                (self.options.log)(&format!("not kept in the cache: {error}"));
            }
            let mut state = self.state();
            state.used.insert(one.reference);
            state.leases.extend(one.lease.map(|l| (one.digest, l)));
        }
    }
}

pub(super) fn is_gone(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::UnknownModel | ErrorCode::UnknownVersion
    )
}

/// What may be better the next time with the same index.
pub(super) fn is_transient(error: &Error) -> bool {
    use ErrorCode as C;
    matches!(
        error.code(),
        C::Network
            | C::Timeout
            | C::MissingBlob
            | C::DigestMismatch
            | C::SizeMismatch
            | C::Storage
            | C::OutOfSpace
            | C::OutOfMemory
            | C::Unauthorized
            | C::IndexExpired
    )
}
