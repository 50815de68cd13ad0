//! Other settings for what runs: new instances take over from those that have the old ones.

use std::sync::Arc;

use serde_json::json;
use tokio::time::sleep;

use super::Pool;
use super::prepare::LOOK;
use crate::guest::Guest;
use crate::log::LogLevel;

impl Pool {
    /// Replaces every instance that was made before now, one after the other: the new one has the
    /// same models loaded before the old one goes, and the others serve all the while. One that is
    /// busy is replaced when it is done.
    pub(crate) async fn renew(self: Arc<Self>) {
        // The one for copies is made again when the next copy comes.
        self.aside.lock().await.take();
        let full = self.full.as_ref().and_then(|full| full.there());
        self.clone().renew_own().await;
        if let Some(full) = full {
            full.renew_own().await;
        }
    }

    async fn renew_own(self: Arc<Self>) {
        let before = self.factory.next();
        loop {
            let Ok(permit) = self.running().acquire_owned().await else {
                return;
            };
            if let Some(old) = self.take_made_before(before) {
                let pool = self.clone();
                // A task of its own: whoever waits may stop waiting.
                let task = tokio::spawn(async move {
                    pool.replace(old).await;
                    drop(permit);
                });
                let _ = task.await;
                continue;
            }
            drop(permit);
            if !self.guests().busy.keys().any(|id| *id < before) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn take_made_before(&self, id: u64) -> Option<Guest> {
        let idle = &mut self.guests().idle;
        let at = idle.iter().position(|guest| guest.id < id)?;
        Some(idle.remove(at))
    }

    async fn replace(self: &Arc<Self>, old: Guest) {
        let made = self.start().await;
        let Ok(mut new) = made else {
            // The next request makes one, or says why it cannot.
            return self.log_end(&old, "settings");
        };
        let ready = |model: &String| format!("/v2/models/{model}/ready");
        let paths: Vec<String> = old.models.iter().map(ready).collect();
        self.log_end(&old, "settings");
        let fields = json!({"old": old.id, "new": new.id, "models": old.models});
        self.log.event(LogLevel::Debug, "instance_renewed", fields);
        drop(old);
        if self.ask_all(&mut new, &paths).await {
            self.give_back_new(new);
        }
    }

    /// One that served nobody yet.
    fn give_back_new(&self, mut guest: Guest) {
        guest.idle_since = std::time::Instant::now();
        self.guests().idle.push(guest);
    }
}
