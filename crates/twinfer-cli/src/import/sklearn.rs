//! Models of scikit-learn: converted by skl2onnx, in Python.

use serde_json::{Value as Json, json};
use twinfer::{InputStep, Pipeline, Result, Signature, Tensors, bail, err};
use twinfer_package::Golden;

use super::Import;
use super::example::{self, Example};
use super::files::{is_inside, read_limited};
use super::golden::{self, CaseInput, MAX_ROWS, MODEL, Made};
use super::mlmodel::{MlModel, SklearnFlavor};
use super::python::{Answer, Python};
use super::schema::{ColumnSpec, Schema};

/// Why the answers of an exported model may be a little off.
const REASON: &str = "expected values are scikit-learn's, in double precision; the exported model computes in single precision";

/// Converts the model, and takes the golden examples from scikit-learn itself.
///
/// # Errors
/// `conversion_failed` with what Python said.
pub fn convert(
    import: &Import,
    model: &MlModel,
    flavor: &SklearnFlavor,
    example: Option<Example>,
) -> Result<Made> {
    let file = import.folder.need(&flavor.pickled_model)?;
    if !import.args.convert {
        bail!(
            ConversionFailed,
            "this is a scikit-learn model ({}). Converting it loads that file in Python, which can run any code that its maker put into it; --convert allows that",
            flavor.pickled_model
        );
    }
    let code = match flavor.code.as_deref() {
        Some(code) if !is_inside(code) => {
            bail!(
                InvalidModel,
                "MLmodel names `{code}` as code, outside of the model's folder"
            )
        }
        Some(code) => Some(import.folder.root().join(code)),
        None => None,
    };
    let columns = golden::columns(model)?;
    let (names, rows) = rows_of(example, columns.as_deref())?;
    let target = import.work.join(MODEL);
    let width = match model.inputs()? {
        Some(Schema::Tensors(tensors)) => tensors.first().and_then(|t| t.shape.get(1).copied()),
        _ => None,
    };
    let request = json!({
        "task": "convert_sklearn",
        "file": file,
        "format": flavor.serialization_format,
        "trusted": flavor.skops_trusted_types,
        "code": code,
        "columns": columns.as_ref().map(|c| {
            c.iter().map(|c| json!({"name": c.name, "type": c.kind})).collect::<Vec<_>>()
        }),
        "width": width.filter(|w| *w > 0).or(rows.first().map(|r| r.len() as i64)),
        "rows": rows,
        "output": target,
    });
    let answer = Python::need(import.args)?.ask(&import.work, &request)?;
    let onnx = read_limited(&target, MODEL, twinfer::MAX_MODEL_BYTES as u64)?;
    golden::write(&import.recipe.join(MODEL), &onnx)?;
    let session = golden::load(&import.recipe)?;
    let pipeline = golden::pipeline_of(session.signature(), columns.as_deref(), |column| {
        answer.allow_nan || !column.required
    });
    let origin = format!(
        "scikit-learn {}, converted by {}",
        flavor
            .sklearn_version
            .as_deref()
            .unwrap_or("of unknown version"),
        answer.reference
    );
    let golden = golden_of(
        session.signature(),
        pipeline.as_ref(),
        &names,
        &rows,
        answer,
    )?;
    Ok(Made {
        pipeline,
        golden,
        origin,
    })
}

/// The names of the columns, and rows in their order.
fn rows_of(
    example: Option<Example>,
    columns: Option<&[ColumnSpec]>,
) -> Result<(Vec<String>, Vec<Vec<Json>>)> {
    let wanted: Option<Vec<String>> =
        columns.and_then(|c| c.iter().map(|c| c.name.clone()).collect());
    let (given, mut rows) = match example {
        None => return Ok((wanted.unwrap_or_default(), Vec::new())),
        Some(Example::Table { columns, rows }) => (columns, rows),
        Some(Example::Array(Json::Array(items))) => {
            let row = |item| match item {
                Json::Array(cells) => Ok(cells),
                _ => Err(unfit("it is no list of rows")),
            };
            (None, items.into_iter().map(row).collect::<Result<_>>()?)
        }
        Some(_) => return Err(unfit("it is no table")),
    };
    rows.truncate(MAX_ROWS);
    if let (Some(wanted), Some(given)) = (&wanted, &given) {
        let places = wanted
            .iter()
            .map(|name| given.iter().position(|g| g == name))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| unfit("it lacks a column of the signature"))?;
        rows = rows
            .iter()
            .map(|row| {
                places
                    .iter()
                    .map(|&at| row.get(at).cloned().unwrap_or_default())
                    .collect()
            })
            .collect();
    }
    Ok((wanted.unwrap_or_default(), rows))
}

fn unfit(why: &str) -> twinfer::Error {
    err!(
        InvalidRecipe,
        "the input example cannot be used: {why}; --no-example leaves it out"
    )
}

fn golden_of(
    signature: &Signature,
    pipeline: Option<&Pipeline>,
    names: &[String],
    rows: &[Vec<Json>],
    answer: Answer,
) -> Result<Option<Golden>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let cases: Vec<CaseInput> = rows
        .iter()
        .map(|row| match pipeline.map(|p| &p.input) {
            Some(InputStep::Record(record)) => golden::record_case(record, names, row),
            _ => Ok(golden::tensor_case(tensors_of(signature, row)?)),
        })
        .collect::<Result<_>>()?;
    golden::golden(
        &answer.reference,
        cases,
        answer.cases,
        pipeline,
        2e-6,
        REASON,
    )
    .map(Some)
}

/// A row as the inputs of the model: one matrix, or a column each.
fn tensors_of(signature: &Signature, row: &[Json]) -> Result<Tensors> {
    if let [input] = signature.inputs.as_slice() {
        return Ok(vec![(
            input.name.clone(),
            example::tensor(&json!([row]), input)?,
        )]);
    }
    if signature.inputs.len() != row.len() {
        return Err(unfit("it has another number of columns than the model"));
    }
    let one = |(spec, cell): (&twinfer::TensorSpec, &Json)| {
        Ok((spec.name.clone(), example::tensor(&json!([[cell]]), spec)?))
    };
    signature.inputs.iter().zip(row).map(one).collect()
}
