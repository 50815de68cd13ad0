//! What changed under one name, and whether it may be served.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use twinfer::{Error, Result, err};
use twinfer_package::{Digest, Index, Package, Parts, Reference, Store};

use super::approved::View;
use crate::trust::Trust;

/// A tag that points to something new.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The name and the tag.
    pub reference: Reference,
    /// What it pointed to.
    pub from: Option<Digest>,
    /// What it points to.
    pub to: Digest,
}

/// What changed under one name.
#[derive(Debug)]
pub struct Change<'a> {
    /// The name.
    pub name: &'a str,
    /// What is approved.
    pub old: &'a Index,
    /// What the registry has.
    pub new: &'a Index,
    /// Tags that are new or point to something else.
    pub moved: Vec<Moved>,
    /// Tags that are no longer there, with what they pointed to.
    pub gone: BTreeMap<String, Digest>,
}

/// Why a change is not taken.
#[derive(Debug)]
pub struct Refusal {
    /// What was found wanting.
    pub reference: String,
    /// What it would point to.
    pub digest: Option<Digest>,
    /// A code of [`twinfer::ErrorCode`].
    pub code: String,
    /// What was wrong.
    pub message: String,
    /// Whether the same content may pass at another time.
    pub passing: bool,
}

impl Refusal {
    /// Of an error of ours.
    pub fn new(reference: String, digest: Option<Digest>, error: &Error) -> Self {
        Self {
            reference,
            digest,
            code: error.code().as_str().into(),
            message: error.message().into(),
            passing: is_passing(error.code().as_str()),
        }
    }

    /// Whether the list of the name's tags itself is not to be trusted: then it is no removal
    /// either when something is not in it.
    pub fn is_of_the_list(&self) -> bool {
        use twinfer::ErrorCode as C;
        [
            C::IndexReplayed,
            C::IndexExpired,
            C::UnsignedIndex,
            C::UntrustedKey,
            C::InvalidSignature,
        ]
        .iter()
        .any(|code| code.as_str() == self.code)
    }
}

/// Whether an error says something of the moment or the place, rather than of the content.
/// A damaged blob may be repaired where it is.
pub fn is_passing(code: &str) -> bool {
    use twinfer::ErrorCode as C;
    [
        C::Network,
        C::Timeout,
        C::Overloaded,
        C::Unauthorized,
        C::Storage,
        C::OutOfSpace,
        C::OutOfMemory,
        C::MissingBlob,
        C::SizeMismatch,
        C::DigestMismatch,
        C::Internal,
    ]
    .iter()
    .any(|passing| passing.as_str() == code)
}

impl<'a> Change<'a> {
    /// What lies between two parts of an index with the same name.
    ///
    /// # Errors
    /// `invalid_reference`, which no tag of an index gives.
    pub fn between(name: &'a str, old: &'a Index, new: &'a Index) -> Result<Self> {
        let tags = |index: &Index| -> BTreeMap<String, Digest> {
            let tags = index.tags().into_iter();
            tags.map(|tag| (tag.tag, tag.digest)).collect()
        };
        let (before, after) = (tags(old), tags(new));
        let mut moved = Vec::new();
        for (tag, to) in &after {
            let from = before.get(tag).copied();
            if from != Some(*to) {
                moved.push(Moved {
                    reference: Reference::new(name, tag)?,
                    from,
                    to: *to,
                });
            }
        }
        let gone = before
            .into_iter()
            .filter(|(tag, _)| !after.contains_key(tag));
        Ok(Self {
            name,
            old,
            new,
            moved,
            gone: gone.collect(),
        })
    }

    /// The packages that answers will come from that came from others before, or from none:
    /// those of moved tags, and the one of the bare name.
    pub fn replacing(&self) -> BTreeSet<Digest> {
        let bare = |index: &Index| {
            let reference: Reference = self.name.parse().ok()?;
            Some(index.resolve(&reference).ok()?.digest)
        };
        let (before, after) = (bare(self.old), bare(self.new));
        let moved = self.moved.iter().filter(|moved| moved.from.is_some());
        let mut digests: BTreeSet<Digest> = moved.map(|moved| moved.to).collect();
        digests.extend(after.filter(|_| before.is_some() && before != after));
        digests
    }

    /// Lets the trust policy decide on every tag, as it would be. A tag that was refused
    /// before, and points to the same as then, may stay so. Gives the highest counter of
    /// signed tags.
    ///
    /// # Errors
    /// A [`Refusal`] of the policy.
    pub fn admit(
        &self,
        store: &dyn Store,
        trust: &Trust,
        last: Option<u64>,
    ) -> Result<Option<u64>, Box<Refusal>> {
        let mut counter = None;
        if trust.policy().is_none() {
            return Ok(counter);
        }
        let view = |index| View::new(index, store);
        for tag in self.new.tags() {
            let decide = |index| {
                let reference = Reference::new(self.name, &tag.tag)?;
                trust.consider(&view(index)?, &reference, last)
            };
            match decide(self.new) {
                Ok(decision) => counter = counter.max(decision.and_then(|d| d.counter)),
                Err(_) if !self.is_moved(&tag.tag) && decide(self.old).is_err() => {}
                Err(error) => {
                    let reference = format!("{}:{}", self.name, tag.tag);
                    return Err(Box::new(Refusal::new(reference, Some(tag.digest), &error)));
                }
            }
        }
        Ok(counter)
    }

    /// Verifies every layer of what the moved tags point to, loads it, and runs its golden
    /// examples: one package in memory at a time.
    ///
    /// # Errors
    /// A [`Refusal`] of the first that is not as it should be.
    pub fn test(&self, store: &dyn Store) -> Result<(), Box<Refusal>> {
        let mut tested = BTreeSet::new();
        for Moved { reference, to, .. } in &self.moved {
            let parts = match tested.insert(*to) {
                true => Parts::All,
                // Only whether it may have this tag too.
                false => Parts::Description,
            };
            let proved = View::new(self.new, store).and_then(|view| prove(&view, reference, parts));
            proved.map_err(|error| {
                Box::new(Refusal::new(reference.to_string(), Some(*to), &error))
            })?;
        }
        Ok(())
    }

    fn is_moved(&self, tag: &str) -> bool {
        self.moved.iter().any(|m| m.reference.tag() == Some(tag))
    }
}

/// Verifies what a reference points to; of all of it, loads it too, and runs its golden examples.
///
/// # Errors
/// What is not as it should be.
pub fn prove(view: &View<'_>, reference: &Reference, parts: Parts) -> Result<()> {
    let test = || {
        let mut package = Package::open_parts(view, reference, parts)?;
        if parts == Parts::All {
            let model = package.take_model()?;
            package.self_test(&model)?.check()?;
        }
        Ok(())
    };
    // No input makes the engine panic that we know of; if one does, it is refused, and the server
    // goes on.
    catch_unwind(AssertUnwindSafe(test))
        .unwrap_or_else(|_| Err(err!(Internal, "the self-test broke off")))
}
