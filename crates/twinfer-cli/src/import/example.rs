//! The input example of a model, in the forms in which MLflow saves it: `serving_input_example.json`
//! (the body of a request to its scoring server) and `input_example.json` (mlflow,
//! `mlflow/models/utils.py`, `_Example`).

use serde_json::{Map, Value as Json};
use twinfer::{DType, Result, Tensor, TensorSpec, bail, err};

use super::files::{MAX_EXAMPLE_BYTES, ModelFolder};
use super::mlmodel::MlModel;

/// An example input.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// Rows of a table; the columns have names, or not.
    Table {
        columns: Option<Vec<String>>,
        rows: Vec<Vec<Json>>,
    },
    /// An array for each input.
    Arrays(Map<String, Json>),
    /// One array.
    Array(Json),
}

/// Reads the example of a model, if it has one.
///
/// # Errors
/// `invalid_model` when there is a file that cannot be read; `model_too_large`.
pub fn read(folder: &ModelFolder, model: &MlModel) -> Result<Option<Example>> {
    let Some(info) = &model.saved_input_example_info else {
        return Ok(None);
    };
    // The first says its form itself.
    let mut problem = None;
    for name in [&info.serving_input_path, &info.artifact_path]
        .into_iter()
        .flatten()
    {
        let Some(bytes) = folder.read(name, MAX_EXAMPLE_BYTES)? else {
            continue;
        };
        let json = serde_json::from_slice(&without_nan(&bytes)).map_err(|e| e.to_string());
        match json.and_then(parse) {
            Ok(example) => return Ok(Some(example)),
            Err(e) => problem = problem.or(Some(format!("{name}: {e}"))),
        }
    }
    match problem {
        None => Ok(None),
        Some(problem) => bail!(
            InvalidModel,
            "the input example cannot be read: {problem}; --no-example leaves it out"
        ),
    }
}

/// Python writes `NaN` for a missing value, which is no JSON: `null` instead, outside of texts.
fn without_nan(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let (mut in_text, mut escaped) = (false, false);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if !in_text && bytes[at..].starts_with(b"NaN") {
            out.extend_from_slice(b"null");
            at += 3;
            continue;
        }
        if byte == b'"' && !escaped {
            in_text = !in_text;
        }
        escaped = in_text && byte == b'\\' && !escaped;
        out.push(byte);
        at += 1;
    }
    out
}

fn parse(json: Json) -> Result<Example, String> {
    let Json::Object(mut map) = json else {
        return Ok(Example::Array(json));
    };
    if let Some(split) = map.remove("dataframe_split") {
        return table(split);
    }
    if let Some(Json::Array(records)) = map.remove("dataframe_records") {
        return from_records(&records);
    }
    if map.contains_key("data") && map.len() <= 3 && map.keys().all(|k| k != "inputs") {
        return table(Json::Object(map));
    }
    match map.remove("inputs").or_else(|| map.remove("instances")) {
        Some(Json::Object(arrays)) => Ok(Example::Arrays(arrays)),
        Some(array @ Json::Array(_)) => Ok(Example::Array(array)),
        Some(_) => Err("`inputs` is neither arrays nor an array".into()),
        None => Ok(Example::Arrays(map)),
    }
}

fn table(split: Json) -> Result<Example, String> {
    let Json::Object(mut split) = split else {
        return Err("a table is not an object".into());
    };
    let text = |name: Json| match name {
        Json::String(text) => text,
        other => other.to_string(),
    };
    let columns = match split.remove("columns") {
        Some(Json::Array(names)) => Some(names.into_iter().map(text).collect::<Vec<_>>()),
        _ => None,
    };
    let Some(Json::Array(data)) = split.remove("data") else {
        return Err("a table has no `data`".into());
    };
    let rows: Option<Vec<Vec<Json>>> = data
        .into_iter()
        .map(|row| match row {
            Json::Array(cells) => Some(cells),
            _ => None,
        })
        .collect();
    let rows = rows.ok_or("a row of the table is no list")?;
    let width = columns
        .as_ref()
        .map(Vec::len)
        .or(rows.first().map(Vec::len));
    if rows.iter().any(|row| Some(row.len()) != width) {
        return Err("the rows of the table differ in length".into());
    }
    Ok(Example::Table { columns, rows })
}

fn from_records(records: &[Json]) -> Result<Example, String> {
    let first = records.first().and_then(Json::as_object);
    let columns: Vec<String> = first.ok_or("no records")?.keys().cloned().collect();
    let cell = |record: &Json, name: &String| record.get(name).cloned().unwrap_or(Json::Null);
    let rows = records
        .iter()
        .map(|record| columns.iter().map(|name| cell(record, name)).collect())
        .collect();
    Ok(Example::Table {
        columns: Some(columns),
        rows,
    })
}

