//! Our tensors as the engine's, and back.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, IntoTValue, TValue, Tensor as EngineTensor, tensor1};

use crate::{DType, Result, Tensor, err};

/// The engine's type for ours.
///
/// # Errors
/// `unsupported_dtype` for those that it does not have.
pub(crate) fn engine_dtype(dtype: DType) -> Result<DatumType> {
    Ok(match dtype {
        DType::Bool => DatumType::Bool,
        DType::U8 => DatumType::U8,
        DType::U16 => DatumType::U16,
        DType::U32 => DatumType::U32,
        DType::U64 => DatumType::U64,
        DType::I8 => DatumType::I8,
        DType::I16 => DatumType::I16,
        DType::I32 => DatumType::I32,
        DType::I64 => DatumType::I64,
        DType::F16 => DatumType::F16,
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::String => DatumType::String,
        other => {
            return Err(err!(
                UnsupportedDtype,
                "the engine does not compute with {other}"
            ));
        }
    })
}

/// Our type for the engine's.
///
/// # Errors
/// `unsupported_dtype` for those that never leave a model.
pub(crate) fn our_dtype(dtype: DatumType) -> Result<DType> {
    Ok(match dtype.unquantized() {
        DatumType::Bool => DType::Bool,
        DatumType::U8 => DType::U8,
        DatumType::U16 => DType::U16,
        DatumType::U32 => DType::U32,
        DatumType::U64 => DType::U64,
        DatumType::I8 => DType::I8,
        DatumType::I16 => DType::I16,
        DatumType::I32 => DType::I32,
        // Shapes are symbolic integers inside the engine and INT64 in ONNX.
        DatumType::I64 | DatumType::TDim => DType::I64,
        DatumType::F16 => DType::F16,
        DatumType::F32 => DType::F32,
        DatumType::F64 => DType::F64,
        DatumType::String => DType::String,
        other => {
            return Err(err!(
                UnsupportedDtype,
                "the engine gives {other:?}, which ONNX has not"
            ));
        }
    })
}

/// Memory that the engine computes with: numbers of one of its types, aligned for its kernels.
/// A clone shares it.
#[derive(Debug, Clone)]
pub(crate) struct Aligned(Arc<EngineTensor>);

impl Aligned {
    /// A copy of bytes that are as many as the shape needs; `None` for types that the engine
    /// does not have.
    pub(crate) fn copy_of(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Option<Self>> {
        let Ok(engine) = engine_dtype(dtype) else {
            return Ok(None);
        };
        // SAFETY: every pattern of bits is a value of these types (booleans are checked by
        // `Tensor`, before anything reads them as such); the engine compares the length, and
        // aligns the memory itself.
        unsafe { EngineTensor::from_raw_dt(engine, shape, bytes) }
            .map(|tensor| Some(Self(Arc::new(tensor))))
            .map_err(|e| err!(Internal, "tensor of {shape:?}: {e}"))
    }

    /// As many zeros as the shape needs; `None` for types that the engine does not have.
    pub(crate) fn zeros(dtype: DType, shape: &[usize]) -> Result<Option<Self>> {
        let Ok(engine) = engine_dtype(dtype) else {
            return Ok(None);
        };
        EngineTensor::zero_dt(engine, shape)
            .map(|tensor| Some(Self(Arc::new(tensor))))
            .map_err(|e| err!(Internal, "tensor of {shape:?}: {e}"))
    }

    /// The little-endian bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The bytes for writing: in a copy, where they are shared.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.0).as_bytes_mut()
    }
}

/// Our tensor as a value of the engine: without a copy where it lies in its memory, also where it
/// is shared; one copy otherwise.
pub(crate) fn to_engine_value(mut tensor: Tensor) -> Result<TValue> {
    Ok(match tensor.take_aligned() {
        Some(aligned) => match Arc::try_unwrap(aligned.0) {
            Ok(own) => own.into_tvalue(),
            Err(shared) => shared.into_tvalue(),
        },
        None => copied(&tensor)?.into_tvalue(),
    })
}

fn copied(tensor: &Tensor) -> Result<EngineTensor> {
    if let Some(strings) = tensor.strings() {
        return tensor1(strings)
            .into_shape(tensor.shape())
            .map_err(|e| err!(Internal, "strings: {e}"));
    }
    // Says which type it is that the engine does not have.
    engine_dtype(tensor.dtype())?;
    let bytes = tensor.as_bytes().unwrap_or_default();
    match Aligned::copy_of(tensor.dtype(), tensor.shape(), bytes)? {
        Some(aligned) => Ok(Arc::unwrap_or_clone(aligned.0)),
        None => Err(err!(Internal, "tensor of {:?}", tensor.shape())),
    }
}

/// The engine's tensor as ours: numbers stay where they are.
pub(crate) fn from_engine(tensor: EngineTensor) -> Result<Tensor> {
    let internal = |e| err!(Internal, "output of the engine: {e}");
    let shape = tensor.shape().to_vec();
    if tensor.datum_type() == DatumType::TDim {
        let ints = tensor.cast_to::<i64>().map_err(internal)?.into_owned();
        return from_engine(ints);
    }
    if tensor.datum_type() == DatumType::String {
        let view = tensor.try_as_plain_ram().map_err(internal)?;
        let strings = view.as_slice::<String>().map_err(internal)?.to_vec();
        return Tensor::from_strings(&shape, strings);
    }
    let dtype = our_dtype(tensor.datum_type())?;
    let mut tensor = tensor.into_plain_ram().map_err(internal)?;
    // SAFETY: the same numbers, without the scale that a quantised type carries.
    unsafe { tensor.set_datum_type(engine_dtype(dtype)?) };
    Tensor::from_aligned(dtype, &shape, Aligned(Arc::new(tensor)))
}

/// The same for a constant of the engine, whose numbers are shared with it.
pub(crate) fn shared(constant: &Arc<EngineTensor>) -> Result<Tensor> {
    match our_dtype(constant.datum_type()) {
        Ok(dtype) if engine_dtype(dtype)? == constant.datum_type() && dtype != DType::String => {
            Tensor::from_aligned(dtype, constant.shape(), Aligned(constant.clone()))
        }
        _ => from_engine(EngineTensor::clone(constant)),
    }
}
