//! NumPy's `.npy` files, as tensors.
//!
//! Written here rather than with a crate: the one that there is panics on a shape whose
//! product overflows and allocates what the header says before it looks at the file.

mod header;
#[cfg(test)]
mod tests;

use twinfer::{DType, Result, Tensor, bail, element_count, err};

use header::{Descr, Kind};

/// Reads a `.npy` file. `wanted` is the data type of the input that it is for: NumPy has no
/// bfloat16 and 8-bit floats, and writes them (through ml_dtypes) as bytes without a type.
///
/// # Errors
/// `invalid_input` for what is no such file; `unsupported_dtype` for types that tensors do
/// not have.
pub fn read(file: &[u8], wanted: Option<DType>) -> Result<Tensor> {
    let (header, data) = header::read(file)?;
    let count = element_count(&header.shape)?;
    let size = header.descr.item_size();
    if count.checked_mul(size) != Some(data.len()) {
        bail!(
            InvalidInput,
            "a .npy file of shape {:?} and type {} has {count} elements of {size} bytes, but {} bytes follow its header: it is damaged or cut short",
            header.shape,
            header.descr,
            data.len()
        );
    }
    let data = if header.fortran_order {
        to_row_major(&header.shape, size, data)
    } else {
        data.to_vec()
    };
    let shape = &header.shape;
    match header.descr.kind {
        Kind::Unicode => Tensor::from_strings(shape, unicode(&header.descr, &data)?),
        Kind::Bytes => Tensor::from_strings(shape, byte_strings(&header.descr, count, &data)?),
        _ => {
            let dtype = dtype(&header.descr, wanted)?;
            Tensor::from_bytes(dtype, shape, header.descr.to_little_endian(data))
        }
    }
}

/// Whether a file begins as a `.npy` file does.
pub fn is_npy(file: &[u8]) -> bool {
    file.starts_with(header::MAGIC)
}

/// A tensor as a `.npy` file, in row-major order.
///
/// # Errors
/// `unsupported_dtype` for types of 4 and 2 bits, which NumPy has no form for.
pub fn write(tensor: &Tensor) -> Result<Vec<u8>> {
    if let Some(strings) = tensor.strings() {
        return Ok(write_strings(tensor.shape(), strings));
    }
    let descr = match tensor.dtype() {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::U16 => "<u2",
        DType::I16 => "<i2",
        DType::U32 => "<u4",
        DType::I32 => "<i4",
        DType::U64 => "<u8",
        DType::I64 => "<i8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::Complex64 => "<c8",
        DType::Complex128 => "<c16",
        // What NumPy itself writes for the types of ml_dtypes.
        DType::BF16 => "<V2",
        DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ | DType::F8E8M0 => {
            "|V1"
        }
        other => bail!(UnsupportedDtype, "{other} has no form in a .npy file"),
    };
    let mut file = header::write(descr, tensor.shape());
    file.extend_from_slice(tensor.as_bytes().unwrap_or_default());
    Ok(file)
}

fn dtype(descr: &Descr, wanted: Option<DType>) -> Result<DType> {
    Ok(match (descr.kind, descr.size) {
        (Kind::Bool, 1) => DType::Bool,
        (Kind::Unsigned, 1) => DType::U8,
        (Kind::Unsigned, 2) => DType::U16,
        (Kind::Unsigned, 4) => DType::U32,
        (Kind::Unsigned, 8) => DType::U64,
        (Kind::Signed, 1) => DType::I8,
        (Kind::Signed, 2) => DType::I16,
        (Kind::Signed, 4) => DType::I32,
        (Kind::Signed, 8) => DType::I64,
        (Kind::Float, 2) => DType::F16,
        (Kind::Float, 4) => DType::F32,
        (Kind::Float, 8) => DType::F64,
        (Kind::Complex, 8) => DType::Complex64,
        (Kind::Complex, 16) => DType::Complex128,
        (Kind::Void, size) => match wanted {
            Some(
                dtype @ (DType::BF16
                | DType::F8E4M3FN
                | DType::F8E4M3FNUZ
                | DType::F8E5M2
                | DType::F8E5M2FNUZ
                | DType::F8E8M0),
            ) if dtype.bits() == Some(size * 8) => dtype,
            _ => bail!(
                UnsupportedDtype,
                "the .npy file has elements of {size} bytes without a type ({descr})"
            ),
        },
        _ => bail!(
            UnsupportedDtype,
            "the .npy file has the type {descr}, which no tensor has"
        ),
    })
}

/// From column-major to row-major order.
fn to_row_major(shape: &[usize], size: usize, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    // Of an element: its index along each axis, and where it stands in the file.
    let mut index = vec![0; shape.len()];
    while out.len() < data.len() {
        let position = shape
            .iter()
            .zip(&index)
            .rev()
            .fold(0, |at, (axis, i)| at * axis + i);
        out.extend_from_slice(&data[position * size..(position + 1) * size]);
        for (i, axis) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *axis {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Strings of UTF-32, padded with zeros.
fn unicode(descr: &Descr, data: &[u8]) -> Result<Vec<String>> {
    let character = |bytes: &[u8]| {
        let array = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let code = if descr.big_endian {
            u32::from_be_bytes(array)
        } else {
            u32::from_le_bytes(array)
        };
        char::from_u32(code).ok_or_else(|| {
            err!(
                InvalidInput,
                "a string in the .npy file has {code:#x}, which is no character"
            )
        })
    };
    let string = |bytes: &[u8]| {
        let text = bytes
            .chunks_exact(4)
            .map(character)
            .collect::<Result<String>>()?;
        Ok(text.trim_end_matches('\0').to_owned())
    };
    match descr.item_size() {
        0 => bail!(InvalidInput, "the .npy file has strings of no length (<U0)"),
        size => data.chunks_exact(size).map(string).collect(),
    }
}

/// Strings of bytes, padded with zeros; UTF-8, as in ONNX.
fn byte_strings(descr: &Descr, count: usize, data: &[u8]) -> Result<Vec<String>> {
    let string = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| err!(InvalidInput, "a string in the .npy file is not UTF-8"))?;
        Ok(text.trim_end_matches('\0').to_owned())
    };
    match descr.size {
        0 => Ok(vec![String::new(); count.min(data.len())]),
        size => data.chunks_exact(size).map(string).collect(),
    }
}

fn write_strings(shape: &[usize], strings: &[String]) -> Vec<u8> {
    let width = strings
        .iter()
        .map(|s| s.chars().count())
        .max()
        .unwrap_or(0)
        .max(1);
    let mut file = header::write(&format!("<U{width}"), shape);
    for string in strings {
        let characters = string
            .chars()
            .map(u32::from)
            .chain(std::iter::repeat(0))
            .take(width);
        file.extend(characters.flat_map(u32::to_le_bytes));
    }
    file
}
