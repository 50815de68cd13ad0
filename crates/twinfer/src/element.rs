//! The Rust types that are elements of tensors.

use half::{bf16, f16};

use crate::DType;

/// A Rust type that is an element of a tensor.
pub trait Element: Copy + 'static {
    /// The data type of a tensor of these.
    const DTYPE: DType;
    /// Appends the element in little-endian order.
    fn write(self, out: &mut Vec<u8>);
    /// Reads an element from exactly its number of bytes, little-endian.
    fn read(bytes: &[u8]) -> Self;
    /// The little-endian bytes of elements where they lie; `None` where memory has another
    /// order, so that each must be written.
    #[doc(hidden)]
    fn bytes_of(_elements: &[Self]) -> Option<&[u8]> {
        None
    }
    /// Little-endian bytes as elements where they lie; `None` where they are not aligned for
    /// it, or memory has another order, so that each must be read.
    #[doc(hidden)]
    fn view_of(_bytes: &[u8]) -> Option<&[Self]> {
        None
    }
}

/// The bytes of elements that have no padding.
///
/// # Safety
/// `T` must be a number or a boolean.
unsafe fn bytes_of<T>(elements: &[T]) -> Option<&[u8]> {
    // SAFETY: numbers and booleans have no padding, so each of the bytes is initialised.
    cfg!(target_endian = "little").then(|| unsafe {
        std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements))
    })
}

/// Bytes as elements of which every pattern of bits is one.
///
/// # Safety
/// The bytes must be values of `T`, up to alignment.
unsafe fn view_of<T>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: the caller says that the bytes are values of `T`; `align_to` sees to alignment.
    let (before, elements, after) = unsafe { bytes.align_to::<T>() };
    let whole = before.is_empty() && after.is_empty();
    (cfg!(target_endian = "little") && whole).then_some(elements)
}

macro_rules! elements {
    ($($type:ty, $dtype:ident;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(bytes);
                <$type>::from_le_bytes(array)
            }
            fn bytes_of(elements: &[Self]) -> Option<&[u8]> {
                // SAFETY: a number.
                unsafe { bytes_of(elements) }
            }
            fn view_of(bytes: &[u8]) -> Option<&[Self]> {
                // SAFETY: every pattern of bits is a number.
                unsafe { view_of(bytes) }
            }
        }
    )*};
}

elements! {
    u8, U8; u16, U16; u32, U32; u64, U64; i8, I8; i16, I16; i32, I32; i64, I64;
    f16, F16; bf16, BF16; f32, F32; f64, F64;
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn write(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
    fn bytes_of(elements: &[Self]) -> Option<&[u8]> {
        // SAFETY: a boolean.
        unsafe { bytes_of(elements) }
    }
    fn view_of(bytes: &[u8]) -> Option<&[Self]> {
        if bytes.iter().any(|&byte| byte > 1) {
            return None;
        }
        // SAFETY: 0 and 1 are the booleans.
        unsafe { view_of(bytes) }
    }
}
