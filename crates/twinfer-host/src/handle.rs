//! What exchanges the index of a running host safely.

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use twinfer_gateway::Settings;

use crate::access::Guard;
use crate::error::HostError;
use crate::pool::Pool;
use crate::reply::ReplyCode;
use crate::tls::Tls;

/// A hand on the instances of a running host, for whoever exchanges the index that they read.
/// Its functions block, and must not be called inside an async runtime.
#[derive(Clone)]
pub struct Handle {
    pool: Weak<Pool>,
    guard: Option<Weak<Guard>>,
    tls: Option<Weak<Tls>>,
    runtime: tokio::runtime::Handle,
}

/// Why the component does not do what it was tried out with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code of the component, or one of [`ReplyCode`].
    pub code: String,
    /// What was wrong.
    pub message: String,
}

impl Handle {
    pub(crate) fn new(
        pool: &Arc<Pool>,
        tls: Option<&Arc<Tls>>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            pool: Arc::downgrade(pool),
            guard: None,
            tls: tls.map(Arc::downgrade),
            runtime,
        }
    }

    /// Asks a fresh instance, which sees `index` in the place of the folder of the index, for
    /// each of these paths. The instances that serve are not touched.
    ///
    /// # Errors
    /// What the component or the host answered with, when that is not the status 200;
    /// `internal` when the host has ended.
    pub fn try_out(&self, index: &Path, paths: &[String]) -> Result<(), Refused> {
        let (index, paths) = (index.to_owned(), paths.to_vec());
        let done = self.run(move |pool| async move { pool.try_out(&index, &paths).await });
        done.recv().unwrap_or_else(|_| {
            Err(Refused {
                code: ReplyCode::Internal.as_str().into(),
                message: "the host has ended".into(),
            })
        })
    }

    /// Lets every instance that serves this model answer these paths, one instance after the
    /// other, while the others go on; returns at the latest after `limit`. What they answer
    /// is not looked at.
    pub fn prepare(&self, model: &str, paths: &[String], limit: Duration) {
        let (model, paths) = (model.to_owned(), paths.to_vec());
        let done = self.run(move |pool| async move {
            // What is not prepared by then loads when it is asked.
            let _ = tokio::time::timeout(limit, pool.prepare(&model, paths)).await;
        });
        let _ = done.recv();
    }

    /// With the guard of the host.
    pub(crate) fn guarded_by(mut self, guard: Option<&Arc<Guard>>) -> Self {
        self.guard = guard.map(Arc::downgrade);
        self
    }

    fn guard(&self) -> Option<Arc<Guard>> {
        self.guard.as_ref().and_then(Weak::upgrade)
    }

    /// Takes other settings of access control, for all requests from now on. Keys of an issuer
    /// that are in a file are read again.
    ///
    /// # Errors
    /// What is wrong with them: those from before go on being used.
    pub fn reload_access(&self, settings: Settings) -> Result<(), HostError> {
        self.guard().map_or(Ok(()), |guard| guard.reload(settings))
    }

    /// Whether the shared state of the rate limits could not be reached lately: then each host
    /// limits alone.
    pub fn limits_are_local(&self) -> bool {
        self.guard().is_some_and(|guard| guard.is_degraded())
    }

    /// Looks at the files of the certificates now, and not only when their time has come. Says
    /// whether others are used from now on; open connections keep theirs.
    /// What is wrong with the files: those from before go on being used.
    pub fn reload_tls(&self) -> Result<bool, HostError> {
        match self.tls.as_ref().and_then(Weak::upgrade) {
            Some(tls) => tls.look(),
            None => Ok(false),
        }
    }

    /// Runs on the host's threads. When the host ends, the receiver gets nothing.
    fn run<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<Pool>) -> F + Send + 'static,
    ) -> mpsc::Receiver<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        if let Some(pool) = self.pool.upgrade() {
            self.runtime.spawn(async move {
                let _ = sender.send(work(pool).await);
            });
        }
        receiver
    }
}
