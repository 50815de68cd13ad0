//! `data` of a tensor in JSON: flat or nested arrays, read straight into the
//! elements' type.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use twinfer::{
    DType, Element, Error, ErrorCode, Result, Tensor, bail, element_count, err, number_from_words,
};

/// A tensor from its JSON data.
pub(crate) fn tensor_from_json(dtype: DType, shape: &[usize], data: &RawValue) -> Result<Tensor> {
    fn numbers<T: FromJson + Element>(shape: &[usize], data: &RawValue) -> Result<Tensor> {
        Tensor::from_vec(shape, collect::<T>(T::DTYPE, shape, data)?)
    }
    match dtype {
        DType::Bool => numbers::<bool>(shape, data),
        DType::U8 => numbers::<u8>(shape, data),
        DType::U16 => numbers::<u16>(shape, data),
        DType::U32 => numbers::<u32>(shape, data),
        DType::U64 => numbers::<u64>(shape, data),
        DType::I8 => numbers::<i8>(shape, data),
        DType::I16 => numbers::<i16>(shape, data),
        DType::I32 => numbers::<i32>(shape, data),
        DType::I64 => numbers::<i64>(shape, data),
        DType::F32 => numbers::<f32>(shape, data),
        DType::F64 => numbers::<f64>(shape, data),
        DType::String => Tensor::from_strings(shape, collect::<String>(dtype, shape, data)?),
        other => bail!(
            UnsupportedDtype,
            "{other} has no form in JSON: send it with the binary tensor extension"
        ),
    }
}

fn collect<T: FromJson>(dtype: DType, shape: &[usize], data: &RawValue) -> Result<Vec<T>> {
    let limit = element_count(shape)?;
    let mut collector = Collector {
        dtype,
        limit,
        values: Vec::new(),
        lengths: Vec::new(),
        leaf_depth: None,
        error: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(data.get());
    let read = Seed {
        collector: &mut collector,
        depth: 0,
    }
    .deserialize(&mut deserializer);
    if let Some(error) = collector.error {
        return Err(error);
    }
    // Only too deep nesting is left to go wrong: the text was JSON before.
    read.map_err(|e| Error::new(ErrorCode::InvalidJson, e.to_string()))?;
    collector.check(shape)?;
    Ok(collector.values)
}

/// What was found so far.
struct Collector<T> {
    dtype: DType,
    /// Elements that the shape allows: more are not even collected.
    limit: usize,
    values: Vec<T>,
    /// Length of the arrays at each depth; all at one depth must agree.
    lengths: Vec<usize>,
    /// Depth at which elements stand.
    leaf_depth: Option<usize>,
    error: Option<Error>,
}

impl<T: FromJson> Collector<T> {
    fn push(
        &mut self,
        depth: usize,
        value: Option<T>,
        shown: impl FnOnce() -> String,
    ) -> Result<()> {
        let at = self.values.len();
        if *self.leaf_depth.get_or_insert(depth) != depth {
            bail!(WrongShape, "the data is nested unevenly at element {at}");
        }
        if at == self.limit {
            bail!(
                WrongShape,
                "the data has more than the {} elements of its shape",
                self.limit
            );
        }
        let Some(value) = value else {
            let mut shown = shown();
            if let Some((cut, _)) = shown.char_indices().nth(40) {
                shown.truncate(cut);
            }
            bail!(
                InvalidInput,
                "element {at} of the data is {shown}, which is no {}",
                self.dtype
            );
        };
        self.values.push(value);
        Ok(())
    }

    fn end_of_array(&mut self, depth: usize, length: usize) -> Result<()> {
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, usize::MAX);
        }
        let known = &mut self.lengths[depth];
        if *known == usize::MAX {
            *known = length;
        } else if *known != length {
            bail!(
                WrongShape,
                "the data is ragged: arrays of {known} and of {length} elements side by side"
            );
        }
        Ok(())
    }

    fn check(&self, shape: &[usize]) -> Result<()> {
        if self.values.len() != self.limit {
            bail!(
                WrongShape,
                "shape {shape:?} has {} elements, the data {}",
                self.limit,
                self.values.len()
            );
        }
        // Flat, or one element without any array around it.
        if self.lengths.len() <= 1 {
            return Ok(());
        }
        // An empty axis hides those below it.
        let visible = self.lengths.len().min(shape.len());
        if self.lengths[..visible] != shape[..visible] || self.lengths.len() > shape.len() {
            bail!(
                WrongShape,
                "the data is nested as {:?}, its shape is {shape:?}",
                self.lengths
            );
        }
        if !self.values.is_empty() && self.lengths.len() != shape.len() {
            bail!(
                WrongShape,
                "the data is nested as {:?}, its shape is {shape:?}",
                self.lengths
            );
        }
        Ok(())
    }
}

struct Seed<'c, T> {
    collector: &'c mut Collector<T>,
    depth: usize,
}

impl<T: FromJson> Seed<'_, T> {
    /// Keeps our own error aside, where the one of serde would lose its code.
    fn done<E: serde::de::Error>(
        collector: &mut Collector<T>,
        result: Result<()>,
    ) -> Result<(), E> {
        result.map_err(|error| {
            let text = E::custom(error.message());
            collector.error.get_or_insert(error);
            text
        })
    }

    fn leaf<E: serde::de::Error>(
        self,
        value: Option<T>,
        shown: impl fmt::Display,
    ) -> Result<(), E> {
        let result = self.collector.push(self.depth, value, || shown.to_string());
        Self::done(self.collector, result)
    }
}

