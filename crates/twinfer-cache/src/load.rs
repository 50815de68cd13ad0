//! Loading a package through the cache: resolve, admit, fetch and verify, one way for page,
//! component, host and command line.

use std::cell::RefCell;
use std::collections::HashMap;

use futures_util::stream::{StreamExt, iter};
use twinfer::{Error, ErrorCode, Result};
use twinfer_package::{
    Admission, Content, Decision, Descriptor, Digest, Package, PackageReader, Parts, Reference,
    Seen, TrustPolicy, media,
};

use crate::cache::use_lock;
use crate::origin::no_origin;
use crate::resolve::Source;
use crate::{Backend, Cache, Env, Event, Listener, LockMode, Origin, Policy, Wanted};

/// What a load wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// How the reference is looked up.
    pub policy: Policy,
    /// The trust policy, and what the caller knows of time and past; `None` admits everything
    /// that is whole.
    pub trust: Option<(&'a TrustPolicy, Seen)>,
    /// Which layers.
    pub parts: Parts,
    /// Do not remember the package as what the tag is used with: activating it does,
    /// once it has proved itself.
    pub candidate: bool,
}

/// A package that came through the cache.
pub struct Loaded<L> {
    /// The package.
    pub package: Package,
    /// What the trust policy decided, where there is one.
    pub decision: Option<Decision>,
    /// How the reference was looked up; `None` for a digest, which needs no looking up.
    pub source: Option<Source>,
    /// The package is not evicted while this lives; `None` where nothing is kept.
    pub lease: Option<L>,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// Loads a package.
    ///
    /// What a kept index leads to may be gone from the registry, or be refused by the trust
    /// policy: then the registry is asked, once, before that is an error.
    ///
    /// # Errors
    /// Those of [`Cache::resolve`], [`Cache::get`], [`Admission`] and [`PackageReader`]. That
    /// something cannot be kept is none: there is a [`Event::NotKept`], with `out_of_space`
    /// before anything is fetched that cannot fit.
    pub async fn load<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        options: &LoadOptions<'_>,
        listen: Listener<'_>,
    ) -> Result<Loaded<B::Lock>> {
        let run = Run {
            cache: self,
            origins,
            reference,
            options,
            listen,
        };
        let mut source = None;
        let first = run.load(options.policy, &mut source).await;
        let kept = matches!(source, Some(Source::Fresh | Source::Stale));
        let loaded = match first {
            Err(error) if kept && may_be_old(&error) => {
                // A dead network says less than the first reason does.
                match run.load(Policy::Online, &mut source).await {
                    Err(_) if source == Some(Source::LastGood) => Err(error),
                    other => other,
                }
            }
            other => other,
        };
        self.save_statistics().await;
        let mut loaded = loaded.map_err(|error| error.context(reference))?;
        loaded.source = source;
        Ok(loaded)
    }

    /// Brings what a load would want into the cache, without having it in memory, and gives the
    /// digest of the package. It is not remembered as what the tag is used with.
    ///
    /// # Errors
    /// Those of [`Cache::load`], and `out_of_space`, `storage`: what cannot be kept was fetched
    /// for nothing.
    pub async fn prefetch<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        options: &LoadOptions<'_>,
        listen: Listener<'_>,
    ) -> Result<Digest> {
        let run = Run {
            cache: self,
            origins,
            reference,
            options,
            listen,
        };
        let fetched = run.prefetch().await;
        self.save_statistics().await;
        fetched.map_err(|error| error.context(reference))
    }

    /// A further layer of a package that was loaded before, such as its golden examples. It is
    /// kept as long as the package is.
    ///
    /// # Errors
    /// Those of [`Cache::get`].
    pub async fn part<O: Origin>(
        &self,
        origins: &[O],
        package: &Digest,
        part: &Descriptor,
        policy: Policy,
        listen: Listener<'_>,
    ) -> Result<Content> {
        if self.options.keep
            && let Err(error) = self.note_part(package, part).await
        {
            listen(Event::NotKept { error: &error });
        }
        let wanted = Wanted::from(part);
        match policy {
            Policy::Offline => self.only_kept(&wanted, listen).await,
            _ => self.get(origins, &wanted, listen).await,
        }
    }

    async fn only_kept(&self, wanted: &Wanted, listen: Listener<'_>) -> Result<Content> {
        self.local(wanted, listen).await.ok_or_else(|| {
            twinfer::err!(
                Network,
                "{} is not in the cache, and the registry must not be asked: load it once with the network",
                wanted.label()
            )
        })
    }

    /// Remembers that a tag is used with this package. [`Cache::load`] does that by itself, but
    /// for candidates. A reference with a digest has nothing that could be remembered.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub async fn use_from_now_on<O: Origin>(
        &self,
        origins: &[O],
        reference: &Reference,
        digest: Digest,
    ) -> Result<()> {
        let origin = origins.first().ok_or_else(no_origin)?;
        if reference.digest().is_some() || !self.options.keep {
            return Ok(());
        }
        self.activate(origin.id(), reference, digest).await
    }
}

