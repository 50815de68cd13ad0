//! What to say when the instance stopped.
//!
//! WebAssembly does not unwind: a panic, or memory that cannot be had, ends in a trap, and
//! JavaScript gets a bare `RuntimeError: unreachable`. The reason is kept here, where it can
//! still be read after the trap.

use std::panic::PanicHookInfo;
use std::sync::Mutex;

use wasm_bindgen::prelude::*;

static PANIC: Mutex<Option<String>> = Mutex::new(None);

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

/// The text of the panic that stopped this instance; `undefined` for none. Meant to be called
/// after a trap.
#[wasm_bindgen(js_name = panicMessage)]
pub fn panic_message() -> Option<String> {
    PANIC.try_lock().ok()?.clone()
}
