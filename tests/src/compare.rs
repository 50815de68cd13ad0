//! Comparing answers: to the bit, or within a stated tolerance.
//!
//! Shared by the conformance suite and by the demo's table.

use serde_json::{Map, Value};

/// How far two numbers may be apart: `|a - b| <= absolute + relative * |b|`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Share of the expected number.
    pub relative: f64,
    /// In the unit of the number.
    pub absolute: f64,
}

impl Tolerance {
    /// The same bits.
    pub const EXACT: Self = Self {
        relative: 0.0,
        absolute: 0.0,
    };

    /// Two builds of the same single-precision arithmetic for different machines: sums in
    /// another order, fused multiply-add. The absolute part is for numbers near zero, which
    /// are differences of larger ones.
    pub const NATIVE: Self = Self {
        relative: 1e-5,
        absolute: 1e-6,
    };

    fn allows(self, got: f64, expected: f64) -> bool {
        if self == Self::EXACT {
            return got.to_bits() == expected.to_bits();
        }
        (got - expected).abs() <= self.absolute + self.relative * expected.abs()
    }
}

/// No more than this many differences are listed; one wrong picture has thousands.
const SHOWN: usize = 5;

/// Where two JSON values differ, as `path: got, expected`. Empty when they agree. Texts,
/// booleans, lengths and keys are always compared exactly, numbers by value whatever way they
/// are written (`1` and `1.0` are the same).
pub fn differences(got: &Value, expected: &Value, tolerance: Tolerance) -> Vec<String> {
    let mut found = Vec::new();
    walk("", got, expected, tolerance, &mut found);
    if found.len() > SHOWN {
        let more = found.len() - SHOWN;
        found.truncate(SHOWN);
        found.push(format!("and {more} more"));
    }
    found
}

fn walk(path: &str, got: &Value, expected: &Value, tolerance: Tolerance, found: &mut Vec<String>) {
    match (got, expected) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}[{index}]"), a, b, tolerance, found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            found.push(format!(
                "{}: {} elements, expected {}",
                place(path),
                a.len(),
                b.len()
            ));
        }
        (Value::Object(a), Value::Object(b)) => objects(path, a, b, tolerance, found),
        (Value::Number(a), Value::Number(b)) => {
            let same = match (a.as_i64(), b.as_i64()) {
                // Exact beyond 2^53 too.
                (Some(a), Some(b)) if tolerance == Tolerance::EXACT => a == b,
                _ => tolerance.allows(
                    a.as_f64().unwrap_or(f64::NAN),
                    b.as_f64().unwrap_or(f64::NAN),
                ),
            };
            if !same {
                found.push(format!("{}: {a}, expected {b}", place(path)));
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!(
            "{}: {}, expected {}",
            place(path),
            brief(a),
            brief(b)
        )),
    }
}

fn objects(
    path: &str,
    got: &Map<String, Value>,
    expected: &Map<String, Value>,
    tolerance: Tolerance,
    found: &mut Vec<String>,
) {
    for (key, expected) in expected {
        let path = format!("{path}.{key}");
        match got.get(key) {
            Some(got) => walk(&path, got, expected, tolerance, found),
            None => found.push(format!("{}: is missing", place(&path))),
        }
    }
    for key in got.keys().filter(|key| !expected.contains_key(*key)) {
        found.push(format!(
            "{}: is not expected",
            place(&format!("{path}.{key}"))
        ));
    }
}

fn place(path: &str) -> &str {
    match path.trim_start_matches('.') {
        "" => "the value",
        path => path,
    }
}

/// A value for people, cut where it is long.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_value_in_another_writing_is_the_same() {
        let (a, b) = (
            json!({"x": [1, 2.5], "y": "s"}),
            json!({"y": "s", "x": [1.0, 2.5]}),
        );
        assert_eq!(differences(&a, &b, Tolerance::EXACT), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_found_where_it_is() {
        let next = f64::from_bits(1f64.to_bits() + 1);
        for (got, expected, said) in [
            (
                json!({"a": next}),
                json!({"a": 1.0}),
                "a: 1.0000000000000002, expected 1.0",
            ),
            (
                json!([1, 2]),
                json!([1]),
                "the value: 2 elements, expected 1",
            ),
            (
                json!({"a": {"b": "x"}}),
                json!({"a": {"b": "y"}}),
                "a.b: \"x\", expected \"y\"",
            ),
            (json!({}), json!({"a": null}), "a: is missing"),
            (json!({"a": 1}), json!({}), "a: is not expected"),
            (
                json!({"a": "NaN"}),
                json!({"a": 1}),
                "a: \"NaN\", expected 1",
            ),
            (
                json!(9007199254740993i64),
                json!(9007199254740992i64),
                "the value: 9007199254740993, expected 9007199254740992",
            ),
            (json!(-0.0), json!(0.0), "the value: -0.0, expected 0.0"),
        ] {
            assert_eq!(differences(&got, &expected, Tolerance::EXACT), [said]);
        }
    }

    #[test]
    fn tolerance_is_for_numbers_only() {
        assert!(differences(&json!([1.000001]), &json!([1.0]), Tolerance::NATIVE).is_empty());
        assert_eq!(
            differences(&json!([1.0001]), &json!([1.0]), Tolerance::NATIVE).len(),
            1
        );
        assert_eq!(
            differences(&json!("1.000001"), &json!("1.0"), Tolerance::NATIVE).len(),
            1
        );
        let many: Vec<i32> = (0..100).collect();
        let others: Vec<i32> = (1..101).collect();
        assert_eq!(
            differences(&json!(many), &json!(others), Tolerance::EXACT).len(),
            SHOWN + 1
        );
    }
}
