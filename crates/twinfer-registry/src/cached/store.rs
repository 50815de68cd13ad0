//! A registry whose content and answers are kept.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_cache::{
    Cache, Event, FolderBackend, FolderLock, Listing, Options, Policy, Removed, Resolved, Source,
    Verified, Wanted,
};
use twinfer_package::{Content, Descriptor, Digest, Index, Reference, Store, media};

use super::env::SystemEnv;
use super::origin::{RegistryOrigin, single_attempts};
use super::used::{Answer, Package, Used};
use crate::entries::index_json;
use crate::net::Net;
use crate::oci::read::describe;
use crate::{Location, NetOptions};

/// Where and how to keep.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// The folder of the cache, shared by any number of processes.
    pub folder: PathBuf,
    /// How references are looked up.
    pub policy: Policy,
    /// Bytes that the cache holds at most; `None` for as much as there is.
    pub quota: Option<u64>,
    /// Keep content and take it from the cache. Without, the folder is left alone.
    pub keep: bool,
}

type Listen = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// A registry, and mirrors of it, behind the versioned cache. What it gives was verified.
///
/// Its methods wait for the network: they are not for threads of an asynchronous runtime.
pub struct CachedStore {
    pub(super) cache: Cache<FolderBackend, SystemEnv>,
    pub(super) origins: Vec<RegistryOrigin>,
    policy: Policy,
    candidates: bool,
    pub(super) listen: Listen,
    used: Mutex<Used<FolderLock>>,
    // Last: what is above may have to do with its runtime.
    pub(super) net: Arc<Net>,
}

impl CachedStore {
    /// The registry at the first of these locations, with the others as its mirrors: what one
    /// cannot give is asked of the next. Without any, the cache can only be looked after.
    ///
    /// # Errors
    /// As [`Location::open`].
    pub fn new(
        locations: &[Location],
        settings: CacheSettings,
        options: &NetOptions,
    ) -> Result<Self> {
        let net = single_attempts(options)?;
        let origins = locations
            .iter()
            .map(|location| RegistryOrigin::with_net(location, net.clone()));
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let defaults = Options::default();
        let cache_options = Options {
            quota: settings.quota,
            keep: settings.keep,
            attempts: options.attempts,
            backoff: milliseconds(options.backoff),
            stall: defaults.stall.min(milliseconds(options.read_timeout)),
            ..defaults
        };
        Ok(Self {
            origins: origins.collect::<Result<_>>()?,
            cache: Cache::new(
                FolderBackend::new(settings.folder),
                SystemEnv,
                cache_options,
            ),
            policy: settings.policy,
            candidates: false,
            listen: Box::new(|_| ()),
            used: Mutex::default(),
            net,
        })
    }

    /// The same, telling what happens.
    #[must_use]
    pub fn listen(mut self, listen: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        self.listen = Box::new(listen);
        self
    }

    /// The same for packages that have yet to prove themselves: that they were read does not
    /// make them what their tag is used with. [`CachedStore::use_from_now_on`] does.
    #[must_use]
    pub fn candidates(mut self) -> Self {
        self.candidates = true;
        self
    }

    /// The folder of the cache. Its blobs are where an image layout has them.
    pub fn folder(&self) -> &Path {
        self.cache.backend().root()
    }

