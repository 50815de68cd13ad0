//! What a run takes: multiply-adds, and memory for values.

use std::cell::Cell;
use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::inputs::Inputs;
use super::node::Node;
use crate::Value;

/// Counts over a run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    multiply_adds: Cell<u64>,
    live: Cell<u64>,
    peak: Cell<u64>,
}

impl Meter {
    /// Multiply-adds of matrix products, convolutions and recurrent cells.
    pub(crate) fn multiply_adds(&self) -> u64 {
        self.multiply_adds.get()
    }

    /// The most bytes that values between the nodes took at a time.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.get()
    }

    pub(super) fn worked(&self, count: u64) {
        let all = self.multiply_adds.get().saturating_add(count);
        self.multiply_adds.set(all);
    }

    /// Bytes that are there from now on.
    pub(crate) fn made(&self, bytes: u64) {
        let live = self.live.get().saturating_add(bytes);
        self.live.set(live);
        self.peak.set(self.peak.get().max(live));
    }

    pub(super) fn released(&self, bytes: u64) {
        self.live.set(self.live.get().saturating_sub(bytes));
    }
}

/// The bytes of the elements of a value.
pub(crate) fn bytes_of(value: &Value) -> u64 {
    match value {
        Value::Tensor(tensor) => match (tensor.as_bytes(), tensor.strings()) {
            (Some(bytes), _) => bytes.len() as u64,
            (None, Some(strings)) => strings.iter().map(|s| s.len() as u64).sum(),
            (None, None) => 0,
        },
        Value::Sequence(items) => items.iter().map(bytes_of).sum(),
        Value::Optional(inner) => inner.as_deref().map_or(0, bytes_of),
        Value::Maps(maps) => maps.values.as_bytes().map_or(0, |bytes| bytes.len() as u64),
    }
}

/// How the multiply-adds of an operator follow from its shapes. Operators that only move or
/// transform elements one by one count nothing, as is usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    None,
    /// Each output is a sum over what one output channel of this input has.
    Convolution {
        weights: usize,
    },
    /// Each input is multiplied with what one input channel of the weights has.
    Transposed,
    /// Each output is a sum over the last axis of this input.
    Product {
        left: usize,
    },
    /// The same over the first axis of the first input.
    TransposedGemm,
    /// Each step multiplies with all weights of the inputs 1 and 2.
    Recurrent,
    /// Queries with keys, and scores with values.
    Attention,
    /// All combinations of the letters.
    Einsum(String),
}

impl Work {
    pub(super) fn of(proto: &NodeProto) -> Self {
        let node = Node::new(proto, 1);
        match proto.op_type.as_str() {
            "Conv" | "ConvInteger" | "DeformConv" => Self::Convolution { weights: 1 },
            "QLinearConv" => Self::Convolution { weights: 3 },
            "ConvTranspose" => Self::Transposed,
            "Gemm" if node.flag("transA", false) => Self::TransposedGemm,
            "MatMul"
            | "MatMulInteger"
            | "QLinearMatMul"
            | "Gemm"
            | "FusedMatMul"
            | "DynamicQuantizeMatMul"
            | "MatMulIntegerToFloat"
            | "QGemm" => Self::Product { left: 0 },
            "LSTM" | "GRU" | "RNN" => Self::Recurrent,
            "Attention" if proto.domain.is_empty() => Self::Attention,
            "Einsum" => match node.text("equation", "") {
                Ok(equation) => Self::Einsum(equation.replace(' ', "")),
                Err(_) => Self::None,
            },
            _ => Self::None,
        }
    }

    /// For these inputs, and what came out of them.
    pub(super) fn multiply_adds(&self, inputs: &Inputs<'_>, outputs: &[Value]) -> u64 {
        let shape = |index: usize| match inputs.optional(index) {
            Some(Value::Tensor(tensor)) => tensor.shape(),
            _ => &[],
        };
        let output = match outputs.first() {
            Some(Value::Tensor(tensor)) => tensor.shape(),
            _ => &[],
        };
        let after_first = |shape: &[usize]| count(shape.get(1..).unwrap_or_default());
        let last = |shape: &[usize]| shape.last().map_or(0, |&n| n as u64);
        match self {
            Self::None => 0,
            Self::Convolution { weights } => {
                count(output).saturating_mul(after_first(shape(*weights)))
            }
            Self::Transposed => count(shape(0)).saturating_mul(after_first(shape(1))),
            Self::Product { left } => count(output).saturating_mul(last(shape(*left))),
            Self::TransposedGemm => {
                count(output).saturating_mul(shape(0).first().map_or(0, |&n| n as u64))
            }
            Self::Recurrent => {
                let steps = count(shape(0).get(..2).unwrap_or_default());
                let weights = count(shape(1)).saturating_add(count(shape(2)));
                steps.saturating_mul(weights)
            }
            Self::Attention => {
                // The axis of positions is the last but one, in three axes and in four.
                let keys = shape(1).iter().rev().nth(1).map_or(0, |&n| n as u64);
                let both = count(shape(0)).saturating_add(count(output));
                both.saturating_mul(keys)
            }
            Self::Einsum(equation) => letters(equation, inputs),
        }
    }
}

fn letters(equation: &str, inputs: &Inputs<'_>) -> u64 {
    let mut sizes: HashMap<char, usize> = HashMap::new();
    let terms = equation.split("->").next().unwrap_or_default().split(',');
    for (index, term) in terms.enumerate() {
        if let Some(Value::Tensor(tensor)) = inputs.optional(index) {
            // Axes of an ellipsis have no letter, and are left out of the count.
            sizes.extend(term.chars().zip(tensor.shape().iter().copied()));
        }
    }
    let sizes: Vec<usize> = sizes.into_values().collect();
    count(&sizes)
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |all, &n| all.saturating_mul(n as u64))
}
