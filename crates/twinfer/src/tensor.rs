//! Tensors and values at the boundary: what goes into a model and what comes out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::session::Aligned;
use crate::{Element, Result, bail};

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:expr;)*) => {
        /// Data types of tensors: those of ONNX, under the names of the Open Inference
        /// Protocol v2 where it has one (`FP32`, `INT64`, `BYTES` for strings).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
        pub enum DType {
            $(#[doc = $name] #[serde(rename = $name)] $variant,)*
        }

        impl DType {
            /// Every data type there is.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// The name in requests, signatures and messages.
            pub fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(DType::$variant),)* _ => None }
            }

            /// Bits of an element; `None` for strings.
            pub fn bits(self) -> Option<usize> {
                match self { $(DType::$variant => $bits,)* }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" Some(8);
    U8 "UINT8" Some(8);
    U16 "UINT16" Some(16);
    U32 "UINT32" Some(32);
    U64 "UINT64" Some(64);
    I8 "INT8" Some(8);
    I16 "INT16" Some(16);
    I32 "INT32" Some(32);
    I64 "INT64" Some(64);
    F16 "FP16" Some(16);
    BF16 "BF16" Some(16);
    F32 "FP32" Some(32);
    F64 "FP64" Some(64);
    F8E4M3FN "FP8E4M3FN" Some(8);
    F8E4M3FNUZ "FP8E4M3FNUZ" Some(8);
    F8E5M2 "FP8E5M2" Some(8);
    F8E5M2FNUZ "FP8E5M2FNUZ" Some(8);
    F8E8M0 "FP8E8M0" Some(8);
    F4E2M1 "FP4E2M1" Some(4);
    U4 "UINT4" Some(4);
    I4 "INT4" Some(4);
    U2 "UINT2" Some(2);
    I2 "INT2" Some(2);
    Complex64 "COMPLEX64" Some(64);
    Complex128 "COMPLEX128" Some(128);
    String "BYTES" None;
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A dense tensor: data type, shape, and elements in row-major order.
///
/// Numbers are kept as little-endian bytes, the form in which every boundary (HTTP,
/// JavaScript, `.npy`) has them; 4-bit types are packed two to a byte and 2-bit types four,
/// the first in the lowest bits, as in ONNX.
///
/// Memory that the engine computes with must be aligned. What is made with
/// [`Tensor::from_slice`], [`Tensor::filled`] or [`Tensor::from_vec`] lies there from the
/// beginning, and outputs lie where the engine left them: a run copies neither. What is made
/// with [`Tensor::from_bytes`] is copied once, when a run takes it.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    /// Bytes as they came, with any alignment.
    Bytes(Vec<u8>),
    /// Memory that the engine takes as it is.
    Aligned(Aligned),
    Strings(Vec<String>),
}

/// The same elements, wherever they lie.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.as_bytes() == other.as_bytes()
            && self.strings() == other.strings()
    }
}

/// Number of elements of a shape.
///
/// # Errors
/// `wrong_shape` when it is more than the address space can hold, or would be without the axes
/// that are 0: what lies between the rows of a tensor without elements is computed all the same.
pub fn element_count(shape: &[usize]) -> Result<usize> {
    let axes = shape.iter().map(|&axis| axis.max(1));
    // With room for elements of 16 bytes.
    let room = axes.chain([16]).try_fold(1usize, usize::checked_mul);
    if room.is_none() {
        bail!(
            WrongShape,
            "shape {shape:?} has more elements than fit into memory"
        );
    }
    Ok(shape.iter().product())
}

impl Tensor {
    /// A tensor of numbers or booleans.
    ///
    /// # Errors
    /// `wrong_shape` when the number of values is not the product of the axes.
    pub fn from_vec<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Self> {
        check_length(shape, values.len())?;
        if let Some(bytes) = T::bytes_of(&values) {
            return Self::from_slice(T::DTYPE, shape, bytes);
        }
        let mut bytes = Vec::with_capacity(size_of_val(values.as_slice()));
        for value in values {
            value.write(&mut bytes);
        }
        Self::from_bytes(T::DTYPE, shape, bytes)
    }

