//! What exchanges the index of a running host safely.

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use crate::access::{AccessConfig, Guard};
use crate::config::HostConfig;
use crate::error::HostError;
use crate::live::{self, Live};
use crate::log::Log;
use crate::pool::Pool;
use crate::reply::ReplyCode;
use crate::tls::Tls;

/// A hand on the instances of a running host, for whoever exchanges the index that they read.
/// Its functions block, and must not be called inside an async runtime.
#[derive(Clone)]
pub struct Handle {
    live: Live,
    log: Log,
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

/// What came of other settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// Whether instances are replaced for them.
    pub instances: bool,
    /// The number of instances that there may be, where more were wanted than there is room for
    /// before the next start.
    pub most_instances: Option<usize>,
}

impl Handle {
    pub(crate) fn new(
        live: &Live,
        log: &Log,
        pool: &Arc<Pool>,
        tls: Option<&Arc<Tls>>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            live: live.clone(),
            log: log.clone(),
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
    /// that are in a file are read again. Whether there is a guard at all stays as it is.
    ///
    /// # Errors
    /// What is wrong with them: those from before go on being used.
    pub fn reload_access(&self, access: AccessConfig) -> Result<(), HostError> {
        let before = self.live.get();
        let access = AccessConfig {
            guarded: before.access.guarded,
            ..access
        };
        self.guard_by(HostConfig {
            access,
            ..(*before).clone()
        })
    }

    fn guard_by(&self, config: HostConfig) -> Result<(), HostError> {
        if let Some(guard) = self.guard() {
            guard.reload(&config)?;
        }
        self.live.set(config);
        Ok(())
    }

    /// Takes other settings, for all requests, connections and instances from now on; what is
    /// under way goes on as it began, and no request fails by it. Instances that would see
    /// something else are replaced in the background, one after the other.
    ///
    /// What a host takes at its start only stays as it is: addresses, certificates' files, the
    /// component, whether instances are used again, registry, index, state, folders and the
    /// observer. Access is not taken from here either: see [`Handle::reload_access`].
    ///
    /// # Errors
    /// A setting that cannot work: nothing changes then.
    pub fn reload(&self, config: HostConfig) -> Result<Reloaded, HostError> {
        let before = self.live.get();
        let wanted = config.limits.max_instances;
        let config = live::merged(&before, config, self.live.room());
        config.check()?;
        let reloaded = Reloaded {
            instances: live::concerns_instances(&before, &config),
            most_instances: (wanted > config.limits.max_instances)
                .then_some(config.limits.max_instances),
        };
        let pool = self.pool.upgrade();
        if let Some(pool) = &pool {
            pool.allow(&config)?;
        }
        self.log.change(config.log_level, config.log_format);
        if let Some(observer) = &config.observer {
            observer.limit_instances(config.limits.max_instances);
        }
        self.guard_by(config)?;
        if let Some(pool) = pool.filter(|_| reloaded.instances) {
            self.runtime.spawn(pool.renew());
        }
        Ok(reloaded)
    }

    /// Says, where health and metrics are asked for, whether the settings that were read last are
    /// those in effect.
    pub fn set_reloaded(&self, taken: bool) {
        self.live.set_refused(!taken);
        if let Some(observer) = &self.live.get().observer {
            observer.reloaded(taken);
        }
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
