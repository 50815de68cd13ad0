//! Copying packages from any registry to any other.

use std::collections::BTreeMap;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use twinfer::{ErrorCode, Result, bail, err};
use twinfer_package::{
    DerivedEngine, Descriptor, Digest, Index, Manifest, Reference, SIGNED_TAGS, Store, Transaction,
    WritableStore, is_reserved, listed_engines, media, referrers_tag, tag_version, unite_engines,
};

use crate::entries::{Entry, List, entries, find, merge};
use crate::error::label;
use crate::walk::{closure, manifest};

/// How often a transfer begins anew, after what could not be mended on the way.
const ATTEMPTS: u32 = 3;
/// How often the destination may change under our hands.
const ROUNDS: u32 = 5;
/// The largest signed list of tags that is looked into.
const MAX_TAGS_BYTES: u64 = 4 << 20;

/// How to copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Exchange versions that are there with other content.
    pub force: bool,
    /// Leave engines behind that were made for the packages, and take only signatures along.
    pub without_engines: bool,
}

/// What was copied.
#[derive(Debug, Clone, Serialize)]
pub struct Copied {
    /// `name:tag`.
    pub reference: String,
    /// The package.
    pub digest: Digest,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Bytes that were there.
    pub bytes_skipped: u64,
    /// Bytes that the registry took over from another repository.
    pub bytes_mounted: u64,
    /// Manifests that are attached to the package: signatures.
    pub attached: usize,
    /// The signed list of tags was copied, or is there.
    pub signed_tags: bool,
    /// Everything was there before.
    pub unchanged: bool,
}

/// What happens to some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is being sent.
    Sending,
    /// It is there.
    Skipped,
    /// The registry took it over from another repository.
    Mounted,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The package.
    pub reference: &'a str,
    /// The content.
    pub descriptor: &'a Descriptor,
    /// What happens to it.
    pub stage: Stage,
    /// Bytes of it that were sent.
    pub done: u64,
}

