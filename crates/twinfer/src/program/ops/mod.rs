//! Operators of ours for programs: those that the engine lacks, and forms of others that it gets
//! wrong.

mod attention;
mod bits;
mod cast;
#[cfg(test)]
mod checks;
mod decode;
mod dft;
mod dots;
mod embedding;
mod floats;
mod forms;
mod fused;
mod grid;
mod hash;
mod integer;
mod linear_attention;
mod losses;
mod ml;
mod modes;
mod plain;
mod pool;
mod products;
mod quantize;
mod quantized;
mod random;
mod real;
mod regions;
mod resize;
mod sequences;
mod shapes;
mod strings;
mod tfidf;
mod training;
mod unique;
mod window;

pub(super) use self::attention::Flex;
pub(super) use self::fused::{is_fused, nodes as standard_nodes, standard};

use super::control;
use super::inputs::Kernel;
use super::node::Node;
use crate::Result;

pub(crate) use self::forms::needs_program;
pub(crate) use self::fused::put_standard;

/// Makes an operator of a node. `None` leaves this form of it to the engine.
pub(super) type Make = fn(&Node<'_>) -> Result<Option<Kernel>>;

/// A table of operators: names and how they are made.
type Table = &'static [(&'static str, Make)];

/// Those of the standard domain, by family.
const STANDARD: &[Table] = &[
    attention::OPS,
    bits::OPS,
    decode::OPS,
    dft::OPS,
    grid::OPS,
    integer::OWN,
    linear_attention::OPS,
    losses::OPS,
    pool::OPS,
    products::OPS,
    random::OPS,
    regions::OPS,
    resize::OPS,
    sequences::OPS,
    shapes::OPS,
    strings::OPS,
    tfidf::OPS,
    unique::OPS,
];
/// Those of `ai.onnx.ml`.
const ML: &[Table] = ml::TABLES;
/// Those of `com.microsoft`.
const MICROSOFT: &[Table] = &[
    attention::MICROSOFT,
    embedding::MICROSOFT,
    fused::MICROSOFT,
    hash::MICROSOFT,
    quantized::BLOCKS,
    quantized::ELEMENTS,
    quantized::LINEAR,
    quantized::LSTM,
    quantized::POOLED,
    quantize::MICROSOFT,
    strings::MICROSOFT,
];
/// Those of `ai.onnx.preview`.
const PREVIEW: &[Table] = &[attention::PREVIEW];
/// Those of `ai.onnx.preview.training`.
const TRAINING: &[Table] = &[training::OPS];

/// Those of the standard domain that the engine has, and does not always do right, or only where
/// all is known when it plans, or not for every type: they are ours inside of a program, and are no
/// reason for one.
const FALLBACK: &[Table] = &[
    cast::OPS,
    grid::FALLBACK,
    integer::OPS,
    modes::OPS,
    plain::OPS,
    quantize::OPS,
    resize::FALLBACK,
    sequences::FALLBACKS,
    shapes::FALLBACK,
    strings::FALLBACKS,
];

/// How an operator is made, where it is ours.
pub(super) fn find(domain: &str, operator: &str) -> Option<Make> {
    let tables = match domain {
        "" | "ai.onnx" => STANDARD,
        "ai.onnx.ml" => ML,
        "com.microsoft" => MICROSOFT,
        "ai.onnx.preview" => PREVIEW,
        "ai.onnx.preview.training" => TRAINING,
        _ => return None,
    };
    look_up(tables, operator)
}

/// How an operator is made inside of a program, where the engine has it as well.
pub(super) fn fallback(domain: &str, operator: &str) -> Option<Make> {
    match domain {
        "" | "ai.onnx" => look_up(FALLBACK, operator),
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
