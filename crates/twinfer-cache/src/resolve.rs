//! References: tiny, and revalidated.

use std::pin::pin;

use futures_util::future::{Either, select};
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::limits::MAX_INDEX_BYTES;
use twinfer_package::{Digest, Index, Reference};

use crate::origin::{Asked, Freshness, no_origin};
use crate::record::{INDEXES, IndexHead, KnownIndex, ReferenceRecord, key};
use crate::{Backend, Cache, Env, Event, Listener, LockMode, Origin, Policy};

/// Where an index comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The registry was asked just now.
    Registry,
    /// It was kept, and the registry said that it still holds.
    Fresh,
    /// It was kept, and may have changed: ask with [`Cache::revalidate`] when there is time.
    Stale,
    /// It was kept, the registry was asked, and did not answer.
    LastGood,
    /// It was kept, and nobody may be asked.
    Offline,
}

/// An index.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// `index.json`, or as much of it as has to do with the reference.
    pub index: Vec<u8>,
    /// Where it comes from.
    pub source: Source,
    /// It may be kept; false where the server forbids that (`no-store`).
    pub keep: bool,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// Looks up what a registry says of a reference. A digest needs no index, and should not
    /// come here; where it does (its signatures are wanted), what is known of it will do.
    ///
    /// # Errors
    /// `network` when nobody answers and nothing is known; `invalid_manifest` for an answer
    /// that is no index; what [`Origin::index`] gives.
    pub async fn resolve<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        policy: Policy,
        listen: Listener<'_>,
    ) -> Result<Resolved> {
        let key = index_key(origins, reference)?;
        let known = match self.options.keep {
            true => self.known(&key).await,
            false => None,
        };
        match (policy, known) {
            (Policy::Offline, Some(known)) => Ok(known.resolved(Source::Offline)),
            (Policy::Offline, None) => bail!(
                Network,
                "`{reference}` is not in the cache, and the registry must not be asked: load it once with the network"
            ),
            (Policy::StaleWhileRevalidate, Some(known)) => match self.age(&known, reference) {
                Some(source) => Ok(known.resolved(source)),
                None => {
                    self.ask(origins, reference, &key, Some(known), listen)
                        .await
                }
            },
            (_, known) => self.ask(origins, reference, &key, known, listen).await,
        }
    }

    /// Asks the registry whether what is known of a reference still holds.
    ///
    /// # Errors
    /// As [`Cache::resolve`]. That nobody answered is not an error where something is known.
    pub async fn revalidate<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        listen: Listener<'_>,
    ) -> Result<Resolved> {
        self.resolve(origins, reference, Policy::Online, listen)
            .await
    }

    /// How what is known may be used; `None` when it must be asked for first.
    fn age(&self, known: &KnownIndex, reference: &Reference) -> Option<Source> {
        // What a digest is never changes.
        if let Some(digest) = reference.digest()
            && Index::from_json(&known.json)
                .is_ok_and(|index| index.resolve(reference).is_ok_and(|d| d.digest == *digest))
        {
            return Some(Source::Stale);
        }
        let head = &known.head;
        let now = self.env.now();
        // A clock that was set back says nothing about the age.
        let Some(age) = now.checked_sub(head.checked) else {
            return (head.stale_for != Some(0)).then_some(Source::Stale);
        };
        if age < head.fresh_for {
            return Some(Source::Fresh);
        }
        let usable = head
            .stale_for
            .is_none_or(|stale| age < head.fresh_for.saturating_add(stale));
        usable.then_some(Source::Stale)
    }

    /// A back end that cannot be read knows nothing.
    async fn known(&self, key: &str) -> Option<KnownIndex> {
        let document = self.backend.document(key).await.ok().flatten()?;
        KnownIndex::read(&document)
    }

    async fn ask<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        key: &str,
        known: Option<KnownIndex>,
        listen: Listener<'_>,
    ) -> Result<Resolved> {
        let asked = self
            .ask_all(origins, reference, known.as_ref(), listen)
            .await;
        match (asked, known) {
            (Ok((from, asked)), known) => self.keep_answer(key, from, asked, known, listen).await,
            (Err(error), Some(known)) if unanswered(&error) => {
                listen(Event::Unreachable { error: &error });
                Ok(known.resolved(Source::LastGood))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Asks one mirror after the other.
    async fn ask_all<'a, O: Origin>(
        &self,
        origins: &'a [O],
        reference: &Reference,
        known: Option<&KnownIndex>,
        listen: Listener<'_>,
    ) -> Result<(&'a str, Asked)> {
        let mut failed: Option<Error> = None;
        for origin in origins {
            // A validator means something only to the one that gave it.
            let validator = known
                .filter(|known| known.head.from == origin.id())
                .and_then(|known| known.head.validator.as_deref());
            let asking = self.ask_one(origin, reference, validator, known.is_some(), listen);
            let asked = match known {
                // Nobody waits long for a newer answer.
                Some(_) => self.within(self.options.patience, asking).await,
                None => asking.await,
            };
            match asked {
                Ok(asked) => return Ok((origin.id(), asked)),
                // One that refuses says more than one that is not there.
                Err(error) if failed.as_ref().is_none_or(unanswered) && !unanswered(&error) => {
                    failed = Some(error);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(no_origin))
    }

    /// What a registry answers, if it does before so many milliseconds have passed.
    pub(crate) async fn within<T>(
        &self,
        limit: u64,
        asking: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match select(pin!(asking), pin!(self.env.sleep(limit))).await {
            Either::Left((asked, _)) => asked,
            Either::Right(_) => Err(err!(
                Network,
                "the registry did not answer within {limit} ms"
            )),
        }
    }

    async fn ask_one<O: Origin>(
        &self,
        origin: &O,
        reference: &Reference,
        validator: Option<&str>,
        known: bool,
        listen: Listener<'_>,
    ) -> Result<Asked> {
        let mut failures = 0;
        loop {
            let asking = origin.index(reference, validator);
            let asked = self.within(self.options.stall, asking).await;
            let error = match asked.and_then(|asked| check(asked, validator.is_some())) {
                Ok(asked) => return Ok(asked),
                Err(error) => error,
            };
            failures += 1;
            let attempts = match error.code() {
                ErrorCode::Network if !known => self.options.attempts,
                // The last answer will do; and what is not there seldom comes in a second.
                ErrorCode::Network | ErrorCode::NotFound | ErrorCode::Storage => {
                    self.options.attempts.min(2)
                }
                _ => 1,
            };
            if failures >= attempts {
                return Err(error);
            }
            self.pause(failures, &error, listen).await;
        }
    }

    async fn keep_answer(
        &self,
        key: &str,
        from: &str,
        asked: Asked,
        known: Option<KnownIndex>,
        listen: Listener<'_>,
    ) -> Result<Resolved> {
        let now = self.env.now();
        let (mut answer, freshness) = match (asked, known) {
            (Asked::Unchanged(freshness), Some(mut known)) => {
                known.head.checked = now;
                (known, freshness)
            }
            (Asked::Unchanged(_), None) => {
                bail!(Internal, "nothing is known of what has not changed")
            }
            (
                Asked::Changed {
                    index,
                    validator,
                    freshness,
                },
                _,
            ) => {
                let head = IndexHead::new(Digest::of(&index), from, validator, now);
                (KnownIndex { head, json: index }, freshness)
            }
        };
        let Freshness {
            fresh_for,
            stale_for,
            keep,
        } = freshness;
        answer.head.fresh_for = fresh_for;
        answer.head.stale_for = stale_for;
        if self.options.keep {
            let kept = match keep {
                true => self.backend.set_document(key, &answer.write()?).await,
                // Nor may an older one be used from now on.
                false => self.backend.remove_document(key).await,
            };
            if let Err(error) = kept {
                listen(Event::NotKept { error: &error });
            }
        }
        Ok(Resolved {
            keep,
            ..answer.resolved(Source::Registry)
        })
    }

    /// Remembers that a tag is used with this digest: that one and the one before it are what
    /// rollback needs, and are not evicted.
    pub(crate) async fn activate(
        &self,
        registry: &str,
        reference: &Reference,
        digest: Digest,
    ) -> Result<()> {
        let now = self.env.now();
        self.change_reference(registry, reference, |record| {
            let mut record = record.unwrap_or_else(|| {
                ReferenceRecord::new(registry, &reference.to_string(), digest, now)
            });
            if record.active != digest {
                record.previous = Some(std::mem::replace(&mut record.active, digest));
            }
            record.refused = record.refused.filter(|refused| *refused != digest);
            record.used = now;
            Some(record)
        })
        .await
    }

    /// Remembers that what a tag points to did not prove itself: loads use what the tag was used
    /// with before, until the registry has something else. Where it was used with nothing, there
    /// is nothing to stay with.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub async fn refuse<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        digest: Digest,
    ) -> Result<()> {
        let origin = origins.first().ok_or_else(no_origin)?;
        if reference.digest().is_some() || !self.options.keep {
            return Ok(());
        }
        self.change_reference(origin.id(), reference, |record| {
            let mut record = record.filter(|record| record.active != digest)?;
            record.refused = Some(digest);
            Some(record)
        })
        .await
    }

    async fn change_reference(
        &self,
        registry: &str,
        reference: &Reference,
        change: impl FnOnce(Option<ReferenceRecord>) -> Option<ReferenceRecord>,
    ) -> Result<()> {
        let key = ReferenceRecord::key(registry, reference);
        let name = format!("reference-{}", &key[key.len() - 64..]);
        let _lock = self.wait_for(&name, LockMode::Exclusive, || {}).await?;
        let document = self.backend.document(&key).await?;
        let record = document.and_then(|document| crate::record::read(&document));
        match change(record) {
            Some(record) => {
                let document = crate::record::write(&record)?;
                self.backend.set_document(&key, &document).await
            }
            None => Ok(()),
        }
    }

    /// What a tag stays with, where what the index says was refused here.
    pub(crate) async fn instead_of_refused<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        found: &Digest,
    ) -> Option<Digest> {
        if reference.digest().is_some() || !self.options.keep {
            return None;
        }
        let key = ReferenceRecord::key(origins.first()?.id(), reference);
        // A back end that cannot be read has refused nothing.
        let document = self.backend.document(&key).await.ok()??;
        let record: ReferenceRecord = crate::record::read(&document)?;
        (record.refused.as_ref() == Some(found)).then_some(record.active)
    }
}

impl KnownIndex {
    fn resolved(self, source: Source) -> Resolved {
        Resolved {
            index: self.json,
            source,
            keep: true,
        }
    }
}

/// The index is kept under the first mirror.
fn index_key<O: Origin>(origins: &[O], reference: &Reference) -> Result<String> {
    let origin = origins.first().ok_or_else(no_origin)?;
    Ok(key(INDEXES, origin.id(), &origin.index_key(reference)))
}

/// An answer that is no index must not take the place of one: a hotel's login page, say.
fn check(asked: Asked, conditional: bool) -> Result<Asked> {
    if matches!(asked, Asked::Unchanged(_)) && !conditional {
        bail!(
            Network,
            "the registry says that its index has not changed, but was asked for all of it"
        );
    }
    if let Asked::Changed { index, .. } = &asked {
        if index.trim_ascii_start().first() == Some(&b'<') {
            bail!(
                InvalidManifest,
                "the server answered with an HTML page instead of the registry's file; check the address"
            );
        }
        if index.len() as u64 > MAX_INDEX_BYTES {
            bail!(
                InvalidManifest,
                "index.json has more than {MAX_INDEX_BYTES} bytes"
            );
        }
        Index::from_json(index)?;
    }
    Ok(asked)
}

/// Nobody who could know has answered.
fn unanswered(error: &Error) -> bool {
    use ErrorCode as C;
    matches!(
        error.code(),
        C::Network
            | C::NotFound
            | C::Storage
            | C::InvalidManifest
            | C::InvalidJson
            | C::UnsupportedFormatVersion
            | C::Timeout
    )
}
