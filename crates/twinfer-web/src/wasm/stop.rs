//! What to say when the instance stopped.
//!
//! WebAssembly does not unwind: a panic, or memory that cannot be had, ends in a trap, and
//! JavaScript gets a bare `RuntimeError: unreachable`. The reason is kept here, where it can
//! still be read after the trap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::PanicHookInfo;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use wasm_bindgen::prelude::*;

static PANIC: Mutex<Option<String>> = Mutex::new(None);
/// Bytes of the last allocation that failed; 0 for none.
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
        FAILED.store(size, Ordering::Relaxed);
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

#[derive(Serialize)]
struct StopReason {
    panic: Option<String>,
    allocation: Option<usize>,
}

/// Why this instance stopped: `{panic: string | null, allocation: number | null}`, with the
/// text of a panic and the bytes of an allocation that failed. Meant to be called after a
/// trap, when nothing else here is to be called any more.
#[wasm_bindgen(js_name = stopReason)]
pub fn stop_reason() -> Result<JsValue, JsValue> {
    let panic = PANIC.try_lock().ok().and_then(|kept| kept.clone());
    let failed = FAILED.load(Ordering::Relaxed);
    super::to_js(&StopReason { panic, allocation: (failed > 0).then_some(failed) })
}
