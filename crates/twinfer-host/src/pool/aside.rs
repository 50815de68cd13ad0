//! An instance beside those that serve, for copies of requests: it takes none of their turns.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use super::Pool;
use crate::guest::Guest;
use crate::reply::{Failure, ReplyCode};

/// The instance, made when the first copy comes. Who holds the lock uses it.
pub(super) type Aside = Arc<Mutex<Option<Guest>>>;

impl Pool {
    /// Has a request answered beside those that are served; `None` at once when the one before it
    /// is not done. An instance that failed is thrown away.
    pub(crate) async fn ask_aside(
        &self,
        request: http::Request<Bytes>,
    ) -> Option<Result<http::Response<Bytes>, Failure>> {
        let mut place = self.aside.try_lock().ok()?;
        let guest = match place.take() {
            Some(guest) if guest.served < self.live.get().limits.max_requests_per_instance => {
                Ok(guest)
            }
            _ => self.factory.instantiate().await,
        };
        let mut guest = match guest {
            Ok(guest) => guest,
            Err(failure) => return Some(Err(failure)),
        };
        let limit = self.live.get().limits.request_timeout;
        let (sender, receiver) = oneshot::channel();
        match timeout(limit, guest.call(request, &mut Some(sender))).await {
            Ok(Ok(())) => {
                // Where each request has an instance of its own, each copy has too.
                if !self.fresh {
                    guest.idle_since = Instant::now();
                    *place = Some(guest);
                }
                let lost = Failure::new(ReplyCode::Internal, "the model server did not answer");
                Some(receiver.await.unwrap_or(Err(lost)))
            }
            Ok(Err(failure)) => Some(Err(failure)),
            Err(_) => Some(Err(Failure::new(
                ReplyCode::Timeout,
                format!("no answer within {} ms", limit.as_millis()),
            ))),
        }
    }

    /// Drops the instance when nobody needed it for long.
    pub(super) fn drop_aside(&self) {
        if let Ok(mut place) = self.aside.try_lock()
            && place.as_ref().is_some_and(|guest| {
                guest.idle_since.elapsed() >= self.live.get().limits.idle_timeout
            })
        {
            *place = None;
        }
    }
}
