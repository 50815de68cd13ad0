//! `wasi:keyvalue/store` for guests: stores in folders, or in the state that hosts share.

mod folder;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use self::folder::FolderStore;
use self::shared::SharedStore;
use crate::state::State;
use bindings::wasi::keyvalue::store::{Error, Host, HostBucket, KeyResponse};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../worker/wit/key-value.wit",
        world: "key-value",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

const MAX_NAME: usize = 64;
const MAX_KEY: usize = 255;
const MAX_VALUE: usize = 4 << 20;
/// Keys that are listed at once.
const PAGE: usize = 1000;

/// Where the key-value stores of guests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// In this folder, for this host alone; made when it is not there.
    Folder(PathBuf),
    /// In [`crate::HostConfig::state`]: what one host keeps, the others have.
    State,
}

impl KeyValue {
    /// The folder, where it is one.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::State => None,
        }
    }
}

impl From<PathBuf> for KeyValue {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&Path> for KeyValue {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.into())
    }
}

/// The same, as instances have it.
#[derive(Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    State(Arc<dyn twinfer_state::State>),
}

impl Place {
    pub(crate) fn of(config: &crate::HostConfig) -> Option<Self> {
        Some(match config.key_value.as_ref()? {
            KeyValue::Folder(folder) => Self::Folder(folder.clone()),
            KeyValue::State => Self::State(config.state.clone()),
        })
    }
}

/// A store that a guest has open.
pub struct Bucket(Kept);

enum Kept {
    Folder(FolderStore),
    Shared(SharedStore),
}

/// The stores of an instance.
pub(crate) struct Stores<'a> {
    pub(crate) place: Option<&'a Place>,
    pub(crate) table: &'a mut ResourceTable,
}

struct HasStores;

impl HasData for HasStores {
    type Data<'a> = Stores<'a>;
}

/// Offers the interface. Guests that do not import it do not notice.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::wasi::keyvalue::store::add_to_linker::<_, HasStores>(linker, State::stores)
}

impl Host for Stores<'_> {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Bucket>, Error>> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let good = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
        let Some(place) = self.place.filter(|_| good) else {
            return Ok(Err(Error::NoSuchStore));
        };
        let kept = match place {
            Place::Folder(root) => match FolderStore::open(root, &name).await? {
                Ok(store) => Kept::Folder(store),
                Err(error) => return Ok(Err(error)),
            },
            Place::State(state) => Kept::Shared(SharedStore::new(state.clone(), &name)),
        };
        Ok(Ok(self.table.push(Bucket(kept))?))
    }
}

impl Stores<'_> {
    fn kept(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<&Kept> {
        Ok(&self.table.get(bucket)?.0)
    }
}

/// Whether a key is one.
fn check(key: &str) -> Result<(), Error> {
    if (1..=MAX_KEY).contains(&key.len()) {
        return Ok(());
    }
    let message = format!("a key has 1 to {MAX_KEY} bytes, not {}", key.len());
    Err(Error::Other(message))
}

impl HostBucket for Stores<'_> {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let kept = self.kept(&bucket)?;
        if let Err(error) = check(&key) {
            return Ok(Err(error));
        }
        match kept {
            Kept::Folder(store) => store.get(key).await,
            Kept::Shared(store) => Ok(store.get(&key).await),
        }
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let kept = self.kept(&bucket)?;
        if let Err(error) = check(&key) {
            return Ok(Err(error));
        }
        if value.len() > MAX_VALUE {
            let message = format!("a value has at most {MAX_VALUE} bytes, not {}", value.len());
            return Ok(Err(Error::Other(message)));
        }
        match kept {
            Kept::Folder(store) => store.set(key, value).await,
            Kept::Shared(store) => Ok(store.set(&key, &value).await),
        }
    }

    async fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let kept = self.kept(&bucket)?;
        if let Err(error) = check(&key) {
            return Ok(Err(error));
        }
        match kept {
            Kept::Folder(store) => store.delete(key).await,
            Kept::Shared(store) => Ok(store.delete(&key).await),
        }
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let kept = self.kept(&bucket)?;
        if let Err(error) = check(&key) {
            return Ok(Err(error));
        }
        match kept {
            Kept::Folder(store) => store.exists(key).await,
            Kept::Shared(store) => Ok(store.exists(&key).await),
        }
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        match self.kept(&bucket)? {
            Kept::Folder(store) => store.list(cursor).await,
            Kept::Shared(store) => Ok(store.list(cursor.as_deref()).await),
        }
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}
