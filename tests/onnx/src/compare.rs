//! Comparing as ONNX's own runner does (`onnx/backend/test/runner`): types and shapes exactly,
//! numbers with `numpy.testing.assert_allclose`.

use half::{bf16, f16};
use twinfer::{DType, Element, Tensor, Value};

/// What is wrong with an output; `None` when it is as expected.
pub fn difference(got: &Value, expected: &Value, rtol: f64, atol: f64) -> Option<String> {
    match (got, expected) {
        (Value::Tensor(got), Value::Tensor(expected)) => between(got, expected, rtol, atol),
        (Value::Sequence(got), Value::Sequence(expected)) if got.len() == expected.len() => {
            let mut pairs = got.iter().zip(expected);
            pairs.find_map(|(got, expected)| difference(got, expected, rtol, atol))
        }
        (Value::Maps(got), Value::Maps(expected)) => {
            if got.keys != expected.keys {
                return Some(format!("keys {:?}, expected {:?}", got.keys, expected.keys));
            }
            between(&got.values, &expected.values, rtol, atol)
        }
        (Value::Optional(None), Value::Optional(None)) => None,
        (Value::Optional(Some(got)), Value::Optional(Some(expected))) => {
            difference(got, expected, rtol, atol)
        }
        // ONNX's runner takes an optional for what is in it.
        (Value::Optional(Some(got)), expected) => difference(got, expected, rtol, atol),
        (got, Value::Optional(Some(expected))) => difference(got, expected, rtol, atol),
        _ => Some(
            format!("{got:?}, expected {expected:?}")
                .chars()
                .take(200)
                .collect(),
        ),
    }
}

/// What is wrong with an output of random numbers: type and shape are those that are expected, and each
/// number is one of them (`Bernoulli`: 0 or 1). Which one is where is left open by ONNX.
pub fn stranger(got: &Value, expected: &Value) -> Option<String> {
    let (Value::Tensor(got), Value::Tensor(expected)) = (got, expected) else {
        return Some("a random output is no tensor".to_owned());
    };
    if (got.dtype(), got.shape()) != (expected.dtype(), expected.shape()) {
        return between(got, expected, 0.0, 0.0);
    }
    let (given, known) = (numbers(got)?, numbers(expected)?);
    let stranger = given.iter().find(|number| !known.contains(number));
    stranger.map(|number| format!("{number} is none of the numbers that can come"))
}

fn between(got: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if (got.dtype(), got.shape()) != (expected.dtype(), expected.shape()) {
        return Some(format!(
            "{} {:?}, expected {} {:?}",
            got.dtype(),
            got.shape(),
            expected.dtype(),
            expected.shape()
        ));
    }
    if let (Some(a), Some(b)) = (got.strings(), expected.strings()) {
        return (a != b).then(|| format!("{a:?}, expected {b:?}"));
    }
    let (Some(a), Some(b)) = (numbers(got), numbers(expected)) else {
        // Types that nothing here computes with: the same bits.
        return (got != expected).then(|| "other bits".to_owned());
    };
    let wrong = |(a, b): (&f64, &f64)| {
        let same = a == b || (a.is_nan() && b.is_nan());
        let near = (a - b).abs() <= atol + rtol * b.abs();
        !same && !near
    };
    let at = a.iter().zip(&b).position(wrong)?;
    let count = a.iter().zip(&b).filter(|pair| wrong(*pair)).count();
    Some(format!(
        "element {at} is {}, expected {} ({count} of {} differ)",
        a[at],
        b[at],
        a.len()
    ))
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn all<T: Element>(tensor: &Tensor, number: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        let values = tensor.to_vec::<T>().ok()?;
        Some(values.into_iter().map(number).collect())
    }
    match tensor.dtype() {
        DType::Bool => all(tensor, |x: bool| x.into()),
        DType::U8 => all(tensor, |x: u8| x.into()),
        DType::U16 => all(tensor, |x: u16| x.into()),
        DType::U32 => all(tensor, |x: u32| x.into()),
        DType::U64 => all(tensor, |x: u64| x as f64),
        DType::I8 => all(tensor, |x: i8| x.into()),
        DType::I16 => all(tensor, |x: i16| x.into()),
        DType::I32 => all(tensor, |x: i32| x.into()),
        DType::I64 => all(tensor, |x: i64| x as f64),
        DType::F16 => all(tensor, |x: f16| x.into()),
        DType::BF16 => all(tensor, |x: bf16| x.into()),
        DType::F32 => all(tensor, |x: f32| x.into()),
        DType::F64 => all(tensor, |x: f64| x),
        _ => None,
    }
}
