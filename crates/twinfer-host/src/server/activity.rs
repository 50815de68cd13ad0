//! What a connection is doing, and when its client does too little.
//!
//! hyper knows how long a head may take, and nothing else: a client that sends nothing at all, one
//! of HTTP/2 that has no request, one that takes its answer byte by byte could each keep a
//! connection for ever. The socket and the answers write down here what happens; one timer for
//! each connection reads it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{LEAST_TAKEN, Limits};

/// One connection.
pub(crate) struct Activity {
    read_timeout: Duration,
    write_timeout: Duration,
    state: Mutex<State>,
}

struct State {
    /// Requests whose answers are not wholly handed over.
    open: usize,
    /// Since when there is none.
    idle_since: Instant,
    /// Since when the socket takes no more, and what it took since.
    blocked: Option<(Instant, usize)>,
    /// For each answer that waits for its client, since when.
    waiting: BTreeMap<u64, Instant>,
    next: u64,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// There was no request for too long.
    Request,
    /// The client takes its answer too slowly, or not at all.
    Answer,
}

impl Overdue {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Request => "no request in time",
            Self::Answer => "the client does not take its answer",
        }
    }
}

impl Activity {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            read_timeout: limits.read_timeout,
            write_timeout: limits.write_timeout,
            state: Mutex::new(State {
                open: 0,
                idle_since: Instant::now(),
                blocked: None,
                waiting: BTreeMap::new(),
                next: 0,
            }),
        })
    }

    /// Returns when the client did too little.
    pub(crate) async fn overdue(&self) -> Overdue {
        loop {
            match self.look(Instant::now()) {
                Ok(next) => tokio::time::sleep_until(next.into()).await,
                Err(why) => return why,
            }
        }
    }

    /// Whether all is well now, and when to look again.
    fn look(&self, now: Instant) -> Result<Instant, Overdue> {
        let state = self.state();
        // What begins after now is not overdue before that.
        let mut next = now + self.read_timeout.min(self.write_timeout);
        if state.open == 0 {
            let end = state.idle_since + self.read_timeout;
            if end <= now {
                return Err(Overdue::Request);
            }
            next = next.min(end);
        }
        let blocked = state.blocked.map(|(since, _)| since);
        for since in blocked.iter().chain(state.waiting.values()) {
            let end = *since + self.write_timeout;
            if end <= now {
                return Err(Overdue::Answer);
            }
            next = next.min(end);
        }
        Ok(next)
    }

    /// The socket took so many bytes of what it was offered.
    pub(crate) fn wrote(&self, taken: usize, offered: usize) {
        let mut state = self.state();
        if let Some((_, sum)) = &mut state.blocked {
            *sum += taken;
            if taken == offered || *sum >= LEAST_TAKEN {
                state.blocked = None;
            }
        }
    }

    /// The socket takes nothing now.
    pub(crate) fn no_room(&self) {
        let mut state = self.state();
        if state.blocked.is_none() {
            state.blocked = Some((Instant::now(), 0));
        }
    }

    /// A request is there.
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        let mut state = self.state();
        state.open += 1;
        state.next += 1;
        Open {
            activity: self.clone(),
            id: state.next,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No line between two that belong together can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, until its answer is handed over.
pub(crate) struct Open {
    activity: Arc<Activity>,
    id: u64,
}

impl Open {
    /// From now on the client is waited for: a piece of the answer is there for it.
    pub(crate) fn offered(&self) {
        self.activity
            .state()
            .waiting
            .insert(self.id, Instant::now());
    }

    /// The client took what there was; what comes next is not for it to do.
    pub(crate) fn taken(&self) {
        self.activity.state().waiting.remove(&self.id);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.waiting.remove(&self.id);
        state.open -= 1;
        if state.open == 0 {
            state.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity() -> Arc<Activity> {
        Activity::new(&Limits {
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            ..Limits::default()
        })
    }

    fn after(activity: &Activity, seconds: u64) -> Option<Overdue> {
        let now = Instant::now() + Duration::from_secs(seconds);
        activity.look(now).err()
    }

    #[test]
    fn a_connection_without_requests_is_overdue() {
        let activity = activity();
        assert_eq!(after(&activity, 9), None);
        assert_eq!(after(&activity, 11), Some(Overdue::Request));
        let open = activity.begin();
        assert_eq!(after(&activity, 1000), None, "it is being answered");
        drop(open);
        assert_eq!(after(&activity, 11), Some(Overdue::Request));
    }

    #[test]
    fn an_answer_that_waits_for_its_client_is_overdue() {
        let activity = activity();
        let (waiting, other) = (activity.begin(), activity.begin());
        waiting.offered();
        other.offered();
        other.taken();
        assert_eq!(after(&activity, 19), None);
        assert_eq!(after(&activity, 21), Some(Overdue::Answer));
        drop(waiting);
        assert_eq!(after(&activity, 21), None);
    }

    #[test]
    fn a_socket_must_take_enough() {
        let activity = activity();
        let _open = activity.begin();
        activity.no_room();
        // Drops of an answer are not enough.
        for _ in 0..100 {
            activity.wrote(1, 1000);
            activity.no_room();
        }
        assert_eq!(after(&activity, 21), Some(Overdue::Answer));
        activity.wrote(LEAST_TAKEN, 1 << 20);
        assert_eq!(after(&activity, 21), None);
        activity.no_room();
        assert_eq!(after(&activity, 21), Some(Overdue::Answer));
        // All that there was.
        activity.wrote(3, 3);
        assert_eq!(after(&activity, 21), None);
    }
}