/// Whether a newer index can cure this error: what was kept of a registry may be too old for what
/// is asked, or for the trust policy.
pub fn may_be_old(error: &Error) -> bool {
    use ErrorCode as C;
    matches!(
        error.code(),
        C::UnknownModel
            | C::UnknownVersion
            | C::MissingBlob
            | C::UnsignedPackage
            | C::InvalidSignature
            | C::UntrustedKey
            | C::UnsignedIndex
            | C::IndexExpired
            | C::IndexReplayed
            | C::RevokedPackage
            | C::VersionTooOld
    )
}

/// How a load stands with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// There is none: what is fetched is not kept.
    None,
    /// There is enough for what is fetched.
    Taken,
    /// All is there.
    NotNeeded,
}

/// A package that may be read.
struct Begun {
    reader: PackageReader,
    decision: Option<Decision>,
    /// What the decision needed: signatures, and what leads to them.
    attached: Vec<(Digest, u64)>,
}

impl Begun {
    fn new(reader: PackageReader) -> Self {
        Self {
            reader,
            decision: None,
            attached: Vec::new(),
        }
    }
}

/// One load.
struct Run<'a, B, E, O> {
    cache: &'a Cache<B, E>,
    origins: &'a [O],
    reference: &'a Reference,
    options: &'a LoadOptions<'a>,
    listen: Listener<'a>,
}

