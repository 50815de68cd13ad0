//! Tensors as ONNX writes them (onnx.proto, `TensorProto`, `SparseTensorProto`).

use half::{bf16, f16};
use tract_onnx::pb::{SparseTensorProto, TensorProto};

use crate::session::onnx_dtype;
use crate::{DType, Element, Result, Tensor, bail, element_count, err};

/// Reads a tensor that has its elements in it.
///
/// # Errors
/// `invalid_model` for negative axes, and more or fewer elements than the shape needs;
/// `unsupported_dtype`; `model_too_large` for a shape that claims more than memory holds.
pub(crate) fn read(proto: &TensorProto) -> Result<Tensor> {
    let Some(dtype) = onnx_dtype(proto.data_type) else {
        bail!(
            UnsupportedDtype,
            "element type {} of `{}` is not one of ONNX",
            proto.data_type,
            proto.name
        );
    };
    let shape = shape(&proto.dims)?;
    let count = element_count(&shape)?;
    let malformed = |e: crate::Error| err!(InvalidModel, "tensor `{}`: {e}", proto.name);
    if dtype == DType::String {
        let texts = proto.string_data.iter();
        let texts = texts.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        return Tensor::from_strings(&shape, texts.collect()).map_err(malformed);
    }
    if !proto.raw_data.is_empty() || count == 0 {
        // Booleans are any bytes in ONNX.
        if dtype == DType::Bool {
            let bytes = proto.raw_data.iter().map(|&b| u8::from(b != 0)).collect();
            return Tensor::from_bytes(dtype, &shape, bytes).map_err(malformed);
        }
        return Tensor::from_slice(dtype, &shape, &proto.raw_data).map_err(malformed);
    }
    of_fields(proto, dtype, &shape).map_err(malformed)
}

/// Elements in the typed fields of the message.
fn of_fields(proto: &TensorProto, dtype: DType, shape: &[usize]) -> Result<Tensor> {
    let small = || proto.int32_data.iter().copied();
    fn made<T: Element>(shape: &[usize], values: impl Iterator<Item = T>) -> Result<Tensor> {
        Tensor::from_vec(shape, values.collect())
    }
    match dtype {
        DType::F32 => made(shape, proto.float_data.iter().copied()),
        DType::F64 => made(shape, proto.double_data.iter().copied()),
        DType::I64 => made(shape, proto.int64_data.iter().copied()),
        DType::U64 => made(shape, proto.uint64_data.iter().copied()),
        DType::U32 => made(shape, proto.uint64_data.iter().map(|&x| x as u32)),
        DType::I32 => made(shape, small()),
        DType::I16 => made(shape, small().map(|x| x as i16)),
        DType::U16 => made(shape, small().map(|x| x as u16)),
        DType::I8 => made(shape, small().map(|x| x as i8)),
        DType::U8 => made(shape, small().map(|x| x as u8)),
        DType::Bool => made(shape, small().map(|x| x != 0)),
        DType::F16 => made(shape, small().map(|x| f16::from_bits(x as u16))),
        DType::BF16 => made(shape, small().map(|x| bf16::from_bits(x as u16))),
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F4E2M1
        | DType::U4
        | DType::I4
        | DType::U2
        | DType::I2 => Tensor::from_bytes(dtype, shape, small().map(|x| x as u8).collect()),
        DType::Complex64 => {
            let bytes = proto.float_data.iter().flat_map(|x| x.to_le_bytes());
            Tensor::from_bytes(dtype, shape, bytes.collect())
        }
        DType::Complex128 => {
            let bytes = proto.double_data.iter().flat_map(|x| x.to_le_bytes());
            Tensor::from_bytes(dtype, shape, bytes.collect())
        }
        DType::String => bail!(Internal, "strings are read elsewhere"),
    }
}

/// Reads a sparse tensor as a dense one.
///
/// # Errors
/// As [`read`]; `invalid_model` for indices outside of the shape.
pub(crate) fn read_sparse(proto: &SparseTensorProto) -> Result<Tensor> {
    let (Some(values), Some(indices)) = (&proto.values, &proto.indices) else {
        bail!(InvalidModel, "a sparse tensor has no values or no indices");
    };
    let shape = shape(&proto.dims)?;
    let (values, indices) = (read(values)?, read(indices)?);
    let count = element_count(&shape)?;
    let at = flat_indices(&indices, &shape)?;
    let Some(bits) = values.dtype().bits().filter(|bits| bits % 8 == 0) else {
        bail!(UnsupportedDtype, "a sparse tensor of {}", values.dtype());
    };
    let size = bits / 8;
    let bytes = count.checked_mul(size).filter(|&b| b <= MAX_DENSE_BYTES);
    let Some(bytes) = bytes else {
        bail!(
            ModelTooLarge,
            "a sparse tensor of {shape:?} is not made dense"
        );
    };
    let mut dense = vec![0; bytes];
    let elements = values.as_bytes().unwrap_or_default().chunks_exact(size);
    for (at, element) in at.into_iter().zip(elements) {
        if let Some(place) = dense.get_mut(at * size..(at + 1) * size) {
            place.copy_from_slice(element);
        }
    }
    Tensor::from_slice(values.dtype(), &shape, &dense)
}

/// Larger ones are not made dense: a kilobyte of a file could ask for all memory.
const MAX_DENSE_BYTES: usize = 1 << 30;

/// Places in row-major order; indices are `[n]` of them, or `[n, rank]` of coordinates.
fn flat_indices(indices: &Tensor, shape: &[usize]) -> Result<Vec<usize>> {
    let outside = || {
        err!(
            InvalidModel,
            "a sparse tensor has an index outside of its shape"
        )
    };
    let numbers = indices.to_vec::<i64>()?;
    let count: usize = shape.iter().product();
    let flat = |at: i64| usize::try_from(at).ok().filter(|&at| at < count);
    match indices.shape() {
        [_] => numbers
            .into_iter()
            .map(|at| flat(at).ok_or_else(outside))
            .collect(),
        [_, rank] if *rank == shape.len() && *rank > 0 => numbers
            .chunks_exact(*rank)
            .map(|coordinates| {
                let mut at = 0usize;
                for (&coordinate, &axis) in coordinates.iter().zip(shape) {
                    let coordinate = usize::try_from(coordinate).ok().filter(|&c| c < axis);
                    at = at * axis + coordinate.ok_or_else(outside)?;
                }
                Ok(at)
            })
            .collect(),
        _ => Err(outside()),
    }
}

fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    let axis = |&axis: &i64| {
        usize::try_from(axis)
            .map_err(|_| err!(InvalidModel, "a tensor has a negative axis: {dims:?}"))
    };
    dims.iter().map(axis).collect()
}
