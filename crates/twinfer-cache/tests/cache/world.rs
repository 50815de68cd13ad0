//! A virtual clock, and the places where a cache can be.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use twinfer_cache::{
    Backend, Cache, Env, FolderBackend, KeyValue, KeyValueBackend, MAX_VALUE_BYTES, MemoryBackend,
    MemoryKeyValue, Options,
};
use twinfer_package::Digest;

/// Of the clock when a test begins.
pub const BEGIN: u64 = 1_800_000_000_000;
pub const DAY: u64 = 86_400_000;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(BEGIN) };
    static SET_BACK: Cell<u64> = const { Cell::new(0) };
    static SLEEPERS: RefCell<BTreeMap<u64, (u64, Waker)>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    static YIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Time as it passes for what sleeps.
pub fn time() -> u64 {
    NOW.get()
}

/// Lets time pass.
pub fn pass(milliseconds: u64) {
    NOW.set(NOW.get() + milliseconds);
}

/// Sets the clock back, as people and batteries do.
pub fn set_back(milliseconds: u64) {
    SET_BACK.set(SET_BACK.get() + milliseconds);
}

/// Clock and timer without waiting: time passes when nothing else can happen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Virtual {
    pub random: f64,
}

impl Env for Virtual {
    fn now(&self) -> u64 {
        NOW.get() - SET_BACK.get()
    }

    async fn sleep(&self, milliseconds: u64) {
        sleep(milliseconds).await;
    }

    fn random(&self) -> f64 {
        self.random
    }
}

pub async fn sleep(milliseconds: u64) {
    /// Leaves the list also when it is dropped early.
    struct Sleeper(u64);
    impl Drop for Sleeper {
        fn drop(&mut self) {
            SLEEPERS.with_borrow_mut(|sleepers| sleepers.remove(&self.0));
        }
    }
    let until = NOW.get() + milliseconds;
    let sleeper = Sleeper(NEXT.replace(NEXT.get() + 1));
    poll_fn(|context| match NOW.get() >= until {
        true => Poll::Ready(()),
        false => {
            let entry = (until, context.waker().clone());
            SLEEPERS.with_borrow_mut(|sleepers| sleepers.insert(sleeper.0, entry));
            Poll::Pending
        }
    })
    .await;
}

/// Lets others have their turn.
pub async fn take_turns() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        YIELDED.set(true);
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a test. When everything waits, time passes until the next sleeper wakes.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        if YIELDED.replace(false) {
            continue;
        }
        SLEEPERS.with_borrow_mut(|sleepers| {
            // Those of the past are not polled any more.
            let to_come = sleepers.values().map(|(until, _)| *until);
            let next = to_come.filter(|until| *until > NOW.get()).min();
            NOW.set(next.expect("everything waits, and nobody sleeps"));
            for (until, waker) in sleepers.values() {
                if *until <= NOW.get() {
                    waker.wake_by_ref();
                }
            }
        });
    }
}

/// Polls a future until this is true, and drops it: as when a page is left.
pub async fn abandon(future: impl Future, mut when: impl FnMut() -> bool) {
    let mut future = pin!(future);
    poll_fn(|context| {
        if when() {
            return Poll::Ready(());
        }
        assert!(future.as_mut().poll(context).is_pending(), "too late");
        match when() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Somewhere that a cache can be kept.
pub trait Place: Sized {
    type Backend: Backend;

    /// An empty one.
    fn new() -> Self;

    /// The same again: for somebody else of this process.
    fn open(&self) -> Self::Backend;

    /// As a process would that comes later.
    fn reopen(&self) -> Self::Backend;

    /// Puts any bytes in the place of a blob, or of a part of one.
    fn damage(&self, digest: &Digest, bytes: &[u8]);

    fn cache(&self) -> Cache<Self::Backend, Virtual> {
        self.cache_with(Options::default())
    }

    fn cache_with(&self, options: Options) -> Cache<Self::Backend, Virtual> {
        Cache::new(self.open(), Virtual { random: 1.0 }, options)
    }
}

pub struct InMemory(MemoryBackend);

impl Place for InMemory {
    type Backend = MemoryBackend;

    fn new() -> Self {
        Self(MemoryBackend::new())
    }

    fn open(&self) -> MemoryBackend {
        self.0.clone()
    }

    fn reopen(&self) -> MemoryBackend {
        self.0.clone()
    }

    fn damage(&self, digest: &Digest, bytes: &[u8]) {
        self.0.corrupt(*digest, bytes.into());
    }
}

pub struct InFolder(tempfile::TempDir);

impl InFolder {
    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Place for InFolder {
    type Backend = FolderBackend;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> FolderBackend {
        FolderBackend::new(self.0.path())
    }

    fn reopen(&self) -> FolderBackend {
        self.open()
    }

    fn damage(&self, digest: &Digest, bytes: &[u8]) {
        let folder = self.0.path().join("blobs/sha256");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(digest.hex()), bytes).unwrap();
    }
}

pub struct InKeyValue {
    store: MemoryKeyValue,
    backend: KeyValueBackend<MemoryKeyValue>,
}

impl InKeyValue {
    pub fn store(&self) -> &MemoryKeyValue {
        &self.store
    }
}

impl Place for InKeyValue {
    type Backend = KeyValueBackend<MemoryKeyValue>;

    fn new() -> Self {
        let store = MemoryKeyValue::new();
        Self {
            backend: KeyValueBackend::new(store.clone()),
            store,
        }
    }

    fn open(&self) -> Self::Backend {
        self.backend.clone()
    }

    fn reopen(&self) -> Self::Backend {
        KeyValueBackend::new(self.store.clone())
    }

    fn damage(&self, digest: &Digest, bytes: &[u8]) {
        run(async {
            let pieces = bytes.chunks(MAX_VALUE_BYTES);
            let head = format!("{} {}", bytes.len(), pieces.len());
            for (number, piece) in pieces.enumerate() {
                let key = format!("b/{}/{number}", digest.hex());
                self.store.set(&key, piece).await.unwrap();
            }
            let key = format!("h/{}", digest.hex());
            self.store.set(&key, head.as_bytes()).await.unwrap();
        });
    }
}

/// The same cases in every place.
#[macro_export]
macro_rules! everywhere {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { $crate::world::run(super::$case::<$crate::world::InMemory>()); })*
        }
        mod in_folder {
            $(#[test] fn $case() { $crate::world::run(super::$case::<$crate::world::InFolder>()); })*
        }
        mod in_key_value {
            $(#[test] fn $case() { $crate::world::run(super::$case::<$crate::world::InKeyValue>()); })*
        }
    };
}
