//! The registry that a command works on.

use std::fmt;
use std::sync::OnceLock;

use twinfer::{Result, bail};
use twinfer_package::{FolderStore, Index, Store, WritableStore};
use twinfer_registry::{Location, NetOptions, OciStore};

use crate::options::NetworkArgs;

/// What `--registry` names; opened when a command needs it.
pub struct Registry {
    location: Location,
    net: NetOptions,
    store: OnceLock<Box<dyn Store>>,
}

impl Registry {
    pub fn new(location: Location, network: &NetworkArgs) -> Self {
        let net = NetOptions {
            plain_http: network.plain_http,
            ca_file: network.ca_file.clone(),
            ..NetOptions::default()
        };
        Self {
            location,
            net,
            store: OnceLock::new(),
        }
    }

    /// Another registry, reached with the same settings.
    pub fn at(&self, location: &Location) -> Self {
        Self {
            location: location.clone(),
            net: self.net.clone(),
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

    /// For reading.
    ///
    /// # Errors
    /// Those of [`Location::open`].
    pub fn store(&self) -> Result<&dyn Store> {
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
