//! The settings of a running host, which are exchanged while it runs.
//!
//! Whoever needs one asks for it when it is needed, and keeps none: so others count from the next
//! request, connection or instance on, and what is under way goes on as it began.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use crate::config::{HostConfig, Limits};

/// Instances that there may be without a new start, where it began with fewer.
const ROOM: usize = 32;

/// The settings that count now. Clones share them.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    current: RwLock<Arc<HostConfig>>,
    /// Most instances for which there is room: it is taken once, at the start.
    room: usize,
    /// Whether the last attempt to take others failed.
    refused: AtomicBool,
}

impl Live {
    pub(crate) fn new(config: HostConfig) -> Self {
        Self(Arc::new(Inner {
            room: room(&config),
            current: RwLock::new(Arc::new(config)),
            refused: AtomicBool::new(false),
        }))
    }

    pub(crate) fn get(&self) -> Arc<HostConfig> {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, config: HostConfig) {
        let current = self.0.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Most instances that there can be before the next start.
    pub(crate) fn room(&self) -> usize {
        self.0.room
    }

    /// Whether the last settings that were to be taken could not be.
    pub(crate) fn was_refused(&self) -> bool {
        self.0.refused.load(Relaxed)
    }

    pub(crate) fn set_refused(&self, refused: bool) {
        self.0.refused.store(refused, Relaxed);
    }
}

/// Places that are taken and given back, whose number can change.
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    /// How many there are, or will be when those that are too many are given back.
    size: AtomicUsize,
}

impl Places {
    pub(crate) fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size: AtomicUsize::new(size),
        }
    }

    /// The places, of which there are so many from now on. Fewer: those that are taken stay so,
    /// and are gone when they are given back. Called inside of the runtime.
    pub(crate) fn of(&self, size: usize) -> &Arc<Semaphore> {
        let size = size.min(Semaphore::MAX_PERMITS);
        let before = self.size.swap(size, Relaxed);
        match size.cmp(&before) {
            Ordering::Greater => self.semaphore.add_permits(size - before),
            Ordering::Less => self.take_away(before - size),
            Ordering::Equal => {}
        }
        &self.semaphore
    }

    fn take_away(&self, fewer: usize) {
        let taken = fewer - self.semaphore.forget_permits(fewer);
        if taken == 0 {
            return;
        }
        let semaphore = self.semaphore.clone();
        tokio::spawn(async move {
            // One by one: whoever waits for many at once keeps all others waiting.
            for _ in 0..taken {
                if let Ok(permit) = semaphore.acquire().await {
                    permit.forget();
                }
            }
        });
    }
}

/// The settings that a host takes while it runs: those of `new`, and of `old` what stays as it was
/// at the start.
pub(crate) fn merged(old: &HostConfig, new: HostConfig, room: usize) -> HostConfig {
    HostConfig {
        listen: old.listen,
        tls: old.tls.clone(),
        component: old.component.clone(),
        full_component: old.full_component.clone(),
        instances: old.instances,
        registry: old.registry.clone(),
        index: old.index.clone(),
        // See `Handle::reload_access`.
        access: old.access.clone(),
        package_cache: old.package_cache.clone(),
        state: old.state.clone(),
        key_value: old.key_value.clone(),
        cache: old.cache.clone(),
        bundle_token: old.bundle_token.clone(),
        announce: Vec::new(),
        log: old.log.clone(),
        observer: old.observer.clone(),
        releases: old.releases.clone(),
        handle_signals: old.handle_signals,
        limits: Limits {
            max_instances: new.limits.max_instances.min(room),
            ..new.limits
        },
        ..new
    }
}

/// For how many instances room is taken at the start: it is address space, and costs nothing else.
pub(crate) fn room(config: &HostConfig) -> usize {
    config.limits.max_instances.max(ROOM)
}

/// Whether instances see something else with other settings, so that new ones have to be made.
pub(crate) fn concerns_instances(old: &HostConfig, new: &HostConfig) -> bool {
    old.env != new.env
        || old.limits.max_memory != new.limits.max_memory
        // It is one of their variables.
        || old.limits.max_body != new.limits.max_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_become_more_and_fewer() {
        let places = Places::new(2);
        let first = places.of(2).clone().acquire_owned().await.unwrap();
        let second = places.of(2).clone().acquire_owned().await.unwrap();
        assert_eq!(places.of(3).available_permits(), 1);
        assert_eq!(places.of(1).available_permits(), 0);
        drop(first);
        tokio::task::yield_now().await;
        // What was given back is the place that there is no more.
        assert_eq!(places.of(1).available_permits(), 0);
        drop(second);
        tokio::task::yield_now().await;
        assert_eq!(places.of(1).available_permits(), 1);
        assert_eq!(places.of(5).available_permits(), 5);
        assert_eq!(places.of(0).available_permits(), 0);
    }

    #[test]
    fn what_is_fixed_stays() {
        let mut old = HostConfig::new("component", "registry");
        old.limits.max_instances = 2;
        let mut new = HostConfig::new("other", "elsewhere");
        new.listen = ([127, 0, 0, 1], 1).into();
        new.limits.max_instances = 100;
        new.limits.max_queue = 7;
        new.cors = vec!["*".into()];
        let both = merged(&old, new, 8);
        assert_eq!(
            (&both.component, &both.registry),
            (&old.component, &old.registry)
        );
        assert_eq!(both.listen, old.listen);
        assert_eq!((both.limits.max_instances, both.limits.max_queue), (8, 7));
        assert_eq!(both.cors, ["*"]);
        assert!(!concerns_instances(&old, &both));
        let mut other = both.clone();
        other.env.push(("A".into(), "b".into()));
        assert!(concerns_instances(&both, &other));
    }
}
