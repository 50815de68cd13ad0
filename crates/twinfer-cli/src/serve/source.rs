//! The registry that a server follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinfer::{Result, bail};
use twinfer_package::{FolderStore, Index, Reference, Store};
use twinfer_registry::{Location, OciStore};

use super::kept::Kept;
use crate::registry::Registry;

/// Where the content is.
enum Content {
    Folder(FolderStore),
    /// In a folder of its own, once it was asked for.
    Remote(Kept, Option<Arc<OciStore>>),
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
                let oci = match &location {
                    Location::Oci { host, prefix } => {
                        Some(Arc::new(OciStore::new(host, prefix, registry.net())?))
                    }
                    _ => None,
                };
                let remote: Arc<dyn Store> = match &oci {
                    Some(oci) => oci.clone(),
                    None => location.open(registry.net())?.into(),
                };
                Content::Remote(Kept::new(remote, home.join("content")), oci)
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
        matches!(self.content, Content::Remote(..))
    }

    /// Keeps the content of this index only, of a registry whose content is kept.
    ///
    /// # Errors
    /// `storage`.
    pub fn keep_only(&self, index: &Index) -> Result<()> {
        match &self.content {
            Content::Folder(_) => Ok(()),
            Content::Remote(kept, _) => kept.keep_only(index),
        }
    }

    /// What gives the content.
    pub fn store(&self) -> &dyn Store {
        match &self.content {
            Content::Folder(store) => store,
            Content::Remote(store, _) => store,
        }
    }

    /// The folder with the blobs.
    pub fn folder(&self) -> &Path {
        match &self.content {
            Content::Folder(store) => store.root(),
            Content::Remote(store, _) => store.folder(),
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
            return Index::from_json(&self.store().index()?);
        }
        let mut served = Index::default();
        let (oci, whole) = match &self.content {
            Content::Remote(_, Some(oci)) => (Some(oci), BTreeMap::new()),
            _ => (None, Index::from_json(&self.store().index()?)?.by_name()),
        };
        for (name, tags) in self.wanted() {
            let part = match oci {
                Some(oci) => ask(oci, name, tags.as_ref())?,
                None => whole.get(name).cloned().unwrap_or_default(),
            };
            served.merge(&match tags {
                Some(tags) => part.of_tags(&tags),
                None => part,
            });
        }
        Ok(served)
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

/// What a registry that is asked by name has.
fn ask(oci: &OciStore, name: &str, tags: Option<&BTreeSet<String>>) -> Result<Index> {
    let Some(tags) = tags else {
        return Index::from_json(&oci.index_of_name(name)?);
    };
    let mut found = Index::default();
    for tag in tags {
        let part = oci.index_of(&Reference::new(name, tag)?)?;
        found.merge(&Index::from_json(&part)?);
    }
    Ok(found)
}

fn identity(location: &Location, models: &[Reference]) -> String {
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
