//! Where I/O of all states of a process runs: one small runtime, so that a state can be made
//! before the runtime of its user is there, used from any, and outlive it.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::{Result, StateError};

/// The runtime.
///
/// # Errors
/// No threads can be started.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(16)
            .thread_name("twinfer-state")
            .enable_all()
            .build()
    });
    let failed = |e| StateError::new(format!("the threads of the state cannot be started: {e}"));
    made.as_ref().map_err(failed)
}

/// Runs there, and waits for it from anywhere.
#[cfg(feature = "redis")]
pub(crate) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let ended = runtime()?.spawn(work).await;
    ended.unwrap_or_else(|_| Err(StateError::new("the state failed on this call")))
}

/// The same for what blocks.
#[cfg(feature = "sqlite")]
pub(crate) async fn block<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = runtime()?.spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Err(StateError::new("the state failed on this call")))
}

/// Waits, in any executor.
pub(crate) async fn sleep(time: Duration) {
    if let Ok(runtime) = runtime() {
        let sleep = {
            let _inside = runtime.enter();
            tokio::time::sleep(time)
        };
        sleep.await;
    }
}
