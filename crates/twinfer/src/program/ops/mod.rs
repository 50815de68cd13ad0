//! Operators of ours for programs: those that the engine lacks, and forms of others that it gets
//! wrong.

mod cast;
mod forms;
mod integer;
mod plain;
mod quantize;
mod window;

use super::control;
use super::inputs::Kernel;
use super::node::Node;
use crate::Result;

pub(crate) use self::forms::needs_program;

/// Makes an operator of a node. `None` leaves this form of it to the engine.
pub(super) type Make = fn(&Node<'_>) -> Result<Option<Kernel>>;

/// A table of operators: names and how they are made.
type Table = &'static [(&'static str, Make)];

/// Those of the standard domain, by family.
const STANDARD: &[Table] = &[];
/// Those of `ai.onnx.ml`.
const ML: &[Table] = &[];
/// Those of `com.microsoft`.
const MICROSOFT: &[Table] = &[];

/// Those of the standard domain that the engine has, too: ours only where a graph runs node by
/// node anyway, for the types and forms that the engine lacks.
const FALLBACK: &[Table] = &[cast::OPS, integer::OPS, plain::OPS, quantize::OPS];

/// How an operator is made, where it is ours.
pub(super) fn find(domain: &str, operator: &str) -> Option<Make> {
    let tables = match domain {
        "" | "ai.onnx" => STANDARD,
        "ai.onnx.ml" => ML,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    let mut all = tables.iter().flat_map(|table| table.iter());
    all.find(|(name, _)| *name == operator)
        .map(|(_, make)| *make)
}

/// How an operator is made that is ours inside of a program only.
pub(super) fn fallback(domain: &str, operator: &str) -> Option<Make> {
    if !matches!(domain, "" | "ai.onnx") {
        return None;
    }
    let mut all = FALLBACK.iter().flat_map(|table| table.iter());
    all.find(|(name, _)| *name == operator)
        .map(|(_, make)| *make)
}

/// Whether a program has this operator where the engine may not have it.
pub(crate) fn takes(domain: &str, operator: &str) -> bool {
    let is_control = matches!(domain, "" | "ai.onnx") && control::takes(operator);
    is_control || find(domain, operator).is_some()
}
