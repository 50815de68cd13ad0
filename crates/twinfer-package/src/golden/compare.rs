//! Expected against actual values, with every difference.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use twinfer::{Result, Tensor, Value, value_to_json};

use super::{GoldenTensor, Tolerance};

/// How many differences of one example are listed one by one. More tell nothing new, and a
/// wrong tensor has thousands.
const LISTED: usize = 100;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Difference {
    /// Where, as `boxes[0].score`.
    pub path: String,
    /// What should be there, as JSON; empty when nothing should.
    pub expected: String,
    /// What is there, as JSON; empty when nothing is.
    pub actual: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &str| {
            if text.is_empty() {
                "nothing".to_owned()
            } else {
                crate::digest::shorten(text)
            }
        };
        write!(
            f,
            "{}: expected {}, got {}",
            self.path,
            show(&self.expected),
            show(&self.actual)
        )
    }
}

/// Collects differences; beyond [`LISTED`] only their number.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) listed: Vec<Difference>,
    pub(super) count: usize,
}

impl Differences {
    fn push(&mut self, path: &str, expected: impl fmt::Display, actual: impl fmt::Display) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(Difference {
                path: path.into(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
    }

    /// What is wrong other than values: an error in the place of an answer.
    pub(super) fn failed(&mut self, path: &str, error: &twinfer::Error) {
        self.push(
            path,
            "an answer",
            format_args!("error[{}]: {error}", error.code()),
        );
    }
}

/// Compares answers: objects need equal keys, lists equal lengths, whole numbers, texts and
/// truth values must be equal, other numbers within the tolerance.
///
/// At most the first 100 differences are given.
pub fn compare_outputs(
    expected: &Map<String, Json>,
    actual: &Map<String, Json>,
    tolerance: Tolerance,
) -> Vec<Difference> {
    let mut differences = Differences::default();
    outputs(expected, actual, tolerance, &mut differences);
    differences.listed
}

/// Compares the outputs of a model: those that are expected must be there, with the same
/// data type, shape and keys, and values within the tolerance.
///
/// At most the first 100 differences are given.
///
/// # Errors
/// When an expected tensor is malformed, or has a type that cannot be compared.
pub fn compare_tensors(
    expected: &[GoldenTensor],
    actual: &[(String, Value)],
    tolerance: Tolerance,
) -> Result<Vec<Difference>> {
    let mut differences = Differences::default();
    tensors(expected, actual, tolerance, &mut differences)?;
    Ok(differences.listed)
}

pub(super) fn outputs(
    expected: &Map<String, Json>,
    actual: &Map<String, Json>,
    tolerance: Tolerance,
    out: &mut Differences,
) {
    objects("", expected, actual, tolerance, out);
}

pub(super) fn tensors(
    expected: &[GoldenTensor],
    actual: &[(String, Value)],
    tolerance: Tolerance,
    out: &mut Differences,
) -> Result<()> {
    for golden in expected {
        let path = format!("tensor `{}`", golden.name);
        let Some((_, value)) = actual.iter().find(|(name, _)| *name == golden.name) else {
            out.push(&path, "an output of this name", "");
            continue;
        };
        let wanted = golden.to_tensor()?;
        let got = value.tensor()?;
        let form = |tensor: &Tensor| format!("{} {:?}", tensor.dtype(), tensor.shape());
        if form(&wanted) != form(got) {
            out.push(&path, form(&wanted), form(got));
            continue;
        }
        let keys = GoldenTensor::from_value(&golden.name, value)?.keys;
        if golden.keys != keys {
            out.push(
                &format!("{path}: keys"),
                format!("{:?}", golden.keys),
                format!("{keys:?}"),
            );
        }
        // The same bytes need no look at the elements.
        if wanted.as_bytes() != got.as_bytes() || wanted.strings() != got.strings() {
            let [wanted, got] = [
                value_to_json(&Value::Tensor(wanted))?,
                value_to_json(&Value::Tensor(got.clone()))?,
            ];
            values(&path, &wanted, &got, tolerance, out);
        }
    }
    Ok(())
}

fn objects(
    path: &str,
    expected: &Map<String, Json>,
    actual: &Map<String, Json>,
    tolerance: Tolerance,
    out: &mut Differences,
) {
    let at = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    for (key, wanted) in expected {
        match actual.get(key) {
            Some(got) => values(&at(key), wanted, got, tolerance, out),
            None => out.push(&at(key), wanted, ""),
        }
    }
    for (key, got) in actual
        .iter()
        .filter(|(key, _)| !expected.contains_key(*key))
    {
        out.push(&at(key), "", got);
    }
}

fn values(path: &str, expected: &Json, actual: &Json, tolerance: Tolerance, out: &mut Differences) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            objects(path, expected, actual, tolerance, out)
        }
        (Json::Array(expected), Json::Array(actual)) => {
            for (i, (wanted, got)) in expected.iter().zip(actual).enumerate() {
                values(&format!("{path}[{i}]"), wanted, got, tolerance, out);
            }
            if expected.len() != actual.len() {
                let elements = |n: usize| format!("{n} elements");
                out.push(path, elements(expected.len()), elements(actual.len()));
            }
        }
        (Json::Number(wanted), Json::Number(got)) => {
            // Counts, labels and indices are not approximately right.
            let whole = (wanted.is_i64() || wanted.is_u64()) && (got.is_i64() || got.is_u64());
            let same = if whole {
                wanted == got
            } else {
                close(wanted.as_f64(), got.as_f64(), tolerance)
            };
            if !same {
                out.push(path, wanted, got);
            }
        }
        _ if expected == actual => {}
        _ => out.push(path, expected, actual),
    }
}

