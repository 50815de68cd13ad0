//! `MatMulNBits`: a product with weights of a few bits, in blocks that have a scale each.

use std::borrow::Cow;

use super::super::dots::dot_floats;
use super::super::integer::MAX_ELEMENTS;
use crate::program::cast::{Numbers, Rules};
use crate::program::inputs::{Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{DType, Result, Tensor, bail, element_count, err};

pub(in super::super) const OPS: super::super::Table = &[("MatMulNBits", mat_mul)];

/// `MatMulNBits` (ContribOperators.md, com.microsoft 1), in FP32: `accuracy_level`, by which rows
/// may become INT8 before, allows for less precision and does not ask for it.
fn mat_mul(node: &Node<'_>) -> Result<Option<Kernel>> {
    let size = |name: &str| {
        let value = node.required(name, node.int_opt(name))?;
        let size = usize::try_from(value).ok().filter(|&n| n <= 1 << 30);
        size.ok_or_else(|| err!(InvalidModel, "`{name}` is {value}"))
    };
    let bits = match node.int("bits", 4) {
        bits @ (2 | 4 | 8) => bits as usize,
        bits => return node.unsupported(format_args!("`bits` of {bits}")),
    };
    if node.int("weight_prepacked", 0) != 0 {
        return node.unsupported("weights that are packed for a processor");
    }
    let product = Product {
        depth: size("K")?,
        columns: size("N")?,
        block: size("block_size")?,
        bits,
    };
    if product.block < 16 || !product.block.is_power_of_two() {
        bail!(InvalidModel, "`block_size` is {}", product.block);
    }
    tensor_kernel(move |inputs| product.run(inputs)).map(Some)
}

struct Product {
    depth: usize,
    columns: usize,
    block: usize,
    bits: usize,
}

/// What the weights are in.
struct Weights<'a> {
    bytes: &'a [u8],
    scales: Vec<f32>,
    zeros: Zeros<'a>,
    /// The block that a place along the depth belongs to, where that is not the one it lies in.
    groups: Option<Vec<usize>>,
}

enum Zeros<'a> {
    /// The middle of the numbers of so many bits.
    Middle,
    Packed(Cow<'a, [u8]>),
    Numbers(Vec<f32>),
}

