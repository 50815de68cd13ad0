//! The registry that a server follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use twinfer::{Error, Result, bail};
use twinfer_cache::{Event, Policy};
use twinfer_host::{Log, LogLevel};
use twinfer_package::{Digest, FolderStore, Index, Reference, Store};
use twinfer_registry::{CacheSettings, CachedStore, Location, OciStore, closure};

use crate::registry::Registry;

/// Where the content is.
enum Content {
    Folder(FolderStore),
    Remote(Box<Remote>),
}

/// A registry on a network, behind the versioned cache. Its cache has a folder of its own: the
/// host serves what is in there, and nothing of other registries may be in it.
struct Remote {
    cached: CachedStore,
    /// Where names are asked for one by one.
    oci: Option<OciStore>,
    /// Why nobody answered, since this was last looked at.
    unreachable: Arc<Mutex<Option<Error>>>,
}

impl Remote {
    fn open(registry: &Registry, folder: PathBuf, log: &Log) -> Result<Self> {
        let unreachable: Arc<Mutex<Option<Error>>> = Arc::default();
        let settings = CacheSettings {
            folder,
            // What is not newer than the last answer changes nothing here.
            policy: match registry.policy() {
                Policy::Offline => Policy::Offline,
                _ => Policy::Online,
            },
            quota: None,
            keep: true,
        };
        let (noted, log) = (unreachable.clone(), log.clone());
        let listen = move |event: Event<'_>| match event {
            Event::Unreachable { error } => {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.get_or_insert_with(|| error.clone());
            }
            Event::Damaged { wanted, error } => tell(&log, "cache_damaged", &wanted.label(), error),
            Event::NotKept { error } => tell(&log, "cache_not_kept", "", error),
            _ => {}
        };
        let cached = CachedStore::new(&registry.locations(), settings, registry.net())?
            .candidates()
            .listen(listen);
        let oci = match registry.location() {
            Location::Oci { host, prefix } => Some(OciStore::new(host, prefix, registry.net())?),
            _ => None,
        };
        Ok(Self {
            cached,
            oci,
            unreachable,
        })
    }

    /// That the last good answer was used is an error here: what is served is approved, and
    /// needs no answer.
    fn asked<T>(&self, ask: impl FnOnce(&CachedStore) -> Result<T>) -> Result<T> {
        let take = || {
            let noted = self.unreachable.lock();
            noted.unwrap_or_else(PoisonError::into_inner).take()
        };
        take();
        let answer = ask(&self.cached)?;
        match take() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// What a registry that is asked by name has.
    fn oci_index(&self, name: &str, tags: Option<&BTreeSet<String>>) -> Result<Index> {
        let tags = match (tags, &self.oci) {
            (Some(tags), _) => tags,
            (None, Some(oci)) => return Index::from_json(&oci.index_of_name(name)?),
            (None, None) => bail!(Internal, "{name} was asked of no registry"),
        };
        let mut found = Index::default();
        for tag in tags {
            let reference = Reference::new(name, tag)?;
            let part = self.asked(|cached| cached.index_of(&reference))?;
            found.merge(&Index::from_json(&part)?);
        }
        Ok(found)
    }
}

fn tell(log: &Log, event: &str, what: &str, error: &Error) {
    let fields =
        json!({"content": what, "code": error.code().as_str(), "message": error.message()});
    log.event(LogLevel::Warn, event, fields);
}

/// A registry, as far as it is served.
pub struct Source {
    location: Location,
    content: Content,
    models: Vec<Reference>,
}

impl Source {
    /// The registry with these models, or all that it has. `home` gives the folder of a
    /// registry on a network, by what this is called.
    ///
    /// # Errors
    /// `invalid_parameter` for a model with a digest; those of opening the registry.
    pub fn open(
        registry: &Registry,
        models: Vec<Reference>,
        log: &Log,
        home: impl FnOnce(&str) -> Result<PathBuf>,
    ) -> Result<Self> {
        if let Some(pinned) = models.iter().find(|model| model.digest().is_some()) {
            bail!(
                InvalidParameter,
                "`{pinned}` has a digest, which never changes: name a model, or a model and a tag"
            );
        }
        let location = registry.location().clone();
        let content = match location.folder() {
            Some(folder) => Content::Folder(FolderStore::new(folder)),
            None => {
                let home = home(&identity(&location, &models))?;
                Content::Remote(Box::new(Remote::open(registry, home.join("content"), log)?))
            }
        };
        Ok(Self {
            location,
            content,
            models,
        })
    }