impl<B: Backend, E: Env, O: Origin> Run<'_, B, E, O> {
    async fn load(&self, policy: Policy, source: &mut Option<Source>) -> Result<Loaded<B::Lock>> {
        let Begun {
            mut reader,
            decision,
            attached,
        } = self.begin(policy, source).await?;
        let digest = *reader.digest();
        let lease = self.lease(&digest).await;
        let needs = self.get_manifest(&mut reader).await?;
        let room = self.prepare(&reader, attached, &needs).await;
        self.get_all(&mut reader, &needs, room != Room::None)
            .await?;
        let package = reader.finish()?;
        package.check_reference(self.reference)?;
        if !self.options.candidate {
            self.remember(&digest).await;
        }
        if room == Room::Taken
            && let Err(error) = self.cache.shrink().await
        {
            (self.listen)(Event::NotKept { error: &error });
        }
        Ok(Loaded {
            package,
            decision,
            source: *source,
            lease,
        })
    }

    async fn prefetch(&self) -> Result<Digest> {
        let begun = self.begin(self.options.policy, &mut None).await?;
        let mut reader = begun.reader;
        let digest = *reader.digest();
        let _lease = self.lease(&digest).await;
        let needs = self.get_manifest(&mut reader).await?;
        self.note(&reader, begun.attached, &needs).await?;
        self.cache.make_room(&needs).await?;
        for descriptor in &needs {
            let wanted = Wanted::from(descriptor);
            self.cache
                .ensure(self.origins, &wanted, self.listen)
                .await?;
        }
        Ok(digest)
    }

    /// The manifest first: it says what else is needed.
    async fn get_manifest(&self, reader: &mut PackageReader) -> Result<Vec<Descriptor>> {
        for descriptor in reader.needs() {
            if descriptor.digest == *reader.digest() {
                reader.supply_content(self.get(&descriptor, true, self.listen).await?)?;
            }
        }
        Ok(reader.needs())
    }

    /// Begins with a manifest of which only the digest is known.
    async fn begin_with(&self, digest: &Digest) -> Result<Begun> {
        let wanted = Wanted::manifest(*digest);
        let content = self.get_wanted(&wanted, true, self.listen).await?;
        let descriptor = Descriptor::new(media::MANIFEST, content.bytes());
        let mut reader = PackageReader::new(descriptor)?.parts(self.options.parts);
        reader.supply_content(content)?;
        Ok(Begun::new(reader))
    }

    /// A candidate is what the registry says. Everybody else stays with what proved itself.
    async fn instead_of_refused(&self, index: &[u8]) -> Option<Digest> {
        if self.options.candidate {
            return None;
        }
        let found = twinfer_package::resolve(index, self.reference).ok()?.digest;
        let (origins, reference) = (self.origins, self.reference);
        let instead = self.cache.instead_of_refused(origins, reference, &found);
        let active = instead.await?;
        (self.listen)(Event::HeldBack {
            refused: &found,
            active: &active,
        });
        Some(active)
    }

    /// Looks the reference up, and lets the trust policy decide.
    async fn begin(&self, policy: Policy, source: &mut Option<Source>) -> Result<Begun> {
        let pinned = self.reference.digest();
        if let (Some(digest), None) = (pinned, self.options.trust) {
            return self.begin_with(digest).await;
        }
        let resolved = self
            .cache
            .resolve(self.origins, self.reference, policy, self.listen)
            .await?;
        *source = Some(resolved.source);
        let instead = self.instead_of_refused(&resolved.index).await;
        let reference = match instead {
            Some(digest) if self.options.trust.is_none() => return self.begin_with(&digest).await,
            Some(digest) => &self.reference.clone().pinned(digest),
            None => self.reference,
        };
        let Some((trust, seen)) = self.options.trust else {
            let descriptor = twinfer_package::resolve(&resolved.index, self.reference)?;
            let reader = PackageReader::new(descriptor)?.parts(self.options.parts);
            return Ok(Begun::new(reader));
        };
        let mut admission = Admission::new(&resolved.index, reference, trust, seen)?;
        let mut attached = Vec::new();
        loop {
            let needs = admission.needs();
            if needs.is_empty() {
                let (reader, decision) = admission.finish()?.reader(self.options.parts)?;
                return Ok(Begun {
                    reader,
                    decision: Some(decision),
                    attached,
                });
            }
            for descriptor in needs {
                let content = self.get(&descriptor, true, self.listen).await?;
                attached.push((descriptor.digest, descriptor.size));
                admission.supply(&descriptor.digest, content.into_bytes())?;
            }
        }
    }

    async fn get(
        &self,
        descriptor: &Descriptor,
        keep: bool,
        listen: Listener<'_>,
    ) -> Result<Content> {
        self.get_wanted(&Wanted::from(descriptor), keep, listen)
            .await
    }

    async fn get_wanted(
        &self,
        wanted: &Wanted,
        keep: bool,
        listen: Listener<'_>,
    ) -> Result<Content> {
        match self.options.policy {
            Policy::Offline => self.cache.only_kept(wanted, listen).await,
            _ => {
                self.cache
                    .get_and_keep(self.origins, wanted, keep, listen)
                    .await
            }
        }
    }

    /// Nobody evicts what is in use. A place that cannot be locked is used without.
    async fn lease(&self, digest: &Digest) -> Option<B::Lock> {
        if !self.cache.options.keep {
            return None;
        }
        self.cache
            .wait_for(&use_lock(digest), LockMode::Shared, || {})
            .await
            .ok()
    }

    async fn note(
        &self,
        reader: &PackageReader,
        attached: Vec<(Digest, u64)>,
        needs: &[Descriptor],
    ) -> Result<()> {
        let mut blobs = attached;
        blobs.extend(needs.iter().map(|d| (d.digest, d.size)));
        blobs.push((*reader.digest(), reader.manifest_size()));
        self.cache
            .note_package(reader.digest(), self.reference.name(), &blobs)
            .await
    }

    /// Notes what belongs to the package before any of it is there, so that no eviction takes
    /// it for left-overs, and makes room. Without room it is loaded all the same, and not kept.
    async fn prepare(
        &self,
        reader: &PackageReader,
        attached: Vec<(Digest, u64)>,
        needs: &[Descriptor],
    ) -> Room {
        if !self.cache.options.keep {
            return Room::None;
        }
        let room = async {
            self.note(reader, attached, needs).await?;
            match self.options.policy {
                Policy::Offline => Ok(false),
                _ => self.cache.make_room(needs).await,
            }
        };
        match room.await {
            Ok(true) => Room::Taken,
            Ok(false) => Room::NotNeeded,
            Err(error) => {
                (self.listen)(Event::NotKept { error: &error });
                Room::None
            }
        }
    }

    /// Several at a time; progress is that of all together.
    async fn get_all(
        &self,
        reader: &mut PackageReader,
        needs: &[Descriptor],
        keep: bool,
    ) -> Result<()> {
        let total = needs.iter().map(|d| d.size).sum();
        let loaded: RefCell<HashMap<Digest, u64>> = RefCell::default();
        let listen = |event: Event<'_>| match event {
            Event::Progress {
                wanted,
                loaded: bytes,
                cached,
                ..
            } => {
                loaded.borrow_mut().insert(wanted.digest, bytes);
                let loaded = loaded.borrow().values().sum();
                (self.listen)(Event::Progress {
                    wanted,
                    loaded,
                    total: Some(total),
                    cached,
                });
            }
            other => (self.listen)(other),
        };
        let mut contents = iter(needs)
            .map(|descriptor| self.get(descriptor, keep, &listen))
            .buffer_unordered(self.cache.options.parallel.max(1));
        while let Some(content) = contents.next().await {
            reader.supply_content(content?)?;
        }
        Ok(())
    }

    async fn remember(&self, digest: &Digest) {
        let (Some(origin), None) = (self.origins.first(), self.reference.digest()) else {
            return;
        };
        if !self.cache.options.keep {
            return;
        }
        if let Err(error) = self
            .cache
            .activate(origin.id(), self.reference, *digest)
            .await
        {
            (self.listen)(Event::NotKept { error: &error });
        }
    }
}
