//! Getting the instances ready for other models, while they serve the ones they have.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::Pool;
use crate::guest::Guest;
use crate::handle::Refused;
use crate::log::LogLevel;
use crate::reply::{Failure, ReplyCode};

/// Between two looks for an instance that was busy.
pub(super) const LOOK: Duration = Duration::from_millis(5);

impl Pool {
    /// Asks an instance of its own, which sees this folder's index, for these paths: whether
    /// the component, with its limits and its own trust decision, does what it will be asked
    /// for. No instance that serves is touched.
    pub(crate) async fn try_out(&self, index: &Path, paths: &[String]) -> Result<(), Refused> {
        let mut guest = self.factory.instantiate_with(Some(index)).await?;
        for path in paths {
            let answer = self.ask(&mut guest, path).await?;
            if answer.status() != StatusCode::OK {
                return Err(refusal(&answer));
            }
        }
        Ok(())
    }

    /// Asks every instance that serves this model for these paths, one instance after the
    /// other, so that the others go on; those that are busy when they are done. An instance
    /// that fails is thrown away, as after any request.
    pub(crate) async fn prepare(self: Arc<Self>, model: &str, paths: Vec<String>) {
        let paths = Arc::new(paths);
        let round = {
            let mut guests = self.guests();
            guests.round += 1;
            guests.round
        };
        loop {
            let Ok(permit) = self.running().acquire_owned().await else {
                return;
            };
            if let Some(mut guest) = self.take_unprepared(model, round) {
                let (pool, paths) = (self.clone(), paths.clone());
                // A task of its own: if nobody waits any more, the instance is kept all the same.
                let task = tokio::spawn(async move {
                    guest.round = round;
                    if pool.ask_all(&mut guest, &paths).await {
                        pool.give_back(guest).await;
                    }
                    drop(permit);
                });
                let _ = task.await;
                continue;
            }
            drop(permit);
            if !self.guests().busy.values().any(|last| *last < round) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// An idle instance that did not take part in this round and has the model.
    fn take_unprepared(&self, model: &str, round: u64) -> Option<Guest> {
        let idle = &mut self.guests().idle;
        for guest in idle
            .iter_mut()
            .filter(|guest| !guest.models.contains(model))
        {
            guest.round = round;
        }
        let at = idle.iter().position(|guest| guest.round < round)?;
        Some(idle.remove(at))
    }

    /// Whether the instance can be used afterwards. What it answers does not matter here.
    pub(super) async fn ask_all(&self, guest: &mut Guest, paths: &[String]) -> bool {
        for path in paths {
            if let Err(failure) = self.ask(guest, path).await {
                let fields = json!({
                    "code": failure.code().as_str(), "error": failure.message(), "cause": failure.cause(), "path": path,
                });
                self.log.event(LogLevel::Warn, "instance_replaced", fields);
                return false;
            }
        }
        true
    }

    async fn ask(&self, guest: &mut Guest, path: &str) -> Result<http::Response<Bytes>, Failure> {
        let limit = self.config().limits.request_timeout;
        let request = http::Request::get(format!("http://localhost{path}"))
            .header(http::header::HOST, "localhost")
            .body(Bytes::new())
            .map_err(|e| Failure::new(ReplyCode::Internal, format!("{path}: {e}")))?;
        let (sender, receiver) = oneshot::channel();
        let call = timeout(limit, guest.call(request, &mut Some(sender))).await;
        call.map_err(|_| {
            Failure::new(
                ReplyCode::Timeout,
                format!("no answer within {} ms", limit.as_millis()),
            )
        })??;
        receiver.await.unwrap_or_else(|_| {
            Err(Failure::new(
                ReplyCode::Internal,
                "the model server did not answer",
            ))
        })
    }
}

/// What the component says is wrong.
fn refusal(answer: &http::Response<Bytes>) -> Refused {
    let json: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    Refused {
        code: text("code").unwrap_or_else(|| ReplyCode::Internal.as_str().into()),
        message: text("error").unwrap_or_else(|| {
            format!("the component answered with the status {}", answer.status())
        }),
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code().as_str().into(),
            message: match failure.cause() {
                Some(cause) => format!("{}: {cause}", failure.message()),
                None => failure.message().into(),
            },
        }
    }
}