    /// Remembers that a tag is used with this package: that one and the one before it are not
    /// evicted.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub fn use_from_now_on(&self, reference: &Reference, digest: Digest) -> Result<()> {
        let remember = self.cache.use_from_now_on(&self.origins, reference, digest);
        self.net.run(remember)
    }

    /// Notes that these contents belong to a package that this process uses until its end, and
    /// makes room for what of them is not there: nobody evicts them meanwhile.
    ///
    /// # Errors
    /// `out_of_space`, `storage`.
    pub fn hold_package(
        &self,
        name: &str,
        manifest: &Descriptor,
        contents: &[Descriptor],
    ) -> Result<()> {
        let lease = self.net.run(self.cache.hold(name, manifest, contents))?;
        self.used().leases.push(lease);
        Ok(())
    }

    /// What the cache holds.
    ///
    /// # Errors
    /// `storage`.
    pub fn list(&self) -> Result<Listing> {
        self.net.run(self.cache.list())
    }

    /// Reads every blob and removes what is damaged.
    ///
    /// # Errors
    /// `storage`.
    pub fn verify(&self) -> Result<Verified> {
        self.net.run(self.cache.verify())
    }

    /// Removes what was not used lately until at most this many bytes are left.
    ///
    /// # Errors
    /// `storage`.
    pub fn prune(&self, to_bytes: u64) -> Result<Removed> {
        self.net.run(self.cache.prune(to_bytes))
    }

    /// Removes everything but what is in use this moment.
    ///
    /// # Errors
    /// `storage`.
    pub fn clear(&self) -> Result<Removed> {
        self.net.run(self.cache.clear())
    }

    pub(super) fn used(&self) -> MutexGuard<'_, Used<FolderLock>> {
        // Nothing that holds the lock leaves it half changed.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask for content.
    fn origins(&self) -> &[RegistryOrigin] {
        match self.policy {
            Policy::Offline => &[],
            _ => &self.origins,
        }
    }

    async fn look_up(&self, reference: &Reference) -> Result<Resolved> {
        let digest = reference.digest();
        let policy = match (digest, self.policy) {
            // What a digest is never changes.
            (Some(_), Policy::Online) => Policy::StaleWhileRevalidate,
            (_, policy) => policy,
        };
        let resolve = async |policy| {
            self.cache
                .resolve(&self.origins, reference, policy, &self.listen)
                .await
        };
        let has = |resolved: &Resolved| {
            Index::from_json(&resolved.index).is_ok_and(|index| index.resolve(reference).is_ok())
        };
        let resolved = resolve(policy).await;
        match (resolved, digest) {
            (Ok(resolved), _) if has(&resolved) => Ok(resolved),
            (Ok(resolved), None) if matches!(resolved.source, Source::Fresh | Source::Stale) => {
                // Perhaps it was published meanwhile.
                let asked = resolve(Policy::Online).await;
                Ok(asked
                    .ok()
                    .filter(|a| a.source == Source::Registry)
                    .unwrap_or(resolved))
            }
            (resolved, None) => resolved,
            (resolved, Some(digest)) => match self.entry_of(reference, digest).await {
                Ok(index) => Ok(Resolved {
                    index,
                    source: Source::Fresh,
                    keep: true,
                }),
                // The index says what there is instead.
                Err(error) => resolved.map_err(|_| error),
            },
        }
    }

    /// An index with the entry of a manifest that no index names any more.
    async fn entry_of(&self, reference: &Reference, digest: &Digest) -> Result<Vec<u8>> {
        let name = reference.name();
        for origin in &self.origins {
            origin.about(name, &Index::default());
        }
        let wanted = Wanted::manifest(*digest);
        let content = self.fetch(&wanted, true).await?;
        let (descriptor, _) = describe(&wanted.label(), media::MANIFEST, content.into_bytes())?;
        let tag = reference.tag().map(|tag| format!("{name}:{tag}"));
        index_json(&[(tag, descriptor)])
    }

    /// Remembers what a reference points to, and where its content is.
    pub(super) fn remember(&self, reference: &Reference, resolved: Resolved) {
        if let Ok(index) = Index::from_json(&resolved.index) {
            for origin in &self.origins {
                origin.about(reference.name(), &index);
            }
        }
        self.used().answer(Answer {
            reference: reference.clone(),
            index: resolved.index,
            source: resolved.source,
        });
    }

    /// Notes what content is wanted of which package; whether there is room to keep it.
    async fn hold(&self, wanted: &[Descriptor]) -> bool {
        if !self.cache.options().keep {
            return false;
        }
        let owner = wanted.first().and_then(|d| self.used().owner(&d.digest));
        let Some(Package {
            reference,
            manifest,
        }) = owner
        else {
            return true;
        };
        match self.cache.hold(reference.name(), &manifest, wanted).await {
            Ok(lease) => {
                self.used().leases.push(lease);
                true
            }
            Err(error) => {
                (self.listen)(Event::NotKept { error: &error });
                false
            }
        }
    }

    async fn get(&self, descriptor: &Descriptor, keep: bool) -> Result<Content> {
        let content = self.fetch(&Wanted::from(descriptor), keep).await?;
        self.learn(descriptor, &content);
        Ok(content)
    }

    async fn fetch(&self, wanted: &Wanted, keep: bool) -> Result<Content> {
        let got = self
            .cache
            .get_and_keep(self.origins(), wanted, keep, &self.listen)
            .await;
        got.map_err(|error| self.explain(error, wanted))
    }

    fn explain(&self, error: Error, wanted: &Wanted) -> Error {
        if self.policy != Policy::Offline || error.code() != ErrorCode::Network {
            return error;
        }
        err!(
            Network,
            "{} is not in the cache, and the registry must not be asked: load it once with the network",
            wanted.label()
        )
    }

    fn learn(&self, descriptor: &Descriptor, content: &Content) {
        let package = self.used().learn(descriptor, content.bytes());
        for origin in self.origins.iter().filter(|_| package.is_some()) {
            let name = package.as_ref().map(|p| p.reference.name());
            origin.learn(name.unwrap_or_default(), content.digest(), content.bytes());
        }
    }

    /// The layers of a package were got: its tag is used with it.
    async fn activate(&self, wanted: &[Descriptor]) {
        let owner = wanted.first().and_then(|d| self.used().owner(&d.digest));
        let Some(package) = owner.filter(|package| {
            !self.candidates
                && self.cache.options().keep
                && package.reference.digest().is_none()
                && wanted.iter().all(|d| d.digest != package.manifest.digest)
        }) else {
            return;
        };
        let (reference, digest) = (&package.reference, package.manifest.digest);
        let used = self
            .cache
            .use_from_now_on(&self.origins, reference, digest)
            .await;
        if let Err(error) = used {
            (self.listen)(Event::NotKept { error: &error });
        }
    }

    /// A file of the cache whose content is right this moment.
    async fn verified_file(&self, descriptor: &Descriptor) -> Result<File> {
        let wanted = Wanted::from(descriptor);
        let path = self.folder().join("blobs/sha256").join(wanted.digest.hex());
        // What is damaged is fetched once more.
        for _ in 0..2 {
            let ensured = self
                .cache
                .ensure(self.origins(), &wanted, &self.listen)
                .await;
            ensured.map_err(|error| self.explain(error, &wanted))?;
            let file = File::open(&path);
            if self.cache.check(&wanted, &self.listen).await? {
                return file.map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()));
            }
        }
        bail!(
            Storage,
            "{} is damaged again and again: is the disk in order?",
            path.display()
        )
    }
}