/// Copies packages with what is attached to them (signatures) and the signed lists of their
/// tags. Every digest is checked on the way, and nothing is held in memory but a piece of it.
/// Blobs go first, then manifests, tags last.
///
/// A reference by alias takes its version along; one by digest gets the version that the
/// package has.
///
/// # Errors
/// Those of the stores; `unknown_model`, `unknown_version`; `version_exists` when the version
/// is there with other content; `invalid_manifest` and its like for what is no package.
pub fn copy(
    source: &dyn Store,
    dest: &dyn WritableStore,
    references: &[Reference],
    options: &CopyOptions,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Vec<Copied>> {
    references
        .iter()
        .map(|reference| {
            let wanted = Wanted::find(source, reference)?;
            wanted.copy(source, dest, *options, progress)
        })
        .collect()
}

/// A package to copy.
struct Wanted {
    name: String,
    /// The tags that it gets: the one that was asked for first.
    tags: Vec<String>,
    package: Descriptor,
    /// The list of what is attached to it.
    referrers: Option<Descriptor>,
    signed_tags: Option<Descriptor>,
}

impl Wanted {
    fn find(source: &dyn Store, reference: &Reference) -> Result<Self> {
        let at = |e: twinfer::Error| e.context(reference);
        let index = Index::from_json(&source.index_of(reference)?).map_err(at)?;
        let package = index.resolve(reference).map_err(at)?;
        let read = Manifest::from_json(&manifest(source, &package).map_err(at)?).map_err(at)?;
        let entries = entries(&index)?;
        let name = reference.name().to_owned();
        let version = read
            .annotations
            .get("org.opencontainers.image.version")
            .filter(|v| Reference::new(&name, v).is_ok() && tag_version(v).is_some());
        let in_index = entries.iter().find(|e| {
            e.name == name && e.descriptor.digest == package.digest && tag_version(&e.tag).is_some()
        });
        let version = in_index.map(|e| e.tag.clone()).or(version.cloned());
        let mut tags: Vec<String> = reference.tag().map(str::to_owned).into_iter().collect();
        if tags.iter().all(|tag| tag_version(tag).is_none()) {
            tags.extend(version);
        }
        if tags.is_empty() {
            bail!(
                InvalidReference,
                "{reference} has no tag, and the package does not say its version: write name:tag@sha256:…"
            );
        }
        if let Some(tag) = tags.iter().find(|tag| is_reserved(tag)) {
            bail!(
                InvalidReference,
                "{name}:{tag} is no package: copy a version of it"
            );
        }
        let entry = |tag: &str| find(&entries, &name, tag).cloned();
        Ok(Self {
            referrers: entry(&referrers_tag(&package.digest)),
            signed_tags: entry(SIGNED_TAGS),
            name,
            tags,
            package,
        })
    }

    fn copy(
        &self,
        source: &dyn Store,
        dest: &dyn WritableStore,
        options: CopyOptions,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<Copied> {
        let reference = format!("{}:{}", self.name, self.tags[0]);
        // What the destination has of lists, read while nothing is locked.
        let mut known = BTreeMap::new();
        for _ in 0..ROUNDS {
            let change = dest.begin(&self.name)?;
            let index = change.index()?;
            let there = entries(&index)?;
            self.check_versions(&there, options)?;
            let unread = self.lists(&there).find(|d| !known.contains_key(&d.digest));
            if let Some(unread) = unread.cloned() {
                drop(change);
                known.insert(unread.digest, Existing::read(dest, &unread)?);
                continue;
            }
            let transfer = Transfer {
                source,
                change,
                progress,
                engines: None,
                copied: Copied {
                    reference,
                    digest: self.package.digest,
                    bytes_sent: 0,
                    bytes_skipped: 0,
                    bytes_mounted: 0,
                    attached: 0,
                    signed_tags: false,
                    unchanged: true,
                },
            };
            return self.transfer(transfer, options, index, &there, &known);
        }
        bail!(
            Storage,
            "{reference}: somebody else changes it at the same time, again and again: try again"
        );
    }

    /// The lists that are there and would be exchanged.
    fn lists<'a>(&'a self, there: &'a [Entry]) -> impl Iterator<Item = &'a Descriptor> {
        let pairs = [
            (&self.referrers, referrers_tag(&self.package.digest)),
            (&self.signed_tags, SIGNED_TAGS.to_owned()),
        ];
        pairs.into_iter().filter_map(move |(ours, tag)| {
            let ours = ours.as_ref()?;
            find(there, &self.name, &tag).filter(|theirs| theirs.digest != ours.digest)
        })
    }

    fn check_versions(&self, there: &[Entry], options: CopyOptions) -> Result<()> {
        for tag in self.tags.iter().filter(|tag| tag_version(tag).is_some()) {
            let other = find(there, &self.name, tag).filter(|d| d.digest != self.package.digest);
            if let Some(other) = other.filter(|_| !options.force) {
                bail!(
                    VersionExists,
                    "{}:{tag} is there with other content ({}); versions are immutable: raise the version, or exchange it with --force if nobody has it yet",
                    self.name,
                    other.digest
                );
            }
        }
        Ok(())
    }

    fn transfer(
        &self,
        mut transfer: Transfer<'_, '_>,
        options: CopyOptions,
        mut index: Index,
        there: &[Entry],
        known: &BTreeMap<Digest, Existing>,
    ) -> Result<Copied> {
        transfer.all(&closure(
            transfer.source,
            std::slice::from_ref(&self.package),
        )?)?;
        let mut targets: Vec<(String, Descriptor)> = self
            .tags
            .iter()
            .map(|tag| (tag.clone(), self.package.clone()))
            .collect();
        if let Some(list) = &self.referrers {
            let tag = referrers_tag(&self.package.digest);
            let theirs = find(there, &self.name, &tag).and_then(|d| known.get(&d.digest));
            let attached = transfer.attached(list, theirs, options)?;
            targets.extend(attached.map(|list| (tag, list)));
        }
        if let Some(ours) = &self.signed_tags {
            let theirs = find(there, &self.name, SIGNED_TAGS).and_then(|d| known.get(&d.digest));
            transfer.copied.signed_tags = true;
            let older = theirs
                .and_then(|t| t.counter)
                .is_some_and(|theirs| counter(transfer.source, ours).is_none_or(|c| c <= theirs));
            if !older {
                transfer.all(&closure(transfer.source, std::slice::from_ref(ours))?)?;
                targets.push((SIGNED_TAGS.into(), ours.clone()));
            }
        }
        let (mut moved, before) = (false, index.clone());
        for (tag, descriptor) in targets {
            let now = find(there, &self.name, &tag).map(|d| d.digest);
            if now != Some(descriptor.digest) {
                moved = true;
                index.point(&Reference::new(&self.name, &tag)?, &descriptor);
            }
        }
        if let Some(engines) = &transfer.engines {
            index.set_engines(&self.package.digest, engines)?;
        }
        if moved || index != before {
            transfer.copied.unchanged = false;
            transfer.change.commit(&index)?;
        }
        Ok(transfer.copied)
    }
}

/// A list that the destination has.
struct Existing {
    json: Vec<u8>,
    /// Of a signed list of tags.
    counter: Option<u64>,
}

impl Existing {
    fn read(dest: &dyn WritableStore, descriptor: &Descriptor) -> Result<Self> {
        let json = dest.blob(descriptor)?;
        descriptor.verify(&json)?;
        let counter = match descriptor.media_type.as_str() {
            media::MANIFEST => counter_of(&json, |layer| dest.blob(layer)),
            _ => None,
        };
        Ok(Self { json, counter })
    }
}

fn counter(source: &dyn Store, descriptor: &Descriptor) -> Option<u64> {
    let json = manifest(source, descriptor).ok()?;
    counter_of(&json, |layer| source.blob(layer))
}

/// The counter of a signed list of tags; not trusted, only used to keep the newer of two.
fn counter_of(json: &[u8], blob: impl Fn(&Descriptor) -> Result<Vec<u8>>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }
    #[derive(Deserialize)]
    struct Payload {
        counter: u64,
    }
    let layers = crate::walk::children("", json).ok()?;
    let layer = layers.last().filter(|layer| layer.size <= MAX_TAGS_BYTES)?;
    let envelope: Envelope = serde_json::from_slice(&blob(layer).ok()?).ok()?;
    let payload = STANDARD.decode(envelope.payload).ok()?;
    let payload: Payload = serde_json::from_slice(&payload).ok()?;
    Some(payload.counter)
}

/// Content on its way.
struct Transfer<'a, 'p> {
    source: &'a dyn Store,
    change: Box<dyn Transaction + 'a>,
    progress: &'p mut dyn FnMut(&Progress<'_>),
    /// What the list says of derived engines, after the copy.
    engines: Option<Vec<DerivedEngine>>,
    copied: Copied,
}

