//! Operators of ours for programs: those that the engine lacks, and forms of others that it gets
//! wrong.

mod ml;
mod sequences;
mod strings;
mod tfidf;

use super::control;
use super::inputs::Kernel;
use super::node::Node;
use crate::Result;

/// Makes an operator of a node. `None` leaves this form of it to the engine.
pub(super) type Make = fn(&Node<'_>) -> Result<Option<Kernel>>;

/// A table of operators: names and how they are made.
type Table = &'static [(&'static str, Make)];

/// Those of the standard domain, by family.
const STANDARD: &[Table] = &[sequences::OPS, strings::OPS, tfidf::OPS];
/// Those of `ai.onnx.ml`.
const ML: &[Table] = ml::TABLES;
/// Those of `com.microsoft`.
const MICROSOFT: &[Table] = &[strings::MICROSOFT];

/// Operators of the standard domain that the engine does right where it runs a graph as a whole.
const FALLBACK_STANDARD: &[Table] = &[sequences::FALLBACKS, strings::FALLBACKS];
/// The same of `ai.onnx.ml`.
const FALLBACK_ML: &[Table] = &[];

/// How an operator is made, where it is ours.
pub(super) fn find(domain: &str, operator: &str) -> Option<Make> {
    let tables = match domain {
        "" | "ai.onnx" => STANDARD,
        "ai.onnx.ml" => ML,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    look_up(tables, operator)
}

/// How an operator is made inside of a program, where the engine has it as well: for types and
/// values that only programs have.
pub(super) fn fallback(domain: &str, operator: &str) -> Option<Make> {
    match domain {
        "" | "ai.onnx" => look_up(FALLBACK_STANDARD, operator),
        "ai.onnx.ml" => look_up(FALLBACK_ML, operator),
        _ => None,
    }
}

fn look_up(tables: &[Table], operator: &str) -> Option<Make> {
    let mut all = tables.iter().flat_map(|table| table.iter());
    all.find(|(name, _)| *name == operator)
        .map(|(_, make)| *make)
}

/// Whether a program has this operator where the engine may not have it.
pub(crate) fn takes(domain: &str, operator: &str) -> bool {
    let is_control = matches!(domain, "" | "ai.onnx") && control::takes(operator);
    is_control || find(domain, operator).is_some()
}
