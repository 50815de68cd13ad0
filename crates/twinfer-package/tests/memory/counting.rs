//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGE: AtomicUsize = AtomicUsize::new(0);

/// From this size on an allocation is as large as the tensors of these tests.
const LARGE_BYTES: usize = 1 << 20;

/// What some work took of memory, in bytes, beyond what there was before.
pub struct Measured {
    /// At most, at any time.
    pub peak: usize,
    /// What is still there.
    pub kept: usize,
    /// How often at least a mebibyte was asked for at once.
    pub large: usize,
}

/// Measures some work; to be called under [`serial`].
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGE.store(0, Relaxed);
    let result = work();
    let measured = Measured {
        peak: PEAK.load(Relaxed).saturating_sub(before),
        kept: NOW.load(Relaxed).saturating_sub(before),
        large: LARGE.load(Relaxed),
    };
    (result, measured)
}

/// Holds other measurements off: the counts are those of the process.
pub fn serial() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn took(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
    if bytes >= LARGE_BYTES {
        LARGE.fetch_add(1, Relaxed);
    }
}

// SAFETY: everything is handed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    // As if it were copied: at its peak it may be.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}