fn close(expected: Option<f64>, actual: Option<f64>, tolerance: Tolerance) -> bool {
    match (expected, actual) {
        (Some(expected), Some(actual)) => {
            (actual - expected).abs() <= tolerance.absolute + tolerance.relative * expected.abs()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(expected: Json, actual: Json, relative: f64, absolute: f64) -> Vec<String> {
        let [Json::Object(expected), Json::Object(actual)] = [expected, actual] else {
            panic!("objects")
        };
        let found = compare_outputs(&expected, &actual, Tolerance { relative, absolute });
        found.into_iter().map(|d| d.path).collect()
    }

    #[test]
    fn every_difference_is_found_with_its_path() {
        let expected = json!({"boxes": [{"x": 1.0, "label": "a"}, {"x": 2.0}], "gone": 1, "list": [1, 2, 3], "yes": true});
        let actual = json!({"boxes": [{"x": 1.1, "label": "b"}, {"x": 2.0, "more": null}], "list": [1, 5], "yes": 1});
        assert_eq!(
            paths(expected, actual, 1e-5, 0.0),
            [
                "boxes[0].x",
                "boxes[0].label",
                "boxes[1].more",
                "gone",
                "list[1]",
                "list",
                "yes"
            ]
        );
    }

    #[test]
    fn numbers_are_compared_by_absolute_plus_relative_tolerance() {
        let check = |expected, actual, relative, absolute| {
            paths(
                json!({"v": expected}),
                json!({"v": actual}),
                relative,
                absolute,
            )
            .is_empty()
        };
        assert!(check(json!(100.0), json!(100.1), 1e-3, 0.0));
        assert!(!check(json!(100.0), json!(100.2), 1e-3, 0.0));
        assert!(check(json!(0.0), json!(1e-7), 0.0, 1e-6));
        assert!(!check(json!(0.0), json!(1e-7), 1e-3, 0.0));
        assert!(check(json!(1), json!(1.0), 0.0, 0.0));
        // Whole numbers exactly, whatever the tolerance; and beyond what a double can tell apart.
        assert!(!check(json!(1), json!(2), 10.0, 10.0));
        assert!(!check(
            json!(9007199254740993u64),
            json!(9007199254740992u64),
            1.0,
            0.0
        ));
        assert!(check(json!("NaN"), json!("NaN"), 0.0, 0.0));
        assert!(!check(json!("NaN"), json!(1.0), 9.0, 9.0));
    }

    #[test]
    fn tensors_are_compared_by_name_type_shape_and_value() {
        let tensor = |values: &[f32]| {
            Value::Tensor(Tensor::from_vec(&[values.len()], values.to_vec()).unwrap())
        };
        let golden = GoldenTensor::from_value("y", &tensor(&[1.0, f32::NAN, 3.0]));
        let golden = [golden.unwrap()];
        let found = |name: &str, value: Value| {
            compare_tensors(&golden, &[(name.into(), value)], Tolerance::default()).unwrap()
        };
        assert_eq!(found("y", tensor(&[1.0, f32::NAN, 3.00001])), []);
        assert_eq!(found("y", tensor(&[1.0, 2.0, 4.0])).len(), 2);
        assert_eq!(found("z", tensor(&[1.0, f32::NAN, 3.0])).len(), 1);
        assert_eq!(found("y", tensor(&[1.0])).len(), 1);
        let doubles = Value::Tensor(Tensor::from_vec(&[3], vec![1.0f64, f64::NAN, 3.0]).unwrap());
        assert_eq!(found("y", doubles).len(), 1);
    }

    #[test]
    fn a_wholly_wrong_tensor_does_not_fill_the_report() {
        let tensor = |v: f32| Value::Tensor(Tensor::from_vec(&[5000], vec![v; 5000]).unwrap());
        let golden = [GoldenTensor::from_value("y", &tensor(1.0)).unwrap()];
        assert_eq!(
            compare_tensors(&golden, &[("y".into(), tensor(2.0))], Tolerance::EXACT)
                .unwrap()
                .len(),
            LISTED
        );
    }
}
