//! A registry on the network: the component fetches packages by itself, through the one cache.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::request::Parts;
use twinfer::Result;
use twinfer_cache::{Backend, FolderBackend, MemoryBackend};
use twinfer_package::Store;
use twinfer_serve::{App, Remote};

use crate::origin::StaticHost;
use crate::settings::{Place, Settings};
use crate::surroundings::Surroundings;

/// A [`Remote`], whatever it keeps its packages in.
pub(crate) trait Supply: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;
    fn prepare<'a>(&'a self, app: &'a App, parts: &'a mut Parts) -> LocalBoxFuture<'a, Result<()>>;
    fn due(&self) -> bool;
    fn follow<'a>(&'a self, app: &'a App) -> LocalBoxFuture<'a, ()>;
}

impl<B> Supply for Remote<B, Surroundings, StaticHost>
where
    B: Backend<Lock: Send> + Send + Sync + 'static,
{
    fn store(&self) -> Arc<dyn Store> {
        self.store()
    }

    fn prepare<'a>(&'a self, app: &'a App, parts: &'a mut Parts) -> LocalBoxFuture<'a, Result<()>> {
        self.prepare(app, parts).boxed_local()
    }

    fn due(&self) -> bool {
        self.due()
    }

    fn follow<'a>(&'a self, app: &'a App) -> LocalBoxFuture<'a, ()> {
        self.follow(app).boxed_local()
    }
}

/// The supply of these settings.
///
/// # Errors
/// `storage` when the place of the cache cannot be opened.
pub(crate) fn supply(settings: Settings) -> Result<Box<dyn Supply>> {
    match &settings.place {
        Place::Memory => {
            let limit = settings.cache.quota.unwrap_or(u64::MAX);
            Ok(over(MemoryBackend::with_limit(limit), settings))
        }
        Place::Folder(folder) => Ok(over(FolderBackend::new(folder), settings)),
        #[cfg(feature = "key-value")]
        Place::KeyValue(name) => {
            let store = crate::key_value::HostStore::open(name)?;
            Ok(over(twinfer_cache::KeyValueBackend::new(store), settings))
        }
    }
}

fn over<B>(backend: B, settings: Settings) -> Box<dyn Supply>
where
    B: Backend<Lock: Send> + Send + Sync + 'static,
{
    let origins = settings.addresses.into_iter().map(StaticHost::new);
    Box::new(Remote::new(
        backend,
        Surroundings,
        settings.cache,
        origins.collect(),
        settings.remote,
    ))
}
