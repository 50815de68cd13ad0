//! Our tensors as the engine's, and back.

use tract_onnx::prelude::{DatumType, Tensor as EngineTensor, tensor1};

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

/// Our tensor as the engine's: one copy, into aligned memory.
pub(crate) fn to_engine(tensor: Tensor) -> Result<EngineTensor> {
    let dtype = engine_dtype(tensor.dtype())?;
    let shape = tensor.shape().to_vec();
    if let Some(strings) = tensor.strings() {
        return tensor1(strings)
            .into_shape(&shape)
            .map_err(|e| err!(Internal, "strings: {e}"));
    }
    let bytes = tensor.as_bytes().unwrap_or_default();
    // SAFETY: `Tensor` holds exactly the bytes that its shape and type need, every pattern of
    // bits is a value of these types (booleans were checked when the tensor was made), and
    // the engine copies them into memory that it aligns itself.
    unsafe { EngineTensor::from_raw_dt(dtype, &shape, bytes) }
        .map_err(|e| err!(Internal, "tensor of {:?}: {e}", shape))
}

/// The engine's tensor as ours.
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
    let bytes = tensor
        .try_as_plain_ram()
        .map_err(internal)?
        .as_bytes()
        .to_vec();
    Tensor::from_bytes(dtype, &shape, bytes)
}
