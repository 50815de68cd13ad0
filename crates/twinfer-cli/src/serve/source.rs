//! The registry that a server follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinfer::{Result, bail};
use twinfer_package::{FolderStore, Index, Reference, Store};
use twinfer_registry::Location;

use crate::registry::Registry;

/// A registry, as far as it is served.
#[derive(Clone)]
pub struct Source {
    location: Location,
    /// Asked for the index, each time anew.
    asked: Arc<dyn Store>,
    /// What gives the content: for a remote registry the cache before it.
    store: Arc<dyn Store>,
    /// The folder with the blobs, for the guest and for pages.
    folder: PathBuf,
    models: Vec<Reference>,
}

impl Source {
    /// The registry with these models, or all that it has.
    ///
    /// # Errors
    /// `invalid_parameter` for a model with a digest; those of opening the registry.
    pub fn open(registry: &Registry, models: Vec<Reference>) -> Result<Self> {
        if let Some(pinned) = models.iter().find(|model| model.digest().is_some()) {
            bail!(
                InvalidParameter,
                "`{pinned}` has a digest, which never changes: name a model, or a model and a tag"
            );
        }
        let location = registry.location().clone();
        let (asked, store, folder): (Arc<dyn Store>, Arc<dyn Store>, _) = match location.folder() {
            Some(folder) => {
                let store = Arc::new(FolderStore::new(folder));
                (store.clone(), store, folder.to_owned())
            }
            None => bail!(InvalidParameter, "only a folder can be served"),
        };
        Ok(Self {
            location,
            asked,
            store,
            folder,
            models,
        })
    }

    /// Whether its content comes over a network.
    pub fn is_remote(&self) -> bool {
        self.location.folder().is_none()
    }

    /// What gives the content.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The folder with the blobs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is, and what of it is served: the same for each start with the same words.
    pub fn identity(&self) -> String {
        let place = match self.location.folder() {
            Some(folder) => std::path::absolute(folder)
                .unwrap_or_else(|_| folder.to_owned())
                .display()
                .to_string(),
            None => self.location.to_string(),
        };
        let mut models: Vec<String> = self.models.iter().map(ToString::to_string).collect();
        models.sort();
        format!("{place}\n{}", models.join("\n"))
    }

    /// The index as the registry has it now, as far as it is served.
    ///
    /// # Errors
    /// `network`, `unauthorized`, `storage`; that it is malformed.
    pub fn index(&self) -> Result<Index> {
        if self.models.is_empty() {
            return Index::from_json(&self.asked.index()?);
        }
        let mut served = Index::default();
        let whole = match self.location {
            Location::Oci { .. } => None,
            _ => Some(Index::from_json(&self.asked.index()?)?.by_name()),
        };
        for (name, tags) in self.wanted() {
            let part = match &whole {
                Some(whole) => whole.get(name).cloned().unwrap_or_default(),
                None => self.ask(name, &tags)?,
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

    /// What a registry that is asked by name has.
    fn ask(&self, name: &str, tags: &Option<BTreeSet<String>>) -> Result<Index> {
        let mut found = Index::default();
        for tag in tags.iter().flatten() {
            let reference = Reference::new(name, tag)?;
            found.merge(&Index::from_json(&self.asked.index_of(&reference)?)?);
        }
        Ok(found)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.location.fmt(f)
    }
}