/// Nested lists as a tensor for an input of the model. Null is NaN where there is one.
///
/// # Errors
/// `invalid_recipe` when lengths differ or an element is not of the type.
pub fn tensor(json: &Json, spec: &TensorSpec) -> Result<Tensor> {
    let mut shape = Vec::new();
    let mut level = json;
    while let Json::Array(items) = level {
        shape.push(items.len());
        match items.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    let mut flat = Vec::new();
    flatten(json, &shape, &mut flat).ok_or_else(|| {
        err!(
            InvalidRecipe,
            "the input example for `{}` is a list whose parts differ in length",
            spec.name
        )
    })?;
    from_flat(&flat, &shape, spec.dtype)
        .map_err(|e| err!(InvalidRecipe, "the input example for `{}`: {e}", spec.name))
}

fn flatten<'a>(json: &'a Json, shape: &[usize], out: &mut Vec<&'a Json>) -> Option<()> {
    match (json, shape) {
        (Json::Array(items), [length, rest @ ..]) if items.len() == *length => {
            items.iter().try_for_each(|item| flatten(item, rest, out))
        }
        (Json::Array(_), _) => None,
        (scalar, []) => {
            out.push(scalar);
            Some(())
        }
        _ => None,
    }
}

/// Elements in row-major order as a tensor.
pub fn from_flat(flat: &[&Json], shape: &[usize], dtype: DType) -> Result<Tensor> {
    fn all<T>(flat: &[&Json], read: impl Fn(&Json) -> Option<T>, what: &str) -> Result<Vec<T>> {
        let one = |json: &&Json| {
            read(json).ok_or_else(|| err!(InvalidRecipe, "expected {what}, got {}", shorten(json)))
        };
        flat.iter().map(one).collect()
    }
    let float = |json: &Json| match json {
        Json::Null => Some(f64::NAN),
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        Json::String(text) => matches!(text.as_str(), "NaN" | "nan").then_some(f64::NAN),
        other => other.as_f64(),
    };
    let whole = |json: &Json| match json {
        Json::Bool(value) => Some(i64::from(*value)),
        other => other.as_i64().or_else(|| {
            let float = other
                .as_f64()
                .filter(|f| f.fract() == 0.0 && f.abs() < 9e15);
            float.map(|f| f as i64)
        }),
    };
    macro_rules! narrow {
        ($t:ty) => {
            Tensor::from_vec(
                shape,
                all(
                    flat,
                    |j| whole(j).and_then(|w| <$t>::try_from(w).ok()),
                    concat!("a number of type ", stringify!($t)),
                )?,
            )
        };
    }
    match dtype {
        DType::F32 => Tensor::from_vec(
            shape,
            all(flat, |j| float(j).map(|f| f as f32), "a number")?,
        ),
        DType::F64 => Tensor::from_vec(shape, all(flat, float, "a number")?),
        DType::I64 => Tensor::from_vec(shape, all(flat, whole, "a whole number")?),
        DType::I32 => narrow!(i32),
        DType::I16 => narrow!(i16),
        DType::I8 => narrow!(i8),
        DType::U8 => narrow!(u8),
        DType::U16 => narrow!(u16),
        DType::U32 => narrow!(u32),
        DType::Bool => Tensor::from_vec(shape, all(flat, Json::as_bool, "true or false")?),
        DType::String => Tensor::from_strings(
            shape,
            all(flat, |j| j.as_str().map(ToOwned::to_owned), "a text")?,
        ),
        other => bail!(InvalidRecipe, "an input example cannot become {other}"),
    }
}

fn shorten(json: &Json) -> String {
    json.to_string().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_example_is_read() {
        let rows = vec![vec![json!(1), json!(null)]];
        let columns = Some(vec!["a".to_owned(), "b".to_owned()]);
        let table = Example::Table {
            columns,
            rows: rows.clone(),
        };
        for form in [
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1, null]]}}),
            json!({"columns": ["a", "b"], "data": [[1, null]]}),
            json!({"dataframe_records": [{"a": 1, "b": null}]}),
        ] {
            assert_eq!(parse(form).unwrap(), table);
        }
        assert_eq!(
            parse(json!({"data": [[1, null]]})).unwrap(),
            Example::Table {
                columns: None,
                rows
            }
        );
        assert_eq!(
            parse(json!({"inputs": [[1]]})).unwrap(),
            Example::Array(json!([[1]]))
        );
        assert_eq!(parse(json!([[1]])).unwrap(), Example::Array(json!([[1]])));
        for form in [json!({"inputs": {"x": [1]}}), json!({"x": [1]})] {
            assert!(matches!(parse(form).unwrap(), Example::Arrays(a) if a["x"] == json!([1])));
        }
        assert!(parse(json!({"columns": ["a"], "data": [[1, 2]]})).is_err());
    }

    #[test]
    fn nan_becomes_null_but_not_in_texts() {
        let text = br#"{"NaN\"NaN": [NaN, "NaN"]}"#;
        assert_eq!(without_nan(text), br#"{"NaN\"NaN": [null, "NaN"]}"#);
    }

    #[test]
    fn ragged_lists_and_wrong_types_are_refused() {
        let spec = |dtype| TensorSpec {
            name: "x".into(),
            kind: twinfer::ValueKind::Tensor,
            dtype,
            shape: None,
            keys: None,
        };
        let f32s = tensor(&json!([[1, 2.5], [null, true]]), &spec(DType::F32)).unwrap();
        assert_eq!(f32s.shape(), [2, 2]);
        assert!(f32s.to_vec::<f32>().unwrap()[2].is_nan());
        for (json, dtype) in [
            (json!([[1], [1, 2]]), DType::F32),
            (json!([1, [2]]), DType::F32),
            (json!([1.5]), DType::I64),
            (json!([300]), DType::U8),
            (json!(["a"]), DType::F64),
            (json!([1]), DType::String),
        ] {
            assert!(tensor(&json, &spec(dtype)).is_err(), "{json}");
        }
    }
}