impl Store for CachedStore {
    /// Of static hosts and folders through the cache; of OCI registries as they are, because
    /// they have no such document.
    fn index(&self) -> Result<Vec<u8>> {
        let all = Reference::new("all", "index")?;
        match self.origins.first() {
            Some(origin) if !origin.has_one_index() && self.policy != Policy::Offline => {
                let whole = self.net.run(origin.whole_index())?;
                whole.ok_or_else(|| err!(Internal, "an OCI registry gave no index"))
            }
            Some(origin) if !origin.has_one_index() => bail!(
                Network,
                "what an OCI registry has is not in the cache, and it must not be asked"
            ),
            _ => {
                let resolve = self
                    .cache
                    .resolve(&self.origins, &all, self.policy, &self.listen);
                Ok(self.net.run(resolve)?.index)
            }
        }
    }

    fn index_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        let known = self.used().with_digest(reference);
        let resolved = match known {
            Some(answer) => Resolved {
                index: answer.index,
                source: answer.source,
                keep: true,
            },
            None => self.net.run(self.look_up(reference))?,
        };
        let index = resolved.index.clone();
        self.remember(reference, resolved);
        Ok(index)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let got = self.net.run(async {
            let keep = self.hold(std::slice::from_ref(descriptor)).await;
            self.get(descriptor, keep).await
        });
        got.map(Content::into_bytes)
    }

    fn contents(&self, wanted: &[Descriptor]) -> Result<Vec<Content>> {
        self.net.run(async {
            let keep = self.hold(wanted).await;
            let contents = iter(wanted)
                .map(|descriptor| self.get(descriptor, keep))
                .buffered(self.cache.options().parallel.max(1))
                .try_collect()
                .await?;
            self.activate(wanted).await;
            Ok(contents)
        })
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let on_disk = self.net.run(async {
            match self.hold(std::slice::from_ref(descriptor)).await {
                true => self.verified_file(descriptor).await.map(Some),
                false => Ok(None),
            }
        })?;
        match on_disk {
            Some(file) => Ok(Box::new(file)),
            None => {
                let content = self.net.run(self.get(descriptor, false))?;
                Ok(Box::new(Cursor::new(content.into_bytes())))
            }
        }
    }
}

impl Drop for CachedStore {
    fn drop(&mut self) {
        // Waiting is not possible on a thread of a runtime; counts are not worth more.
        if tokio::runtime::Handle::try_current().is_err() {
            self.net.run(self.cache.save_statistics());
        }
    }
}
