//! Slim engines: the functions that were entered, and calls of `missing` for all others.
//!
//! ```text
//! full engine --instrument--> run it on what it is for --entered--> Profile
//! full engine + Profile --strip--> --optimise--> slim engine
//! ```
//!
//! A module is one core module: the page's as wasm-bindgen made it, or the one inside of a
//! component. Functions are named by their index in the module that was given to
//! [`instrument`]; [`strip`] must get the same bytes.

pub mod component;
mod entered;
mod instrument;
mod optimise;
mod strip;

pub use entered::{entered, entered_words, words};
pub use instrument::{ENTERED, instrument};
pub use optimise::{Optimised, optimise, wasm_opt};
pub use strip::{MISSING_FUNCTION, MISSING_GLOBAL, Missing, strip};

use twinfer::{Result, bail, err};
use walrus::{Module, ModuleConfig};
use wasmparser::{Parser, Payload};

/// Reads a core module without its names, which would be most of a slim one.
fn parse(module: &[u8]) -> Result<Module> {
    if Parser::is_component(module) {
        bail!(
            InvalidRequest,
            "a component is no core module: take the module out of it first"
        );
    }
    ModuleConfig::new()
        .generate_producers_section(false)
        .parse(&nameless(module)?)
        .map_err(|e| err!(InvalidRequest, "not a WebAssembly module: {e:#}"))
}

/// The module without its sections `name` and `producers`.
fn nameless(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = Vec::with_capacity(module.len());
    let mut from = 0;
    // A section begins where the one before it ended: its identifier and length come first.
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(not_a_module)?;
        let end = match &payload {
            Payload::Version { range, .. } => range.end,
            _ => match payload.as_section() {
                Some((_, range)) => range.end,
                None => continue,
            },
        };
        let dropped = matches!(&payload, Payload::CustomSection(section) if matches!(section.name(), "name" | "producers"));
        if !dropped {
            kept.extend_from_slice(module.get(from..end).unwrap_or_default());
        }
        from = end;
    }
    Ok(kept)
}

/// How many functions a module has, imports included.
///
/// # Errors
/// `invalid_request` for anything but a core module.
pub fn functions(module: &[u8]) -> Result<usize> {
    let mut count = 0usize;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(not_a_module)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(not_a_module)?;
                    count += usize::from(matches!(
                        import.ty,
                        wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_)
                    ));
                }
            }
            Payload::FunctionSection(section) => count += section.count() as usize,
            _ => {}
        }
    }
    Ok(count)
}

fn not_a_module(error: wasmparser::BinaryReaderError) -> twinfer::Error {
    err!(InvalidRequest, "not a WebAssembly module: {error}")
}
