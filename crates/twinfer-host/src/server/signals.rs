//! The signals that ask a process to end.

use crate::error::HostError;

/// What is listened for.
pub(super) struct Signals {
    #[cfg(unix)]
    unix: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
    #[cfg(not(unix))]
    enabled: bool,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new(enabled: bool) -> Result<Self, HostError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed =
            |e: std::io::Error| HostError::internal(format!("signals cannot be handled: {e}"));
        let listen = || {
            Ok((
                signal(SignalKind::terminate()).map_err(failed)?,
                signal(SignalKind::interrupt()).map_err(failed)?,
            ))
        };
        Ok(Self {
            unix: if enabled { Some(listen()?) } else { None },
        })
    }

    pub(super) async fn wait(self) -> &'static str {
        let Some((mut terminate, mut interrupt)) = self.unix else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new(enabled: bool) -> Result<Self, HostError> {
        Ok(Self { enabled })
    }

    pub(super) async fn wait(self) -> &'static str {
        if self.enabled && tokio::signal::ctrl_c().await.is_ok() {
            return "interrupt";
        }
        std::future::pending().await
    }
}
