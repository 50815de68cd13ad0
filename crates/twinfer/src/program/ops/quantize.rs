//! Floating point as integers of a scale, and back.

use super::super::cast::{Numbers, Rules};
use super::super::inputs::{self, Inputs, Kernel, kernel, tensor_kernel};
use super::super::node::Node;
use super::integer::Bytes;
use crate::session::onnx_dtype;
use crate::{DType, Result, Tensor, Value, bail, element_count, err};

/// The engine has them for constant scales, 8 bits and no blocks.
pub(super) const OPS: super::Table = &[
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", dynamic),
    ("QuantizeLinear", quantize),
];

/// Those of `com.microsoft` (ContribOperators.md, com.microsoft 1): the same without blocks, where
/// they came first for 16 and for 4 bits.
pub(super) const MICROSOFT: super::Table = &[
    ("DequantizeLinear", dequantize),
    ("QuantizeLinear", quantize),
];

/// A type that an attribute names, where it names one.
fn dtype_of(node: &Node<'_>, name: &str) -> Result<Option<DType>> {
    match node.int(name, 0) {
        0 => Ok(None),
        code => {
            let dtype = i32::try_from(code).ok().and_then(onnx_dtype);
            let dtype = dtype.ok_or_else(|| err!(UnsupportedDtype, "`{name}` is {code}"))?;
            Ok(Some(dtype))
        }
    }
}

/// Which scale belongs to which elements.
struct Grid {
    outer: usize,
    length: usize,
    inner: usize,
    by: By,
}

enum By {
    Tensor,
    Axis,
    /// Elements of a block, and blocks along the axis.
    Block(usize, usize),
}

impl Grid {
    fn new(shape: &[usize], scale: &Tensor, axis: i64, block: usize) -> Result<Self> {
        let mut grid = Self {
            outer: 1,
            length: shape.iter().product(),
            inner: 1,
            by: By::Tensor,
        };
        let is_blocked = block > 0 && scale.shape().len() == shape.len() && !shape.is_empty();
        if scale.len() == 1 && !is_blocked {
            return Ok(grid);
        }
        let at = inputs::axis(axis, shape.len())?;
        let length = shape.get(at).copied().unwrap_or(0);
        // Without elements there is nothing to go through, whatever the other axes are.
        let is_empty = shape.contains(&0);
        grid.outer = if is_empty {
            0
        } else {
            shape.iter().take(at).product()
        };
        grid.inner = element_count(shape.get(at + 1..).unwrap_or_default())?;
        grid.length = length;
        let mut blocks = shape.to_vec();
        if is_blocked && let Some(place) = blocks.get_mut(at) {
            *place = length.div_ceil(block);
            grid.by = By::Block(block, *place);
            if scale.shape() == blocks {
                return Ok(grid);
            }
        }
        grid.by = By::Axis;
        if is_blocked || *scale.shape() != [length] {
            bail!(
                InvalidInput,
                "scales of {:?} do not fit to {shape:?} along axis {axis} in blocks of {block}",
                scale.shape()
            );
        }
        Ok(grid)
    }

    /// Calls for each run of elements, with how many they are, and the scale of the first; the
    /// scale of the next is as far away as said.
    fn runs(&self, mut run: impl FnMut(usize, usize, usize)) {
        let Self { length, inner, .. } = *self;
        for outer in 0..self.outer {
            match self.by {
                By::Tensor => run(length, 0, 0),
                By::Axis => (0..length).for_each(|at| run(inner, at, 0)),
                By::Block(block, blocks) => {
                    for at in 0..length {
                        run(inner, (outer * blocks + at / block) * inner, 1);
                    }
                }
            }
        }
    }

    /// A value for each element, from it, its scale and its zero point.
    fn each<X: Copy, Z: Copy, Y>(
        &self,
        elements: &[X],
        (scales, zeros): (&[f32], Option<&[Z]>),
        zero: Z,
        value: impl Fn(X, f32, Z) -> Y,
    ) -> Vec<Y> {
        let mut made = Vec::with_capacity(elements.len());
        let mut left = elements;
        self.runs(|count, first, step| {
            let (now, later) = left.split_at(count.min(left.len()));
            left = later;
            for (at, &x) in now.iter().enumerate() {
                let place = first + at * step;
                let zero = zeros.and_then(|z| z.get(place).copied()).unwrap_or(zero);
                let scale = scales.get(place).copied().unwrap_or(f32::NAN);
                made.push(value(x, scale, zero));
            }
        });
        made
    }
}

/// The plain forms, which most models have: FP32, 8 bits, and the same scale for whole runs.
impl Grid {
    /// Scales and zero points, where they are plain.
    fn plain(&self, scale: &Tensor, zero: Option<&Tensor>) -> Result<Option<Plain>> {
        if scale.dtype() != DType::F32 || matches!(self.by, By::Block(..)) {
            return Ok(None);
        }
        let scales = scale.to_vec::<f32>()?;
        let zeros = match zero {
            Some(zero) => Numbers::of(zero)?.ints(),
            None => vec![0; scales.len()],
        };
        Ok(Some(scales.into_iter().zip(zeros).collect()))
    }

