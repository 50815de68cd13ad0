//! The registry that a command works on.

use std::fmt;
use std::sync::OnceLock;

use twinfer::{Result, bail};
use twinfer_cache::{Policy, may_be_old};
use twinfer_package::{FolderStore, Index, Store, WritableStore};
use twinfer_registry::{CachedStore, Location, NetOptions, OciStore};

use crate::bar::Bar;
use crate::options::{CacheArgs, NetworkArgs};
use crate::output::Output;
use crate::packages_cache;

/// What `--registry` names; opened when a command needs it.
pub struct Registry {
    location: Location,
    net: NetOptions,
    cache: CacheArgs,
    store: OnceLock<Box<dyn Store>>,
}

impl Registry {
    pub fn new(location: Location, network: &NetworkArgs, cache: &CacheArgs) -> Self {
        let net = NetOptions {
            plain_http: network.plain_http,
            ca_file: network.ca_file.clone(),
            ..NetOptions::default()
        };
        Self {
            location,
            net,
            cache: cache.clone(),
            store: OnceLock::new(),
        }
    }

    /// Another registry, reached with the same settings.
    pub fn at(&self, location: &Location) -> Self {
        Self {
            location: location.clone(),
            net: self.net.clone(),
            cache: self.cache.clone(),
            store: OnceLock::new(),
        }
    }

    /// Another registry where one is named, else this one.
    pub fn at_or(&self, location: Option<&Location>) -> Self {
        self.at(location.unwrap_or(&self.location))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// How it is reached.
    pub fn net(&self) -> &NetOptions {
        &self.net
    }

    /// For commands that use packages: through the cache, where the registry is not a folder.
    ///
    /// What the cache still knows of a registry can be too old for what is asked: then it is
    /// asked, and the command is run once more. It must not have done anything by then, so it
    /// opens its packages first.
    ///
    /// # Errors
    /// Those of the command, and of [`Location::open`].
    pub fn read(
        &self,
        output: &Output,
        command: impl Fn(&Self, &dyn Store) -> Result<()>,
    ) -> Result<()> {
        if self.location.folder().is_some() {
            return command(self, self.store()?);
        }
        let cached = self.cached(&self.locations(), output)?;
        let done = match command(self, &cached) {
            Err(error) if may_be_old(&error) && cached.refresh() => command(self, &cached),
            done => done,
        };
        if done.is_ok() {
            for moved in cached.revalidate_pending() {
                output.note(&packages_cache::note(&moved));
            }
        }
        done
    }

    /// The cache itself.
    ///
    /// # Errors
    /// As [`packages_cache::open`].
    pub fn cached(&self, locations: &[Location], output: &Output) -> Result<CachedStore> {
        packages_cache::open(&self.cache, locations, &self.net, Bar::new(output))
    }

    /// How references are looked up.
    pub fn policy(&self) -> Policy {
        self.cache.policy()
    }

    /// The registry, and its mirrors.
    pub fn locations(&self) -> Vec<Location> {
        let mut locations = vec![self.location.clone()];
        locations.extend(self.cache.mirrors.iter().cloned());
        locations
    }

    fn check_network(&self) -> Result<()> {
        if self.location.folder().is_none() && self.cache.policy() == Policy::Offline {
            bail!(
                InvalidParameter,
                "this command reads {self} itself, not the cache: leave out --offline, or see `twinfer cache --help`"
            );
        }
        Ok(())
    }

    /// For reading it as it is, without the cache.
    ///
    /// # Errors
    /// Those of [`Location::open`]; `invalid_parameter` when the network must not be used.
    pub fn store(&self) -> Result<&dyn Store> {
        self.check_network()?;
        if self.store.get().is_none() {
            // Nobody else sets it: commands are one thread.
            let _ = self.store.set(self.location.open(&self.net)?);
        }
        match self.store.get() {
            Some(store) => Ok(&**store),
            None => bail!(Internal, "the registry {self} is not open"),
        }
    }

    /// For writing.
    ///
    /// # Errors
    /// Those of [`Location::open_writable`].
    pub fn writable(&self) -> Result<Box<dyn WritableStore>> {
        self.location.open_writable(&self.net)
    }

    /// The folder, for what works on folders only.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn folder(&self) -> Result<FolderStore> {
        match self.location.folder() {
            Some(folder) => Ok(FolderStore::new(folder)),
            None => bail!(
                InvalidParameter,
                "{self} is not a folder: make the package in a folder, then `twinfer push` it"
            ),
        }
    }

    /// The index, or what it has of one model. OCI registries tell that without being asked
    /// for everything that they have.
    ///
    /// # Errors
    /// Those of the store and of [`Index::from_json`].
    pub fn index(&self, name: Option<&str>) -> Result<Index> {
        self.check_network()?;
        let json = match (&self.location, name) {
            (Location::Oci { host, prefix }, Some(name)) => {
                OciStore::new(host, prefix, &self.net)?.index_of_name(name)?
            }
            _ => self.store()?.index()?,
        };
        Index::from_json(&json)
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}
