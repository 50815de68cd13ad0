//! The table of expected states: what does not pass, and why. Everything else is to pass.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::run::{State, States};

/// Where the states are not those of the table; `near` is as good as `pass`. Only the kind of a state
/// is compared: the reason beside it is for people, and a wrong number differs from processor to
/// processor. With `numbers_vary` a wrong number is no difference either: then what comes out of the
/// reference depends on the processor, and the table says how it was on one.
///
/// # Errors
/// When the table cannot be read.
pub fn differences(file: &Path, states: &States, numbers_vary: bool) -> io::Result<Vec<String>> {
    let table: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(file)?)?;
    let mut found = Vec::new();
    for (name, state) in states {
        let expected = table.get(name).map_or("pass", String::as_str);
        let kind = expected.split(':').next().unwrap_or_default();
        let is_close =
            |kind: &str| matches!(kind, "pass" | "near") || (numbers_vary && kind == "wrong");
        if kind != state.name() && !(is_close(kind) && is_close(state.name())) {
            found.push(format!("{name}: {state}, expected {expected}"));
        }
    }
    let gone = table.keys().filter(|name| !states.contains_key(*name));
    found.extend(gone.map(|name| format!("{name}: is in the table, and no case")));
    Ok(found)
}

/// Writes the table.
///
/// # Errors
/// When it cannot be written.
pub fn write(file: &Path, states: &States) -> io::Result<()> {
    let table: BTreeMap<&String, String> = (states.iter())
        .filter(|(_, state)| **state != State::Pass)
        .map(|(name, state)| (name, state.to_string()))
        .collect();
    std::fs::write(file, serde_json::to_string_pretty(&table)? + "\n")
}