impl Transfer<'_, '_> {
    fn all(&mut self, descriptors: &[Descriptor]) -> Result<()> {
        descriptors.iter().try_for_each(|d| self.one(d))
    }

    fn report(&mut self, descriptor: &Descriptor, stage: Stage, done: u64) {
        (self.progress)(&Progress {
            reference: &self.copied.reference,
            descriptor,
            stage,
            done,
        });
    }

    fn one(&mut self, descriptor: &Descriptor) -> Result<()> {
        if self.change.has(descriptor)? {
            self.copied.bytes_skipped += descriptor.size;
            self.report(descriptor, Stage::Skipped, descriptor.size);
            return Ok(());
        }
        self.copied.unchanged = false;
        if let Some(origin) = self.source.origin(descriptor)
            && self.change.mount(descriptor, &origin)?
        {
            self.copied.bytes_mounted += descriptor.size;
            self.report(descriptor, Stage::Mounted, descriptor.size);
            return Ok(());
        }
        for attempt in 1.. {
            match self.send(descriptor) {
                // What the stores could not mend by themselves.
                Err(e) if e.code() == ErrorCode::Network && attempt < ATTEMPTS => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        self.copied.bytes_sent += descriptor.size;
        Ok(())
    }

    fn send(&mut self, descriptor: &Descriptor) -> Result<()> {
        let reference = self.copied.reference.clone();
        let progress = &mut *self.progress;
        let mut done = 0;
        let mut told = |count: usize| {
            done += count as u64;
            progress(&Progress {
                reference: &reference,
                descriptor,
                stage: Stage::Sending,
                done,
            });
        };
        told(0);
        let mut content = Counted {
            inner: self.source.open(descriptor)?,
            told: &mut told,
        };
        self.change
            .put(descriptor, &mut content)
            .map_err(|e| e.context(&self.copied.reference))
    }

    /// Copies what is attached to the package; gives the list of all of it, there and here, if
    /// there is anything.
    fn attached(
        &mut self,
        ours: &Descriptor,
        theirs: Option<&Existing>,
        options: CopyOptions,
    ) -> Result<Option<Descriptor>> {
        let mut json = manifest(self.source, ours)?;
        if options.without_engines {
            match without_engines(&json)? {
                Some(rest) => json = rest,
                None => return Ok(None),
            }
        }
        let list: List = serde_json::from_slice(&json)
            .map_err(|e| err!(InvalidManifest, "{}: {e}", label(ours)))?;
        let attached: Vec<Descriptor> = list
            .manifests
            .iter()
            .filter_map(|raw| raw.descriptor())
            .collect();
        self.copied.attached = attached.len();
        self.all(&closure(self.source, &attached)?)?;
        let united = match theirs {
            Some(theirs) => unite_engines(merge(&json, &theirs.json)?, &json),
            None => json,
        };
        self.engines = Some(listed_engines(&united));
        let descriptor = Descriptor::new(media::INDEX, &united);
        if !self.change.has(&descriptor)? {
            self.change.put(&descriptor, &mut united.as_slice())?;
            self.copied.bytes_sent += descriptor.size;
            self.copied.unchanged = false;
        }
        Ok(Some(descriptor))
    }
}

/// A list of referrers without derived engines; nothing where nothing else is in it.
fn without_engines(list: &[u8]) -> Result<Option<Vec<u8>>> {
    let bad = |e: serde_json::Error| err!(InvalidManifest, "a list of referrers: {e}");
    let mut list: serde_json::Value = serde_json::from_slice(list).map_err(bad)?;
    let Some(entries) = list["manifests"].as_array_mut() else {
        return Ok(None);
    };
    let of_engine = [media::ENGINE, media::ENGINE_SIGNATURE].map(serde_json::Value::from);
    entries.retain(|entry| !of_engine.contains(&entry["artifactType"]));
    match entries.is_empty() {
        true => Ok(None),
        false => serde_json::to_vec(&list).map(Some).map_err(bad),
    }
}

/// A stream that tells how much was read of it.
struct Counted<'a> {
    inner: Box<dyn Read + Send + 'a>,
    told: &'a mut dyn FnMut(usize),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.told)(count);
        Ok(count)
    }
}