impl Product {
    fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    fn weights<'a>(&self, inputs: &Inputs<'a>) -> Result<Weights<'a>> {
        let tensor = inputs.tensor(1)?;
        let bytes = tensor.as_bytes().unwrap_or_default();
        let blocks = self.blocks();
        let scales = Numbers::of(inputs.tensor(2)?)?.singles();
        let all = element_count(&[self.columns, blocks])?;
        let is_whole = tensor.dtype() == DType::U8
            && element_count(&[all, self.block * self.bits / 8])? == bytes.len();
        if !is_whole || scales.len() != all {
            bail!(
                InvalidInput,
                "weights of {:?} and {} scales for {} columns of {} in blocks of {}",
                tensor.shape(),
                scales.len(),
                self.columns,
                self.depth,
                self.block
            );
        }
        let zeros = match inputs.tensor_opt(3)? {
            None => Zeros::Middle,
            Some(zeros) if zeros.dtype() == DType::U8 => Zeros::Packed(zeros.view::<u8>()?),
            Some(zeros) => Zeros::Numbers(Numbers::of(zeros)?.singles()),
        };
        let (given, wanted) = match &zeros {
            Zeros::Middle => (0, 0),
            Zeros::Packed(bytes) => (bytes.len(), self.columns * (blocks * self.bits).div_ceil(8)),
            Zeros::Numbers(all_zeros) => (all_zeros.len(), all),
        };
        if given != wanted {
            bail!(
                InvalidInput,
                "{given} instead of {wanted} elements of zero points"
            );
        }
        let groups = inputs.ints_opt(4)?.map(|groups| {
            let inside = |&group: &i64| usize::try_from(group).ok().filter(|&at| at < blocks);
            let groups: Option<Vec<usize>> = groups.iter().map(inside).collect();
            // The last block may go on beyond the depth.
            groups.filter(|groups| groups.len() >= self.depth)
        });
        if let Some(None) = groups {
            bail!(InvalidInput, "`g_idx` does not name the {blocks} blocks");
        }
        Ok(Weights {
            bytes,
            scales,
            zeros,
            groups: groups.flatten(),
        })
    }

    /// Some bits of a byte, the first in the lowest.
    fn code(&self, byte: u8, at: usize) -> u8 {
        let shift = at * self.bits % 8;
        (byte >> shift) & (u8::MAX >> (8 - self.bits))
    }

    /// Scale and zero point of a block of a column.
    fn point(&self, weights: &Weights<'_>, column: usize, block: usize) -> (f32, f32) {
        let at = column * self.blocks() + block;
        let scale = weights.scales.get(at).copied().unwrap_or(f32::NAN);
        let zero = match &weights.zeros {
            Zeros::Middle => f32::from(1u8 << (self.bits - 1)),
            Zeros::Packed(bytes) => {
                let row = (self.blocks() * self.bits).div_ceil(8);
                let byte = bytes.get(column * row + block * self.bits / 8);
                self.code(byte.copied().unwrap_or(0), block).into()
            }
            Zeros::Numbers(all) => all.get(at).copied().unwrap_or(f32::NAN),
        };
        (scale, zero)
    }

    /// The weights of a column.
    fn column(&self, weights: &Weights<'_>, column: usize, to: &mut [f32]) {
        let size = self.block * self.bits / 8;
        let start = column * self.blocks() * size;
        let bytes = weights.bytes.get(start..).unwrap_or_default();
        if let Some(groups) = &weights.groups {
            for (at, (to, &group)) in to.iter_mut().zip(groups).enumerate() {
                let byte = bytes.get(at * self.bits / 8).copied().unwrap_or(0);
                let (scale, zero) = self.point(weights, column, group);
                *to = (f32::from(self.code(byte, at)) - zero) * scale;
            }
            return;
        }
        let blocks = to.chunks_mut(self.block).zip(bytes.chunks_exact(size));
        for (block, (to, bytes)) in blocks.enumerate() {
            let (scale, zero) = self.point(weights, column, block);
            let value = |code: u8| (f32::from(code) - zero) * scale;
            match self.bits {
                4 => {
                    for (pair, &byte) in to.chunks_mut(2).zip(bytes) {
                        for (to, code) in pair.iter_mut().zip([byte & 15, byte >> 4]) {
                            *to = value(code);
                        }
                    }
                }
                8 => {
                    let pairs = to.iter_mut().zip(bytes);
                    pairs.for_each(|(to, &byte)| *to = value(byte));
                }
                _ => {
                    for (at, to) in to.iter_mut().enumerate() {
                        let byte = bytes.get(at * self.bits / 8).copied().unwrap_or(0);
                        *to = value(self.code(byte, at));
                    }
                }
            }
        }
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let a = inputs.tensor(0)?;
        let weights = self.weights(inputs)?;
        let [front @ .., depth] = a.shape() else {
            bail!(InvalidInput, "the left factor has no axes");
        };
        let shape = [front, &[self.columns]].concat();
        if *depth != self.depth || element_count(&shape)? > MAX_ELEMENTS {
            bail!(
                InvalidInput,
                "{:?} does not fit to weights of {} by {}",
                a.shape(),
                self.depth,
                self.columns
            );
        }
        let bias = inputs.tensor_opt(5)?.map(Numbers::of).transpose()?;
        let bias = bias.map(|bias| bias.singles());
        if bias.as_ref().is_some_and(|all| all.len() != self.columns) {
            bail!(InvalidInput, "the biases are not {}", self.columns);
        }
        let rows = Numbers::of(a)?.singles();
        let mut made = vec![0f32; element_count(&shape)?];
        let mut of_column = vec![0f32; self.depth];
        for column in 0..self.columns {
            self.column(&weights, column, &mut of_column);
            let bias = bias.as_ref().and_then(|all| all.get(column));
            let bias = bias.copied().unwrap_or(0.0);
            let outs = made.iter_mut().skip(column).step_by(self.columns);
            for (row, out) in rows.chunks_exact(self.depth.max(1)).zip(outs) {
                *out = dot_floats(row, &of_column) + bias;
            }
        }
        Numbers::Singles(made).into_tensor(a.dtype(), &shape, Rules::default())
    }
}