    /// A tensor of numbers from their little-endian bytes. Where these are only borrowed, or
    /// are to be copied anyway, [`Tensor::from_slice`] saves a copy.
    ///
    /// # Errors
    /// `wrong_shape` when there are more or fewer bytes than the shape needs;
    /// `wrong_dtype` for strings, which have no fixed size; `invalid_input` for a
    /// boolean that is neither 0 nor 1.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Result<Self> {
        check_bytes(dtype, shape, bytes.len())?;
        Self::of(dtype, shape, Data::Bytes(bytes))
    }

    /// A tensor of numbers from a copy of their little-endian bytes: the only copy on the way
    /// into the engine.
    ///
    /// # Errors
    /// Those of [`Tensor::from_bytes`].
    pub fn from_slice(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        check_bytes(dtype, shape, bytes.len())?;
        let data = match Aligned::copy_of(dtype, shape, bytes)? {
            Some(aligned) => Data::Aligned(aligned),
            None => Data::Bytes(bytes.to_vec()),
        };
        Self::of(dtype, shape, data)
    }

    /// A tensor of numbers whose `length` little-endian bytes `fill` writes: for bytes that are
    /// outside of the memory of the process, or come in pieces.
    ///
    /// # Errors
    /// Those of [`Tensor::from_bytes`].
    pub fn filled(
        dtype: DType,
        shape: &[usize],
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Self> {
        check_bytes(dtype, shape, length)?;
        let data = match Aligned::zeros(dtype, shape)? {
            Some(mut aligned) => {
                fill(aligned.bytes_mut());
                Data::Aligned(aligned)
            }
            None => {
                let mut bytes = vec![0; length];
                fill(&mut bytes);
                Data::Bytes(bytes)
            }
        };
        Self::of(dtype, shape, data)
    }

    /// An output, where the engine left it.
    pub(crate) fn from_aligned(dtype: DType, shape: &[usize], aligned: Aligned) -> Result<Self> {
        check_bytes(dtype, shape, aligned.bytes().len())?;
        Ok(Self {
            dtype,
            shape: shape.to_vec(),
            data: Data::Aligned(aligned),
        })
    }

    /// Numbers of the right length.
    fn of(dtype: DType, shape: &[usize], data: Data) -> Result<Self> {
        let tensor = Self {
            dtype,
            shape: shape.to_vec(),
            data,
        };
        let bytes = tensor.as_bytes().unwrap_or_default();
        if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
            bail!(
                InvalidInput,
                "a BOOL is one byte, 0 or 1; another value is in the data"
            );
        }
        Ok(tensor)
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// `wrong_shape` when the number of strings is not the product of the axes.
    pub fn from_strings(shape: &[usize], strings: Vec<String>) -> Result<Self> {
        check_length(shape, strings.len())?;
        Ok(Self {
            dtype: DType::String,
            shape: shape.to_vec(),
            data: Data::Strings(strings),
        })
    }

    /// The data type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The axes, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements (an axis is 0).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The little-endian bytes of the elements; `None` for strings.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Bytes(bytes) => Some(bytes),
            Data::Aligned(aligned) => Some(aligned.bytes()),
            Data::Strings(_) => None,
        }
    }

    /// The bytes, without a copy where [`Tensor::from_bytes`] took them; `None` for strings.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self.data {
            Data::Bytes(bytes) => Some(bytes),
            Data::Aligned(aligned) => Some(aligned.bytes().to_vec()),
            Data::Strings(_) => None,
        }
    }

    /// The memory for the engine, where the elements lie in such memory.
    pub(crate) fn take_aligned(&mut self) -> Option<Aligned> {
        if !matches!(self.data, Data::Aligned(_)) {
            return None;
        }
        match std::mem::replace(&mut self.data, Data::Bytes(Vec::new())) {
            Data::Aligned(aligned) => Some(aligned),
            Data::Bytes(_) | Data::Strings(_) => None,
        }
    }

    /// The strings; `None` for numbers.
    pub fn strings(&self) -> Option<&[String]> {
        match &self.data {
            Data::Strings(strings) => Some(strings),
            Data::Bytes(_) | Data::Aligned(_) => None,
        }
    }

    /// The elements as their Rust type: where they lie if memory allows, a copy otherwise.
    ///
    /// # Errors
    /// `wrong_dtype` when the tensor holds another type.
    pub fn view<T: Element>(&self) -> Result<Cow<'_, [T]>> {
        match self.as_bytes() {
            Some(bytes) if self.dtype == T::DTYPE => Ok(match T::view_of(bytes) {
                Some(elements) => Cow::Borrowed(elements),
                None => bytes.chunks_exact(size_of::<T>()).map(T::read).collect(),
            }),
            _ => bail!(
                WrongDtype,
                "expected a tensor of {}, this one is {}",
                T::DTYPE,
                self.dtype
            ),
        }
    }

    /// The elements as a vector of their Rust type.
    ///
    /// # Errors
    /// Those of [`Tensor::view`].
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.view().map(Cow::into_owned)
    }
}

fn check_bytes(dtype: DType, shape: &[usize], length: usize) -> Result<()> {
    let Some(bits) = dtype.bits() else {
        bail!(
            WrongDtype,
            "strings (BYTES) have no fixed size and cannot be given as raw bytes"
        );
    };
    let needed = element_count(shape)?
        .checked_mul(bits)
        .map(|bits| bits.div_ceil(8));
    if needed != Some(length) {
        bail!(
            WrongShape,
            "{dtype} of shape {shape:?} needs {} bytes of data, got {length}",
            needed.map_or("too many".into(), |n| n.to_string()),
        );
    }
    Ok(())
}

