//! The signature of a model that MLflow saved, enforced as its server does.
//!
//! It does two things one after the other: what JSON or CSV has is cast to the types of the schema, as
//! NumPy casts (so a text that is a number is one), and then names and shapes are checked.
//!
//! Source: mlflow 3.17, `mlflow/utils/proto_json_utils.py` (`cast_df_types_according_to_schema`,
//! `convert_data_type`) and `mlflow/models/utils.py` (`_enforce_schema`).

use serde_json::Value as Json;
use twinfer::{
    MlflowColumn, MlflowSchema, MlflowTensor, MlflowType, Model, Result, bail, err,
    number_from_words,
};

use crate::table::{Table, is_missing};

/// Casts a cell; what it is where it cannot be.
type Cast = fn(MlflowType, Json) -> Result<Json, String>;

/// The schema of the inputs of a model, where MLflow saved it with one.
pub(super) fn of(model: &Model) -> Option<&MlflowSchema> {
    model.config().mlflow.as_ref()?.inputs.as_ref()
}

/// A table with the columns that the schema has, in its order and of its types.
///
/// # Errors
/// `missing_input` for columns that are required, `invalid_record` for cells of another type,
/// `wrong_shape` for another number of columns.
pub(super) fn table(schema: &MlflowSchema, table: Table) -> Result<Table> {
    match schema {
        MlflowSchema::Columns(columns) => match names(columns) {
            Some(names) => named(columns, &names, table, cast),
            None => unnamed(columns, table),
        },
        MlflowSchema::Tensors(tensors) => match &tensors[..] {
            [only] if only.name.is_none() => matrix(only, table),
            tensors => arrays(tensors, table),
        },
    }
}

/// The value of an input, of the type and the shape of the schema.
///
/// # Errors
/// `invalid_input` for another type, `wrong_shape`.
pub(super) fn tensor(spec: &MlflowTensor, value: Json) -> Result<Json> {
    let value = cast_all(kind(&spec.dtype), value)
        .map_err(|shown| err!(InvalidInput, "{shown} is no {}", spec.dtype))?;
    let shape = shape(&value);
    let fits = shape.len() == spec.shape.len()
        && (shape.iter().zip(&spec.shape))
            .all(|(given, wanted)| *wanted == -1 || i64::try_from(*given) == Ok(*wanted));
    // A list of nothing hides the axes below it.
    if !fits && !shape.contains(&0) {
        bail!(
            WrongShape,
            "Shape of input {shape:?} does not match expected shape {:?}.",
            spec.shape
        );
    }
    Ok(value)
}

/// The names of columns: MLflow has them for all, or for none.
fn names(columns: &[MlflowColumn]) -> Option<Vec<&str>> {
    columns
        .iter()
        .map(|column| column.name.as_deref())
        .collect()
}

fn named(columns: &[MlflowColumn], names: &[&str], table: Table, cast: Cast) -> Result<Table> {
    let given = match &table.columns {
        Some(given) => given.clone(),
        // A table in CSV without a line of names has the columns in their order.
        None if table.is_text && table.width() == names.len() => {
            names.iter().map(|name| (*name).to_owned()).collect()
        }
        None => Vec::new(),
    };
    let at = |name: &str| given.iter().position(|column| column == name);
    let missing: Vec<&str> = (columns.iter().zip(names))
        .filter(|(column, name)| column.required && at(name).is_none())
        .map(|(_, name)| *name)
        .collect();
    if !missing.is_empty() {
        let extra: Vec<&str> = (given.iter().map(String::as_str))
            .filter(|column| !names.contains(column))
            .collect();
        let extra = match extra.is_empty() {
            true => String::new(),
            false => format!(" Note that there were extra inputs: {extra:?}."),
        };
        bail!(
            MissingInput,
            "Model is missing inputs {missing:?}.{extra} The signature of the model requires them."
        );
    }
    let there: Vec<(usize, &MlflowColumn, &str)> = (columns.iter().zip(names))
        .filter_map(|(column, name)| Some((at(name)?, column, *name)))
        .collect();
    let kept = there.iter().map(|(_, _, name)| (*name).to_owned());
    let kept = kept.collect();
    let cells: Vec<(usize, MlflowType, String)> = (there.iter())
        .map(|(at, column, name)| (*at, column.kind, format!("column `{name}`")))
        .collect();
    let mut table = cast_cells(table, &cells, cast)?;
    table.columns = Some(kept);
    Ok(table)
}