impl<'de, T: FromJson> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: FromJson> Visitor<'de> for Seed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("elements, flat or in nested arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut length = 0;
        while elements
            .next_element_seed(Seed {
                collector: self.collector,
                depth: self.depth + 1,
            })?
            .is_some()
        {
            length += 1;
        }
        let result = self.collector.end_of_array(self.depth, length);
        Self::done(self.collector, result)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.leaf(T::from_bool(value), value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.leaf(T::from_integer(value.into()), value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.leaf(T::from_integer(value.into()), value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.leaf(T::from_float(value), value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.leaf(T::from_text(value), format_args!("{value:?}"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.leaf(None, "null")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _map: A) -> Result<(), A::Error> {
        let error = err!(
            InvalidInput,
            "the data has an object in it; it must be elements, flat or in nested arrays"
        );
        let text = A::Error::custom(error.message());
        self.collector.error.get_or_insert(error);
        Err(text)
    }
}

/// An element from a JSON value; `None` where it does not fit without loss.
trait FromJson: Sized {
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
    fn from_integer(_: i128) -> Option<Self> {
        None
    }
    fn from_float(_: f64) -> Option<Self> {
        None
    }
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

impl FromJson for bool {
    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl FromJson for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl FromJson for $type {
            fn from_integer(value: i128) -> Option<Self> {
                value.try_into().ok()
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 i8 i16 i32 i64 }

impl FromJson for f64 {
    fn from_integer(value: i128) -> Option<Self> {
        Some(value as f64)
    }
    fn from_float(value: f64) -> Option<Self> {
        Some(value)
    }
    fn from_text(text: &str) -> Option<Self> {
        number_from_words(text)
    }
}

impl FromJson for f32 {
    fn from_integer(value: i128) -> Option<Self> {
        Self::from_float(value as f64)
    }
    fn from_float(value: f64) -> Option<Self> {
        // Rounded as any float32; but 1e39 is not meant to be infinite.
        Some(value as f32).filter(|narrow| narrow.is_finite())
    }
    fn from_text(text: &str) -> Option<Self> {
        number_from_words(text).map(|value| value as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: DType, shape: &[usize], json: &str) -> Result<Tensor> {
        tensor_from_json(dtype, shape, &RawValue::from_string(json.into()).unwrap())
    }

    #[test]
    fn flat_or_nested_is_the_same() {
        let flat = read(DType::I64, &[2, 3], "[1,2,3,4,5,-6]").unwrap();
        assert_eq!(
            read(DType::I64, &[2, 3], "[[1,2,3],[4,5,-6]]").unwrap(),
            flat
        );
        assert_eq!(flat.to_vec::<i64>().unwrap(), [1, 2, 3, 4, 5, -6]);
        assert_eq!(
            read(DType::F32, &[], "1.5")
                .unwrap()
                .to_vec::<f32>()
                .unwrap(),
            [1.5]
        );
        assert_eq!(read(DType::F32, &[], "[1.5]").unwrap().shape(), [0usize; 0]);
        assert!(read(DType::F32, &[0, 3], "[]").is_ok());
        assert!(read(DType::F32, &[2, 0], "[[],[]]").is_ok());
    }

    #[test]
    fn each_type_takes_its_own() {
        for (dtype, good) in [
            (DType::Bool, "[true,false]"),
            (DType::U8, "[0,255]"),
            (DType::U64, "[0,18446744073709551615]"),
            (DType::I64, "[-9223372036854775808,9007199254740993]"),
            (DType::F32, "[1,\"NaN\"]"),
            (DType::F64, "[1e300,\"-Infinity\"]"),
            (DType::String, "[\"\",\"\\u00e9\\n\"]"),
        ] {
            assert!(read(dtype, &[2], good).is_ok(), "{dtype} {good}");
        }
        let big = read(DType::I64, &[1], "[9007199254740993]").unwrap();
        assert_eq!(big.to_vec::<i64>().unwrap(), [9_007_199_254_740_993]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (dtype, bad) in [
            (DType::Bool, "[1]"),
            (DType::U8, "[256]"),
            (DType::U8, "[-1]"),
            (DType::U64, "[18446744073709551616]"),
            (DType::I64, "[1.5]"),
            (DType::I64, "[1e3]"),
            (DType::F32, "[1e39]"),
            (DType::F32, "[\"1\"]"),
            (DType::F32, "[null]"),
            (DType::F32, "[true]"),
            (DType::F32, "[{}]"),
            (DType::F32, "{\"a\":1}"),
            (DType::String, "[1]"),
        ] {
            let error = read(dtype, &[1], bad).unwrap_err();
            assert_eq!(
                error.code(),
                ErrorCode::InvalidInput,
                "{dtype} {bad}: {error}"
            );
        }
    }

    #[test]
    fn other_numbers_of_elements_or_nestings_are_refused() {
        for (shape, json) in [
            (vec![2], "[1]"),
            (vec![2], "[1,2,3]"),
            (vec![2, 2], "[[1,2],[3]]"),
            (vec![2, 2], "[[1,2],3,4]"),
            (vec![2, 2], "[1,2,[3,4]]"),
            (vec![2, 3], "[[1,2],[3,4],[5,6]]"),
            (vec![4], "[[1,2],[3,4]]"),
            (vec![2, 2], "[[[1],[2]],[[3],[4]]]"),
            (vec![0], "[1]"),
            (vec![usize::MAX, 3], "[1]"),
        ] {
            let error = read(DType::F32, &shape, json).unwrap_err();
            assert_eq!(
                error.code(),
                ErrorCode::WrongShape,
                "{shape:?} {json}: {error}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(
            read(DType::F32, &[1], &deep).unwrap_err().code(),
            ErrorCode::InvalidJson
        );
    }
}
