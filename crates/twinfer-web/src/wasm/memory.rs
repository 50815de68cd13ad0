//! The allocator: the system's, which remembers what it could not give, and leaves nothing behind
//! while an engine is fused.
//!
//! A snapshot takes all memory that is not zero. Loading a model leaves several times its size of
//! garbage, so what is freed while [`clean`] is on becomes zero. Otherwise that costs a load and a
//! branch for each block that is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wasm_bindgen::prelude::*;

/// Bytes of the largest allocation that failed; 0 for none.
static FAILED: AtomicUsize = AtomicUsize::new(0);
static CLEAN: AtomicBool = AtomicBool::new(false);

struct Remembering;

#[global_allocator]
static ALLOCATOR: Remembering = Remembering;

/// From now on memory that is freed becomes zero, or no longer.
pub(super) fn clean(clean: bool) {
    CLEAN.store(clean, Ordering::Relaxed);
}

// SAFETY: every block comes from `System` and goes back to it with the same layout; the counter
// beside it does not touch the memory.
unsafe impl GlobalAlloc for Remembering {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of this same method.
        remember(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        remember(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !CLEAN.load(Ordering::Relaxed) {
            // SAFETY: as above.
            return remember(unsafe { System.realloc(pointer, layout, size) }, size);
        }
        // The system's would leave the old bytes behind where it moves them.
        // SAFETY: the caller promises that `size`, rounded up to the alignment, fits.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above; both places have so many bytes, and are apart.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if CLEAN.load(Ordering::Relaxed) {
            // SAFETY: the caller owns these bytes, and gives them up.
            unsafe { pointer.write_bytes(0, layout.size()) };
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn remember(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() {
        FAILED.fetch_max(size, Ordering::Relaxed);
    }
    pointer
}

/// Bytes of the largest allocation that failed; 0 for none. Meant to be called after a trap, and
/// needs no memory itself.
#[wasm_bindgen(js_name = failedAllocation)]
pub fn failed_allocation() -> usize {
    FAILED.load(Ordering::Relaxed)
}
