//! When the registry is looked at: every few seconds, on SIGHUP, and no more at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use twinfer::{Result, err};
use twinfer_state::Watch;

use super::follow::Follower;
use super::releases::Releases;
use crate::releases::PREFIX;

/// How long the end waits for a test that is under way; after that it ends with the process.
const END: Duration = Duration::from_secs(2);

/// What starts following.
pub struct Polling {
    period: Option<Duration>,
    runtime: Runtime,
    requests: Requests,
    stop: watch::Sender<bool>,
}

/// A thread that follows.
pub struct Following {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
    /// The folder of this run.
    folder: PathBuf,
}

/// Why the registry is looked at.
enum Reason {
    Time,
    Request,
    /// Somebody changed a deployment, and not the registry.
    Deployments,
    End,
}

impl Polling {
    /// Every so many seconds; 0 for never. From here on SIGHUP does not end the process.
    ///
    /// # Errors
    /// `internal`.
    pub fn new(seconds: f64) -> Result<Self> {
        let failed = |e| err!(Internal, "the registry cannot be followed: {e}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let requests = {
            let _inside = runtime.enter();
            Requests::new().map_err(failed)?
        };
        Ok(Self {
            period: period(seconds),
            runtime,
            requests,
            stop: watch::channel(false).0,
        })
    }

    /// Says when to stop.
    pub fn stop(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Puts the deployments in force that there are.
    pub fn begin_with(&self, follower: &mut Follower, releases: &Arc<Releases>) {
        follower.follow_releases(releases.clone());
        self.read(follower, releases);
    }

    fn read(&self, follower: &mut Follower, releases: &Releases) {
        match self.runtime.block_on(releases.deployments().all()) {
            Ok(records) => follower.take_records(records),
            Err(error) => follower.not_read(&error),
        }
    }

    /// Begins, in a thread. `reload` is called on SIGHUP, before the registry is looked at; it
    /// gives the seconds between two looks from then on.
    ///
    /// # Errors
    /// `internal`.
    pub fn begin(
        self,
        follower: Follower,
        releases: Arc<Releases>,
        reload: impl FnMut(&mut Follower) -> f64 + Send + 'static,
    ) -> Result<Following> {
        let (stop, folder) = (self.stop.clone(), follower.folder().to_owned());
        let thread = thread::Builder::new()
            .name("twinfer-follow".into())
            .spawn(move || self.follow(follower, &releases, reload))
            .map_err(|e| err!(Internal, "a thread cannot be started: {e}"))?;
        Ok(Following {
            thread,
            stop,
            folder,
        })
    }

    fn follow(
        mut self,
        mut follower: Follower,
        releases: &Releases,
        mut reload: impl FnMut(&mut Follower) -> f64,
    ) {
        let mut stop = self.stop.subscribe();
        let mut deployments = Watch::new(releases.deployments().state().clone(), PREFIX);
        let mut last = Instant::now();
        loop {
            // Only waiting happens in the runtime: a registry on a network has one of its own.
            let reason = self.runtime.block_on(async {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => Reason::End,
                    () = self.requests.next() => Reason::Request,
                    () = after(self.period, last) => Reason::Time,
                    _ = deployments.next() => Reason::Deployments,
                }
            });
            match reason {
                Reason::End => return,
                Reason::Request => {
                    self.period = period(reload(&mut follower));
                    if let Some(host) = follower.host() {
                        super::tls::reload(host);
                    }
                    follower.forget_refusals();
                }
                Reason::Deployments => {
                    self.read(&mut follower, releases);
                    continue;
                }
                Reason::Time => {}
            }
            follower.check();
            last = Instant::now();
        }
    }
}

impl Following {
    /// Ends it. A test that is under way is not waited for longer than a moment.
    pub fn end(self) {
        let _ = self.stop.send(true);
        let begin = Instant::now();
        while !self.thread.is_finished() && begin.elapsed() < END {
            thread::sleep(Duration::from_millis(5));
        }
        // A thread that still waits for the network does not come to it any more. What cannot
        // be removed is by the next start.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// 0 is never.
fn period(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}

async fn after(period: Option<Duration>, last: Instant) {
    match period {
        Some(period) => tokio::time::sleep_until((last + period).into()).await,
        None => std::future::pending().await,
    }
}

/// People who want the registry looked at now.
struct Requests {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Requests {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
impl Requests {
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}