    /// FP32 as UINT8 or INT8; nothing for other types.
    fn quantised(
        &self,
        x: &Tensor,
        scale: &Tensor,
        zero: Option<&Tensor>,
        dtype: DType,
    ) -> Result<Option<Tensor>> {
        if x.dtype() != DType::F32 || !matches!(dtype, DType::U8 | DType::I8) {
            return Ok(None);
        }
        let Some(plain) = self.plain(scale, zero)? else {
            return Ok(None);
        };
        let elements = x.view::<f32>()?;
        let mut left = &elements[..];
        let mut made = Vec::with_capacity(left.len());
        self.runs(|count, at, _| {
            let (now, later) = left.split_at(count.min(left.len()));
            left = later;
            let (scale, zero) = plain.get(at).copied().unwrap_or((f32::NAN, 0));
            let to = Bytes::new(dtype, zero);
            made.extend(now.iter().map(|x| to.nearest(x / scale)));
        });
        Tensor::from_bytes(dtype, x.shape(), made).map(Some)
    }

    /// UINT8 or INT8 as FP32; nothing for other types.
    fn dequantised(
        &self,
        x: &Tensor,
        scale: &Tensor,
        zero: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        if !matches!(x.dtype(), DType::U8 | DType::I8) {
            return Ok(None);
        }
        let Some(plain) = self.plain(scale, zero)? else {
            return Ok(None);
        };
        let is_signed = x.dtype() == DType::I8;
        let mut left = x.as_bytes().unwrap_or_default();
        let mut made = Vec::with_capacity(left.len());
        self.runs(|count, at, _| {
            let (now, later) = left.split_at(count.min(left.len()));
            left = later;
            let (scale, zero) = plain.get(at).copied().unwrap_or((f32::NAN, 0));
            let zero = zero as i32;
            match is_signed {
                true => made.extend(
                    now.iter()
                        .map(|&x| (i32::from(x as i8) - zero) as f32 * scale),
                ),
                false => made.extend(now.iter().map(|&x| (i32::from(x) - zero) as f32 * scale)),
            }
        });
        Tensor::from_vec(x.shape(), made).map(Some)
    }
}

/// A scale and a zero point for each run.
type Plain = Vec<(f32, i64)>;

/// Attributes that say which scale belongs where.
#[derive(Clone, Copy)]
struct Layout {
    axis: i64,
    block: usize,
}

impl Layout {
    fn of(node: &Node<'_>) -> Result<Self> {
        let block = node.int("block_size", 0);
        Ok(Self {
            axis: node.int("axis", 1),
            block: usize::try_from(block)
                .map_err(|_| err!(InvalidModel, "`block_size` is {block}"))?,
        })
    }

    fn grid(self, x: &Tensor, scale: &Tensor, zero: Option<&Tensor>) -> Result<Grid> {
        if let Some(zero) = zero.filter(|zero| zero.len() != scale.len()) {
            bail!(
                InvalidInput,
                "zero points of {:?} do not fit to scales of {:?}",
                zero.shape(),
                scale.shape()
            );
        }
        Grid::new(x.shape(), scale, self.axis, self.block)
    }
}

/// The smallest and the largest integer of a type.
pub(super) fn range(dtype: DType) -> Option<(i64, i64)> {
    Some(match dtype {
        DType::U8 => (0, 255),
        DType::I8 => (-128, 127),
        DType::U16 => (0, 65535),
        DType::I16 => (-32768, 32767),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U4 => (0, 15),
        DType::I4 => (-8, 7),
        DType::U2 => (0, 3),
        DType::I2 => (-2, 1),
        _ => return None,
    })
}

/// A number as one of a type.
pub(super) fn rounded(dtype: DType) -> fn(f32) -> f32 {
    match dtype {
        DType::F16 => |x| half::f16::from_f32(x).to_f32(),
        DType::BF16 => |x| half::bf16::from_f32(x).to_f32(),
        _ => |x| x,
    }
}

