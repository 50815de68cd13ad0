//! `MurmurHash3` of `com.microsoft`, with which skl2onnx exports scikit-learn's `FeatureHasher`.

use super::super::inputs::{Kernel, tensor_kernel};
use super::super::node::Node;
use crate::{DType, Result, Tensor, bail};

/// What `com.microsoft` has of them.
pub(super) const MICROSOFT: super::Table = &[("MurmurHash3", murmur_hash_3)];

/// `MurmurHash3` (ContribOperators.md, com.microsoft 1): the hash of 32 bits of each element, a text
/// by its bytes of UTF-8, a number by its little-endian bytes.
fn murmur_hash_3(node: &Node<'_>) -> Result<Option<Kernel>> {
    let seed = node.int("seed", 0) as u32;
    let positive = node.flag("positive", true);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let hashes: Vec<u32> = match (tensor.strings(), tensor.dtype()) {
            (Some(texts), _) => (texts.iter())
                .map(|text| murmur(text.as_bytes(), seed))
                .collect(),
            (None, DType::I32 | DType::U32 | DType::F32) => of_bytes(tensor, 4, seed)?,
            (None, DType::I64 | DType::U64 | DType::F64) => of_bytes(tensor, 8, seed)?,
            (None, other) => bail!(UnsupportedDtype, "MurmurHash3 takes no {other}"),
        };
        match positive {
            true => Tensor::from_vec(tensor.shape(), hashes),
            false => {
                let signed = hashes.into_iter().map(|hash| hash as i32);
                Tensor::from_vec(tensor.shape(), signed.collect())
            }
        }
    })
    .map(Some)
}

fn of_bytes(tensor: &Tensor, width: usize, seed: u32) -> Result<Vec<u32>> {
    let Some(bytes) = tensor.as_bytes() else {
        bail!(Internal, "a tensor of numbers has no bytes");
    };
    Ok((bytes.chunks_exact(width))
        .map(|element| murmur(element, seed))
        .collect())
}

/// MurmurHash3_x86_32 (Austin Appleby, public domain).
fn murmur(bytes: &[u8], seed: u32) -> u32 {
    let mixed = |block: u32| {
        block
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let mut hash = seed;
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let block = block
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = (hash ^ mixed(block))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        hash ^= mixed(
            rest.iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u32::from(byte)),
        );
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::murmur;

    /// From `sklearn.utils.murmurhash3_32(text, seed, positive=True)`.
    #[test]
    fn hashes_are_those_of_scikit_learn() {
        let cases = [
            ("", 0, 0x00000000),
            ("a", 0, 0x3c2569b2),
            ("ab", 7, 0xfe2a26ff),
            ("abc", 0, 0xb3dd93fa),
            ("abcd", 0, 0x43ed676a),
            ("Zürich", 42, 0xd4d9d809),
            ("hello, world", 1, 0x6f5cb2e9),
        ];
        for (text, seed, hash) in cases {
            assert_eq!(murmur(text.as_bytes(), seed), hash, "{text:?}");
        }
    }
}
