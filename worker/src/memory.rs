//! The allocator: the system's, which leaves nothing behind while a component is fused.
//!
//! What a snapshot takes is all memory that is not zero. Loading a model leaves several times
//! its size of garbage, so freed memory is zeroed then.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

struct Cleaning;

static CLEAN: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Cleaning = Cleaning;

/// From now on memory that is freed becomes zero, or no longer.
pub(crate) fn clean(clean: bool) {
    CLEAN.store(clean, Ordering::Relaxed);
}

// SAFETY: every allocation comes from `System` and goes back to it with the same layout.
unsafe impl GlobalAlloc for Cleaning {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if CLEAN.load(Ordering::Relaxed) {
            // SAFETY: the caller owns these bytes, and gives them up.
            unsafe { memory.write_bytes(0, layout.size()) };
            // Somebody looks at them: to the optimiser, what is written before `free` is for
            // nobody, and it would leave it out.
            black_box(memory);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !CLEAN.load(Ordering::Relaxed) {
            // SAFETY: as above.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // The system's would leave the old bytes behind where it moves them.
        // SAFETY: the caller promises that `size`, rounded up to the alignment, fits.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above; both places have so many bytes, and are apart.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}
