//! Reading what an instrumented module noted.

use std::collections::BTreeMap;

use twinfer::{Result, bail, err};
use twinfer_package::Digest;
use wasmparser::{ExternalKind, Operator, Parser, Payload};

use super::{ENTERED, functions, not_a_module};
use crate::Profile;

/// How many words an engine with so many functions has.
pub fn words(functions: usize) -> usize {
    functions.div_ceil(32)
}

/// The profile of words that were read from an instance: `engine` is the module as it was before
/// it was instrumented.
///
/// # Errors
/// `invalid_request` for another number of words than the engine has, and for what is no engine.
pub fn entered_words(engine: &[u8], entered: &[u32]) -> Result<Profile> {
    let count = functions(engine)?;
    if entered.len() != words(count) {
        bail!(
            InvalidRequest,
            "an engine of {count} functions has {} words of them, not {}",
            words(count),
            entered.len()
        );
    }
    let mut profile = Profile::new(Digest::of(engine), count);
    for (word, bits) in entered.iter().enumerate() {
        for bit in (0..32).filter(|bit| bits >> bit & 1 == 1) {
            profile.enter(word * 32 + bit);
        }
    }
    Ok(profile)
}

/// The profile in a snapshot of an instrumented module (memory and globals written back, as
/// wizer does it): the first values of its globals.
///
/// # Errors
/// `invalid_request` when the snapshot is no instrumented `engine`.
pub fn entered(engine: &[u8], snapshot: &[u8]) -> Result<Profile> {
    let (values, exports) = globals(snapshot)?;
    let words = (0..words(functions(engine)?)).map(|word| {
        let global = exports.get(&word);
        global
            .and_then(|global| *values.get(*global as usize)?)
            .ok_or_else(|| err!(InvalidRequest, "no instrumented engine: it has no global {ENTERED}{word} of type i32 with a constant value"))
    });
    entered_words(engine, &words.collect::<Result<Vec<u32>>>()?)
}

/// First values of all globals, and which global each word is.
type Globals = (Vec<Option<u32>>, BTreeMap<usize, u32>);

fn globals(module: &[u8]) -> Result<Globals> {
    let (mut values, mut exports) = (Vec::new(), BTreeMap::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(not_a_module)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let wasmparser::TypeRef::Global(_) = import.map_err(not_a_module)?.ty {
                        values.push(None);
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let mut code = global
                        .map_err(not_a_module)?
                        .init_expr
                        .get_operators_reader();
                    let first = code.read().map_err(not_a_module)?;
                    values.push(match first {
                        Operator::I32Const { value } => Some(value.cast_unsigned()),
                        _ => None,
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(not_a_module)?;
                    let word = export
                        .name
                        .strip_prefix(ENTERED)
                        .and_then(|n| n.parse().ok());
                    if let (ExternalKind::Global, Some(word)) = (export.kind, word) {
                        exports.insert(word, export.index);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((values, exports))
}
