//! What to say when the instance stopped.
//!
//! WebAssembly does not unwind: a panic, or memory that cannot be had, ends in a trap, and
//! JavaScript gets a bare `RuntimeError: unreachable`. The reason is kept here, where it can
//! still be read after the trap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::PanicHookInfo;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasm_bindgen::prelude::*;

static PANIC: Mutex<Option<String>> = Mutex::new(None);
/// Bytes of the largest allocation that failed; 0 for none.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, remembering what it could not give.
struct Remembering;

// SAFETY: every method hands its arguments on to `System` unchanged and returns its answer;
// the counter beside it does not touch the memory.
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
        // SAFETY: as above.
        remember(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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

#[global_allocator]
static ALLOCATOR: Remembering = Remembering;

pub(super) fn install() {
    std::panic::set_hook(Box::new(|panic| {
        keep(panic);
        // With a stack trace in the console, for whoever debugs.
        #[cfg(debug_assertions)]
        console_error_panic_hook::hook(panic);
    }));
}

fn keep(panic: &PanicHookInfo<'_>) {
    // A lock that is held here is held by the code that panicked: then there is no room for
    // another reason.
    if let Ok(mut kept) = PANIC.try_lock() {
        kept.get_or_insert_with(|| panic.to_string());
    }
}

/// Bytes of the largest allocation that failed; 0 for none. Meant to be called after a trap, and
/// needs no memory itself.
#[wasm_bindgen(js_name = failedAllocation)]
pub fn failed_allocation() -> usize {
    FAILED.load(Ordering::Relaxed)
}

/// The text of the panic that stopped this instance; `undefined` for none. Meant to be called
/// after a trap.
#[wasm_bindgen(js_name = panicMessage)]
pub fn panic_message() -> Option<String> {
    PANIC.try_lock().ok()?.clone()
}