    /// Whether its content comes over a network.
    pub fn is_remote(&self) -> bool {
        matches!(self.content, Content::Remote(_))
    }

    /// Notes that everything of a name belongs together and is in use.
    ///
    /// # Errors
    /// Those of reading its manifests; `storage`.
    pub fn hold(&self, name: &str, part: &Index) -> Result<()> {
        let Content::Remote(remote) = &self.content else {
            return Ok(());
        };
        let mut packages = Vec::new();
        for tag in part.tags() {
            packages.push(part.resolve(&Reference::new(&tag.name, &tag.tag)?)?);
        }
        let mut roots = packages.clone();
        roots.extend(part.attached()?);
        let contents = closure(&remote.cached, &roots)?;
        packages
            .iter()
            .try_for_each(|manifest| remote.cached.hold_package(name, manifest, &contents))
    }

    /// Notes what a tag is served with: that and the one before it stay for a rollback.
    ///
    /// # Errors
    /// `storage`.
    pub fn use_from_now_on(&self, reference: &Reference, digest: Digest) -> Result<()> {
        match &self.content {
            Content::Folder(_) => Ok(()),
            Content::Remote(remote) => remote.cached.use_from_now_on(reference, digest),
        }
    }

    /// Removes content of versions that are neither served nor the one before, of a registry
    /// whose content is kept.
    ///
    /// # Errors
    /// `storage`.
    pub fn prune(&self) -> Result<()> {
        match &self.content {
            Content::Folder(_) => Ok(()),
            Content::Remote(remote) => remote.cached.prune(0).map(drop),
        }
    }

    /// What gives the content.
    pub fn store(&self) -> &dyn Store {
        match &self.content {
            Content::Folder(store) => store,
            Content::Remote(remote) => &remote.cached,
        }
    }

    /// The folder with the blobs.
    pub fn folder(&self) -> &Path {
        match &self.content {
            Content::Folder(store) => store.root(),
            Content::Remote(remote) => remote.cached.folder(),
        }
    }

    /// Where it is, and what of it is served: the same for each start with the same words.
    pub fn identity(&self) -> String {
        identity(&self.location, &self.models)
    }

    /// The index as the registry has it now, as far as it is served.
    ///
    /// # Errors
    /// `network`, `unauthorized`, `storage`; that it is malformed.
    pub fn index(&self) -> Result<Index> {
        if self.models.is_empty() {
            return self.whole_index();
        }
        let by_name = match &self.content {
            Content::Remote(remote) if remote.oci.is_some() => BTreeMap::new(),
            _ => self.whole_index()?.by_name(),
        };
        let mut served = Index::default();
        for (name, tags) in self.wanted() {
            let part = match &self.content {
                Content::Remote(remote) if remote.oci.is_some() => {
                    remote.oci_index(name, tags.as_ref())?
                }
                _ => by_name.get(name).cloned().unwrap_or_default(),
            };
            served.merge(&match tags {
                Some(tags) => part.of_tags(&tags),
                None => part,
            });
        }
        Ok(served)
    }

    fn whole_index(&self) -> Result<Index> {
        let json = match &self.content {
            Content::Folder(store) => store.index()?,
            Content::Remote(remote) => remote.asked(Store::index)?,
        };
        Index::from_json(&json)
    }

    /// The names that are served, each with its tags, or all of them.
    fn wanted(&self) -> BTreeMap<&str, Option<BTreeSet<String>>> {
        let mut wanted: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
        for model in &self.models {
            let tags = wanted.entry(model.name()).or_insert(Some(BTreeSet::new()));
            match (model.tag(), &mut *tags) {
                (Some(tag), Some(tags)) => drop(tags.insert(tag.to_owned())),
                _ => *tags = None,
            }
        }
        wanted
    }
}

/// What state and content of a server go by: where the registry is, and what of it is served.
pub fn identity(location: &Location, models: &[Reference]) -> String {
    let place = match location.folder() {
        Some(folder) => std::path::absolute(folder)
            .unwrap_or_else(|_| folder.to_owned())
            .display()
            .to_string(),
        None => location.to_string(),
    };
    let mut models: Vec<String> = models.iter().map(ToString::to_string).collect();
    models.sort();
    format!("{place}\n{}", models.join("\n"))
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.location.fmt(f)
    }
}
