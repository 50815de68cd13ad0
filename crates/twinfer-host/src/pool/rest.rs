//! Giving memory back when nothing is asked for.
//!
//! Instances that serve one request each leave two things behind: those that are ready for the
//! next request, and what wasmtime keeps of ended ones, changed pages that the next would change
//! again. Both make requests quicker, and neither is of use to a model that nobody asks. wasmtime
//! gives its part back when the component is dropped; so the component is taken from the cache
//! once more, in the background, and the old one goes. The next request finds everything in
//! place.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Pool;
use crate::log::LogLevel;

impl Pool {
    /// Gives memory back, once after each time of work. Taking the component again costs up to
    /// some tens of milliseconds of a processor, so work must have ended a while ago.
    pub(super) async fn rest(self: &Arc<Self>) {
        {
            let guests = &mut *self.guests();
            let after = self.live.get().limits.rest_after;
            let quiet = guests.worked.is_some_and(|last| last.elapsed() >= after);
            if !quiet || !guests.busy.is_empty() {
                return;
            }
            guests.worked = None;
        }
        let pool = self.clone();
        // Files are read and hashed. If it panics, memory is kept, and nothing else is wrong.
        let _ = tokio::task::spawn_blocking(move || pool.give_memory_back()).await;
    }

    fn give_memory_back(&self) {
        let started = Instant::now();
        let renewed = self.factory.renew();
        // Only instances that serve one request each come here: none has loaded anything.
        let ready = std::mem::take(&mut self.guests().idle);
        let fields = json!({
            "instances": ready.len(), "component": renewed,
            "ms": started.elapsed().as_millis() as u64,
        });
        drop(ready);
        trim();
        self.log.event(LogLevel::Debug, "memory_given_back", fields);
    }
}

/// Gives freed memory of the allocator back to the system: glibc keeps what threads freed, and each
/// instance had the better part of a megabyte of its tables there.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it has no preconditions, and takes the locks of the allocator by itself.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