fn check_length(shape: &[usize], length: usize) -> Result<()> {
    let needed = element_count(shape)?;
    if needed != length {
        bail!(
            WrongShape,
            "shape {shape:?} has {needed} elements, got {length}"
        );
    }
    Ok(())
}

/// Keys of [`Maps`], as the model has them: class labels, names of features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum MapKeys {
    /// Integer labels.
    Ints(Vec<i64>),
    /// String labels.
    Strings(Vec<String>),
}

impl MapKeys {
    /// Number of keys.
    pub fn len(&self) -> usize {
        match self {
            MapKeys::Ints(keys) => keys.len(),
            MapKeys::Strings(keys) => keys.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Integers from their decimal texts, as JSON has keys.
    ///
    /// # Errors
    /// `invalid_input` for other texts.
    pub(crate) fn ints_of(keys: &[String]) -> Result<Self> {
        let int = |key: &String| match key.parse::<i64>() {
            // Two texts of one number would be two keys.
            Ok(int) if int.to_string() == *key => Ok(int),
            _ => bail!(
                InvalidInput,
                "the keys of the maps are INT64, and `{}` is no such number",
                key.chars().take(40).collect::<String>()
            ),
        };
        keys.iter().map(int).collect::<Result<_>>().map(Self::Ints)
    }

    /// The keys as JSON object keys.
    pub fn to_strings(&self) -> Vec<String> {
        match self {
            MapKeys::Ints(keys) => keys.iter().map(i64::to_string).collect(),
            MapKeys::Strings(keys) => keys.clone(),
        }
    }
}

/// A map, or a sequence of maps that share their keys: what scikit-learn exports give as
/// probabilities (ONNX `ai.onnx.ml.ZipMap`), and what a `DictVectorizer` takes. A key that a map
/// does not have has 0 or an empty text in its row. `values` has shape `[maps, keys]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Maps {
    /// The keys of every map, in the order of the columns of `values`.
    pub keys: MapKeys,
    /// One row a map.
    pub values: Tensor,
}

/// What goes into a model and comes out of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A map, or a sequence of maps that share their keys.
    Maps(Maps),
    /// A sequence (ONNX `seq`): tensors, or whatever else.
    Sequence(Vec<Value>),
    /// A value that may be missing (ONNX `optional`).
    Optional(Option<Box<Value>>),
}

impl Value {
    /// The numbers in it: the tensor, or the values of the maps.
    ///
    /// # Errors
    /// `unsupported_dtype` for sequences and optionals, which are no tensor.
    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Maps(maps) => Ok(&maps.values),
            Value::Sequence(_) => bail!(UnsupportedDtype, "this is a sequence, not a tensor"),
            Value::Optional(_) => bail!(UnsupportedDtype, "this is an optional, not a tensor"),
        }
    }
}

/// Named tensors, in the order in which they were given.
pub type Tensors = Vec<(String, Tensor)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn a_shape_beyond_memory_is_refused_also_without_elements() {
        for shape in [&[usize::MAX, 2][..], &[0, 1 << (usize::BITS - 8), 1 << 7]] {
            let error = element_count(shape).unwrap_err();
            assert_eq!(error.code(), ErrorCode::WrongShape);
            let error = Tensor::from_slice(DType::F32, shape, &[]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::WrongShape);
        }
        assert_eq!(element_count(&[0, 1 << 20]).unwrap(), 0);
    }

    #[test]
    fn numbers_go_in_and_come_out_unchanged() {
        let tensor =
            Tensor::from_vec(&[2, 2], vec![1.5f32, f32::NAN, -0.0, f32::INFINITY]).unwrap();
        let back: Vec<u32> = tensor
            .to_vec::<f32>()
            .unwrap()
            .iter()
            .map(|v| v.to_bits())
            .collect();
        assert_eq!(
            back,
            [1.5f32, f32::NAN, -0.0, f32::INFINITY].map(f32::to_bits)
        );
        let again =
            Tensor::from_bytes(DType::F32, &[4], tensor.as_bytes().unwrap().to_vec()).unwrap();
        assert_eq!(again.as_bytes(), tensor.as_bytes());
    }

    #[test]
    fn lengths_that_do_not_fit_the_shape_are_refused() {
        for (shape, bytes) in [
            (vec![3], 8),
            (vec![2, usize::MAX], 8),
            (vec![usize::MAX], 0),
        ] {
            let error = Tensor::from_bytes(DType::F32, &shape, vec![0; bytes]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::WrongShape, "{shape:?}");
        }
        assert!(Tensor::from_bytes(DType::U4, &[3], vec![0; 2]).is_ok());
        assert!(Tensor::from_bytes(DType::I2, &[5], vec![0; 2]).is_ok());
        assert_eq!(
            Tensor::from_bytes(DType::Bool, &[1], vec![2])
                .unwrap_err()
                .code(),
            ErrorCode::InvalidInput
        );
    }

    #[test]
    fn names_and_types_are_one_to_one() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
    }
}