/// `QuantizeLinear` (Operators.md, ai.onnx 25).
fn quantize(node: &Node<'_>) -> Result<Option<Kernel>> {
    let layout = Layout::of(node)?;
    let output = dtype_of(node, "output_dtype")?;
    let precision = dtype_of(node, "precision")?;
    let rules = Rules {
        saturate: node.flag("saturate", true),
        ..Rules::default()
    };
    tensor_kernel(move |inputs| {
        let (x, scale, zero) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor_opt(2)?);
        let dtype = zero.map(Tensor::dtype).or(output).unwrap_or(DType::U8);
        if output.is_some_and(|output| output != dtype) {
            bail!(
                InvalidModel,
                "the zero point is of {dtype}, not of `output_dtype`"
            );
        }
        let grid = layout.grid(x, scale, zero)?;
        let precision = precision.unwrap_or(scale.dtype());
        if precision == DType::F32
            && let Some(made) = grid.quantised(x, scale, zero, dtype)?
        {
            return Ok(made);
        }
        let round = rounded(precision);
        let elements = Numbers::of(x)?.singles();
        let scales = Numbers::of(scale)?.singles();
        let divided = |x: f32, scale: f32| round(round(x) / round(scale));
        let numbers = match range(dtype) {
            Some((low, high)) => {
                let zeros = zero.map(|zero| Ok(Numbers::of(zero)?.ints())).transpose()?;
                let ints = grid.each(
                    &elements,
                    (&scales, zeros.as_deref()),
                    0,
                    |x, scale, zero| {
                        let nearest = divided(x, scale).round_ties_even() as i64;
                        nearest.saturating_add(zero).clamp(low, high)
                    },
                );
                Numbers::Ints(ints)
            }
            None => {
                let zeros = zero
                    .map(|zero| Ok(Numbers::of(zero)?.singles()))
                    .transpose()?;
                let all = grid.each(
                    &elements,
                    (&scales, zeros.as_deref()),
                    0.0,
                    |x, scale, zero| divided(x, scale) + zero,
                );
                Numbers::Singles(all)
            }
        };
        numbers.into_tensor(dtype, x.shape(), rules)
    })
    .map(Some)
}

/// `DequantizeLinear` (Operators.md, ai.onnx 25).
fn dequantize(node: &Node<'_>) -> Result<Option<Kernel>> {
    let layout = Layout::of(node)?;
    let output = dtype_of(node, "output_dtype")?;
    tensor_kernel(move |inputs| {
        let (x, scale, zero) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor_opt(2)?);
        if zero.is_some_and(|zero| zero.dtype() != x.dtype()) {
            bail!(InvalidInput, "the zero point is not of {}", x.dtype());
        }
        let grid = layout.grid(x, scale, zero)?;
        if output.is_none_or(|output| output == DType::F32)
            && let Some(made) = grid.dequantised(x, scale, zero)?
        {
            return Ok(made);
        }
        let scales = Numbers::of(scale)?.singles();
        let zeros = zero.map(Numbers::of).transpose()?;
        let all = match Numbers::of(x)? {
            Numbers::Ints(all) => {
                let zeros = zeros.map(|zeros| zeros.ints());
                grid.each(&all, (&scales, zeros.as_deref()), 0, |x, scale, zero| {
                    x.wrapping_sub(zero) as f32 * scale
                })
            }
            other => {
                let zeros = zeros.map(|zeros| zeros.singles());
                let all = other.singles();
                grid.each(&all, (&scales, zeros.as_deref()), 0.0, |x, scale, zero| {
                    (x - zero) * scale
                })
            }
        };
        let dtype = output.unwrap_or(scale.dtype());
        Numbers::Singles(all).into_tensor(dtype, x.shape(), Rules::default())
    })
    .map(Some)
}

/// `DynamicQuantizeLinear` (Operators.md, ai.onnx 11).
fn dynamic(_: &Node<'_>) -> Result<Option<Kernel>> {
    kernel(|inputs: &Inputs<'_>| {
        let x = inputs.tensor(0)?;
        let elements = x.view::<f32>()?;
        let to = Dynamic::of(&elements);
        let bytes = elements.iter().map(|&x| to.byte(x)).collect();
        Ok(vec![
            Value::Tensor(Tensor::from_bytes(DType::U8, x.shape(), bytes)?),
            Value::Tensor(Tensor::from_vec(&[], vec![to.scale])?),
            Value::Tensor(Tensor::from_vec(&[], vec![to.zero])?),
        ])
    })
    .map(Some)
}

/// Numbers as UINT8 between the smallest and the largest of them, and 0.
pub(super) struct Dynamic {
    pub(super) scale: f32,
    zero: u8,
    bytes: Bytes,
}

impl Dynamic {
    pub(super) fn of(elements: &[f32]) -> Self {
        let low = elements.iter().copied().fold(0f32, f32::min);
        let high = elements.iter().copied().fold(0f32, f32::max);
        let width = if high == low { 1.0 } else { high - low };
        let scale = width / 255.0;
        let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even() as u8;
        let bytes = Bytes::new(DType::U8, zero.into());
        Self { scale, zero, bytes }
    }

    fn byte(&self, x: f32) -> u8 {
        self.bytes.nearest(x / self.scale)
    }

    /// The integers without the zero point.
    pub(super) fn centred(&self, elements: &[f32]) -> Vec<i16> {
        let zero = i16::from(self.zero);
        let all = elements.iter();
        all.map(|&x| i16::from(self.byte(x)) - zero).collect()
    }
}
