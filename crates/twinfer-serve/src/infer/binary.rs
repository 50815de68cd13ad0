//! Tensors as bytes: little-endian, row-major; strings with their length.

use twinfer::{DType, Result, Tensor, bail, err};

/// A tensor from its bytes in a request.
pub(crate) fn tensor_from_binary(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
    if dtype == DType::String {
        return Tensor::from_strings(shape, split_strings(bytes)?);
    }
    Tensor::from_slice(dtype, shape, bytes)
}

/// Each string is its length as four bytes, then its bytes.
fn split_strings(mut rest: &[u8]) -> Result<Vec<String>> {
    let mut strings = Vec::new();
    while !rest.is_empty() {
        let truncated = || {
            err!(
                InvalidInput,
                "the data of a BYTES tensor ends within element {}",
                strings.len()
            )
        };
        let (length, tail) = rest
            .split_first_chunk::<STRING_HEAD>()
            .ok_or_else(truncated)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (string, tail) = tail.split_at_checked(length).ok_or_else(truncated)?;
        strings.push(text(string, strings.len())?);
        rest = tail;
    }
    Ok(strings)
}

pub(crate) fn text(bytes: &[u8], element: usize) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => bail!(
            InvalidInput,
            "element {element} of a BYTES tensor is not UTF-8; models take text only"
        ),
    }
}

/// The bytes that strings have before each of them, with its length.
const STRING_HEAD: usize = 4;

/// How many bytes a tensor has in an answer.
pub(crate) fn binary_size(tensor: &Tensor) -> usize {
    match tensor.strings() {
        Some(strings) => strings.iter().map(|s| STRING_HEAD + s.len()).sum(),
        None => tensor.as_bytes().unwrap_or_default().len(),
    }
}

/// Appends the bytes of a tensor to an answer.
pub(crate) fn append_tensor(tensor: &Tensor, body: &mut Vec<u8>) {
    let Some(strings) = tensor.strings() else {
        body.extend_from_slice(tensor.as_bytes().unwrap_or_default());
        return;
    };
    for string in strings {
        // A body of 4 GiB would have been refused long before.
        let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(string.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn strings_there_and_back() {
        let strings = vec!["".to_owned(), "a".to_owned(), "grüße".to_owned()];
        let tensor = Tensor::from_strings(&[3], strings.clone()).unwrap();
        let mut bytes = Vec::new();
        append_tensor(&tensor, &mut bytes);
        assert_eq!(bytes.len(), binary_size(&tensor));
        assert_eq!(&bytes[..9], b"\0\0\0\0\x01\0\0\0a");
        let back = tensor_from_binary(DType::String, &[3], &bytes).unwrap();
        assert_eq!(back.strings(), Some(strings.as_slice()));
    }

    #[test]
    fn truncated_and_foreign_strings_are_refused() {
        for bytes in [
            b"\x01".as_slice(),
            b"\x02\0\0\0a",
            b"\xff\xff\xff\xffa",
            b"\x01\0\0\0\xff",
        ] {
            let error = tensor_from_binary(DType::String, &[1], bytes).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidInput, "{bytes:?}");
        }
        assert_eq!(
            tensor_from_binary(DType::String, &[2], b"\x01\0\0\0a")
                .unwrap_err()
                .code(),
            ErrorCode::WrongShape
        );
    }
}
