//! Clients that go before they have their answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::guest::ReplySender;
use crate::reply::{Failure, ReplyCode};

type Answer = Result<http::Response<Bytes>, Failure>;

/// Waits for an answer. Dropped without one, it says that nobody waits any more.
pub(super) struct Waiting {
    answer: oneshot::Receiver<Answer>,
    alarm: Option<oneshot::Sender<()>>,
}

/// Hears of a client that is gone.
pub(super) struct Gone {
    alarm: oneshot::Receiver<()>,
    /// What was heard: it is told once, and may be asked again.
    heard: Option<bool>,
}

/// Who waits for an answer, where it is sent, and what hears of it when nobody waits any more.
pub(super) fn waiting() -> (Waiting, ReplySender, Gone) {
    let (sender, answer) = oneshot::channel();
    let (alarm, gone) = oneshot::channel();
    let waiting = Waiting {
        answer,
        alarm: Some(alarm),
    };
    let gone = Gone {
        alarm: gone,
        heard: None,
    };
    (waiting, sender, gone)
}

impl Waiting {
    pub(super) async fn answer(mut self) -> Answer {
        let answer = (&mut self.answer).await;
        // What the instance does after its answer is its own affair.
        self.alarm = None;
        answer.unwrap_or_else(|_| {
            Err(Failure::new(
                ReplyCode::Internal,
                "the model server failed on this request",
            ))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(alarm) = self.alarm.take() else {
            return;
        };
        // After this no answer comes any more: one that is there was on its way to the client.
        self.answer.close();
        if self.answer.try_recv().is_err() {
            let _ = alarm.send(());
        }
    }
}

impl Gone {
    /// Returns when the client has been gone for so long; never, if it got its answer.
    pub(super) async fn since(&mut self, grace: Duration) {
        let gone = match self.heard {
            Some(gone) => gone,
            None => *self.heard.insert((&mut self.alarm).await.is_ok()),
        };
        if !gone {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(grace).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(gone: &mut Gone) -> bool {
        gone.alarm.try_recv().is_ok()
    }

    #[test]
    fn only_who_goes_without_an_answer_is_gone() {
        let (who, _sender, mut gone) = waiting();
        assert!(!is_told(&mut gone));
        drop(who);
        assert!(is_told(&mut gone));

        // The answer was sent, and perhaps not yet looked at.
        let (who, sender, mut gone) = waiting();
        sender.send(Ok(http::Response::default())).unwrap();
        drop(who);
        assert!(!is_told(&mut gone));
    }
}