fn unnamed(columns: &[MlflowColumn], table: Table) -> Result<Table> {
    let width = table.width();
    if width < columns.len() {
        bail!(
            MissingInput,
            "Model inference is missing inputs. The model signature declares {} inputs but the provided value only has {width} inputs.",
            columns.len()
        );
    }
    let cells: Vec<(usize, MlflowType, String)> = (columns.iter().enumerate())
        .map(|(at, column)| (at, column.kind, format!("column {at}")))
        .collect();
    let names = table.columns.clone();
    let mut table = cast_cells(table, &cells, cast)?;
    table.columns = names.map(|mut names| {
        names.truncate(columns.len());
        names
    });
    Ok(table)
}

/// A table as the only array: all its columns side by side, or one column of lists.
fn matrix(spec: &MlflowTensor, table: Table) -> Result<Table> {
    let width = table.width();
    if width > 1 && spec.shape != [-1, i64::try_from(width).unwrap_or(i64::MAX)] {
        bail!(
            WrongShape,
            "the input has {width} columns, and the signature of the model has an array of shape {:?}",
            spec.shape
        );
    }
    let kind = kind(&spec.dtype);
    let cells: Vec<(usize, MlflowType, String)> = (0..width)
        .map(|at| (at, kind, format!("column {at}")))
        .collect();
    let names = table.columns.clone();
    let mut table = cast_cells(table, &cells, cast_all)?;
    table.columns = names;
    Ok(table)
}

/// A table with a column for each of several arrays.
fn arrays(tensors: &[MlflowTensor], table: Table) -> Result<Table> {
    let columns: Vec<MlflowColumn> = (tensors.iter())
        .map(|spec| MlflowColumn {
            name: spec.name.clone(),
            kind: kind(&spec.dtype),
            required: true,
        })
        .collect();
    match names(&columns) {
        Some(names) => named(&columns, &names, table, cast_all),
        None => Ok(table),
    }
}

/// The cells at these places, of these types, row by row; what they are is said in errors.
fn cast_cells(table: Table, wanted: &[(usize, MlflowType, String)], cast: Cast) -> Result<Table> {
    let is_text = table.is_text;
    let row = |(number, mut row): (usize, Vec<Json>)| {
        let cell = |(at, kind, what): &(usize, MlflowType, String)| {
            let cell = row.get_mut(*at).map_or(Json::Null, Json::take);
            let cast = match is_text {
                true => of_text(*kind, cell),
                false => cast(*kind, cell),
            };
            cast.map_err(|shown| {
                err!(
                    InvalidRecord,
                    "row {number}: {what} is {shown}, which is no {}",
                    kind.name()
                )
            })
        };
        wanted.iter().map(cell).collect::<Result<Vec<Json>>>()
    };
    Ok(Table {
        columns: None,
        rows: (table.rows.into_iter().enumerate())
            .map(row)
            .collect::<Result<_>>()?,
        is_text: false,
    })
}

/// The type of a column that an array of a type of NumPy is.
fn kind(dtype: &str) -> MlflowType {
    match dtype {
        "float16" | "float32" => MlflowType::Float,
        "float64" => MlflowType::Double,
        "bool" => MlflowType::Boolean,
        "str" => MlflowType::String,
        integer if integer.trim_start_matches('u').starts_with("int") => MlflowType::Long,
        _ => MlflowType::Any,
    }
}

/// A value, or all values of nested lists, as NumPy casts them; what it is where it cannot.
fn cast_all(kind: MlflowType, value: Json) -> Result<Json, String> {
    match value {
        Json::Array(items) => items.into_iter().map(|item| cast_all(kind, item)).collect(),
        value => cast(kind, value),
    }
}

/// A cell of CSV: there texts are all that there is.
fn of_text(kind: MlflowType, cell: Json) -> Result<Json, String> {
    use MlflowType::{Any, Boolean, Double, Float, Integer, Long};
    let Some(text) = cell.as_str() else {
        return Ok(cell);
    };
    match kind {
        Double | Float | Integer | Long | Any if is_missing(text) => cast(kind, Json::Null),
        Boolean => match text {
            "True" | "true" | "TRUE" => Ok(true.into()),
            "False" | "false" | "FALSE" => Ok(false.into()),
            _ => Err(shown(&cell)),
        },
        _ => cast(kind, cell),
    }
}

fn cast(kind: MlflowType, value: Json) -> Result<Json, String> {
    match kind {
        MlflowType::Double | MlflowType::Float => float(value),
        MlflowType::Long => integer(value, i64::MIN, i64::MAX),
        MlflowType::Integer => integer(value, i32::MIN.into(), i32::MAX.into()),
        MlflowType::Boolean => match &value {
            Json::Bool(_) => Ok(value),
            Json::Number(number) => Ok((number.as_f64() != Some(0.0)).into()),
            _ => Err(shown(&value)),
        },
        MlflowType::String => match value {
            // As Python writes them.
            Json::Bool(true) => Ok("True".into()),
            Json::Bool(false) => Ok("False".into()),
            Json::Number(number) => Ok(number.to_string().into()),
            Json::Array(_) | Json::Object(_) => Err(shown(&value)),
            other => Ok(other),
        },
        _ => Ok(value),
    }
}

/// Null is what is missing, and stays so.
fn float(value: Json) -> Result<Json, String> {
    match &value {
        Json::Null | Json::Number(_) => Ok(value),
        Json::Bool(truth) => Ok(f64::from(*truth).into()),
        Json::String(text) => {
            if number_from_words(text).is_some() {
                return Ok(value);
            }
            match text.trim().parse::<f64>() {
                Ok(number) if number.is_nan() => Ok(Json::Null),
                Ok(number) if number.is_finite() => Ok(number.into()),
                _ => Err(shown(&value)),
            }
        }
        _ => Err(shown(&value)),
    }
}

/// A float loses what is behind the point.
fn integer(value: Json, low: i64, high: i64) -> Result<Json, String> {
    let whole = match &value {
        Json::Bool(truth) => Some(i64::from(*truth)),
        Json::Number(number) => number.as_i64().or_else(|| truncated(number.as_f64()?)),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match whole {
        Some(whole) if (low..=high).contains(&whole) => Ok(whole.into()),
        _ => Err(shown(&value)),
    }
}

fn truncated(number: f64) -> Option<i64> {
    let whole = number.trunc();
    // 2^63 and beyond are no i64: the comparison is with a float that is just that.
    ((i64::MIN as f64)..-(i64::MIN as f64))
        .contains(&whole)
        .then_some(whole as i64)
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// The lengths of nested lists, by the first of each.
fn shape(value: &Json) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut inner = value;
    while let Json::Array(items) = inner {
        lengths.push(items.len());
        let Some(first) = items.first() else { break };
        inner = first;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_cast_as_numpy_does() {
        use MlflowType::{Boolean, Double, Integer, Long, String};
        for (kind, given, cast) in [
            (Double, json!("1"), json!(1.0)),
            (Double, json!(true), json!(1.0)),
            (Double, json!(3), json!(3)),
            (Double, json!("nan"), json!(null)),
            (Long, json!(1.5), json!(1)),
            (Long, json!(-1.5), json!(-1)),
            (Long, json!(" 7 "), json!(7)),
            (Long, json!(i64::MIN), json!(i64::MIN)),
            (Boolean, json!(2), json!(true)),
            (Boolean, json!(0.0), json!(false)),
            (String, json!(4), json!("4")),
            (String, json!(true), json!("True")),
            (String, json!(null), json!(null)),
        ] {
            assert_eq!(super::cast(kind, given.clone()), Ok(cast), "{given}");
        }
        for (kind, given) in [
            (Double, json!("old")),
            (Double, json!({})),
            (Double, json!("1e999")),
            (Long, json!(null)),
            (Long, json!("1.5")),
            (Long, json!(9.3e18)),
            (Integer, json!(3_000_000_000u64)),
            (Boolean, json!("yes")),
            (String, json!({})),
        ] {
            assert!(cast(kind, given.clone()).is_err(), "{kind:?} {given}");
        }
    }

    #[test]
    fn csv_has_its_own_words() {
        use MlflowType::{Boolean, Double, Long, String};
        for (kind, text, cast) in [
            (Double, "NA", Some(json!(null))),
            (Double, "2e0", Some(json!(2.0))),
            (Long, "", None),
            (Long, "3.5", None),
            (Boolean, "True", Some(json!(true))),
            (Boolean, "1", None),
            (String, "NA", Some(json!("NA"))),
        ] {
            assert_eq!(of_text(kind, json!(text)).ok(), cast, "{text}");
        }
    }

    #[test]
    fn shapes_are_those_of_the_signature() {
        let spec = MlflowTensor {
            name: None,
            dtype: "float64".into(),
            shape: vec![-1, 3],
        };
        assert!(tensor(&spec, json!([[1, "2", 3]])).is_ok());
        assert!(tensor(&spec, json!([])).is_ok());
        for wrong in [
            json!([[1, 2]]),
            json!([1, 2, 3]),
            json!([[["a"]]]),
            json!(1),
        ] {
            assert!(tensor(&spec, wrong.clone()).is_err(), "{wrong}");
        }
    }
}
