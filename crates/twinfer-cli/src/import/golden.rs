//! The model in the recipe, its pipeline, and golden examples of its input example.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use twinfer::{
    Column, DType, Dim, InputStep, Missing, OutputStep, Parameters, Pipeline, RecordInput, Result,
    Session, Signature, Tensor, TensorSpec, Tensors, bail, err,
};
use twinfer_package::{Expectation, Golden, GoldenCase, GoldenInput, GoldenTensor, Tolerance};

use super::Import;
use super::example::{self, Example};
use super::files::read_limited;
use super::mlmodel::{MlModel, OnnxFlavor};
use super::python::Python;
use super::schema::{self, ColumnSpec, Schema};

/// So many rows of an input example become golden examples: more would only be slow.
pub const MAX_ROWS: usize = 20;

/// Name of the model file in the recipe.
pub const MODEL: &str = "model.onnx";

/// What stands in the recipe beside the metadata.
pub struct Made {
    pub pipeline: Option<Pipeline>,
    pub golden: Option<Golden>,
    /// The program that the model was made with, for the model card.
    pub origin: String,
}

/// An example on its way: what the caller gives, and what that is for the model.
pub struct CaseInput {
    pub input: GoldenInput,
    pub tensors: Tensors,
}

/// A model of the flavor `onnx`.
pub fn of_onnx(
    import: &Import,
    model: &MlModel,
    flavor: &OnnxFlavor,
    example: Option<Example>,
) -> Result<Made> {
    let source = import.folder.need(&flavor.data)?;
    copy_model(&source, &import.recipe)?;
    let session = load(&import.recipe)?;
    let pipeline = pipeline_of(session.signature(), columns(model)?.as_deref(), |column| {
        !column.required || is_null_somewhere(example.as_ref(), column)
    });
    let cases = match &example {
        Some(example) => cases_of(example, session.signature(), pipeline.as_ref())?,
        None => Vec::new(),
    };
    let golden = match cases.is_empty() {
        true => None,
        false => Some(answered(import, &session, pipeline.as_ref(), cases)?),
    };
    let version = flavor.onnx_version.as_deref();
    Ok(Made {
        pipeline,
        golden,
        origin: format!("onnx {}", version.unwrap_or("of unknown version")),
    })
}

/// The model file, and the files of weights beside it that it names.
fn copy_model(source: &Path, recipe: &Path) -> Result<()> {
    const LIMIT: u64 = twinfer::MAX_MODEL_BYTES as u64;
    let onnx = read_limited(source, MODEL, LIMIT)?;
    write(&recipe.join(MODEL), &onnx)?;
    let Some(folder) = source.parent() else {
        return Ok(());
    };
    let failed = |e: std::io::Error| err!(Storage, "cannot read {}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file = entry.file_type().map_err(failed)?.is_file();
        let name = entry.file_name();
        let Some(name) = name
            .to_str()
            .filter(|n| file && entry.path() != source && !n.is_empty())
        else {
            continue;
        };
        let known = [
            "MLmodel",
            "conda.yaml",
            "python_env.yaml",
            "requirements.txt",
        ];
        let taken = [
            MODEL,
            "golden.json",
            "README.md",
            twinfer_package::RECIPE_NAME,
        ];
        // An ONNX file names the files of its external data literally.
        let named = !known.contains(&name)
            && onnx
                .windows(name.len())
                .any(|window| window == name.as_bytes());
        if named && !taken.contains(&name) {
            let bytes = read_limited(&entry.path(), name, LIMIT)?;
            write(&recipe.join(name), &bytes)?;
        }
    }
    Ok(())
}

pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| match e.kind() {
        std::io::ErrorKind::StorageFull => err!(OutOfSpace, "cannot write {}: {e}", path.display()),
        _ => err!(Storage, "cannot write {}: {e}", path.display()),
    })
}

/// The model of the recipe, loaded.
pub fn load(recipe: &Path) -> Result<Session> {
    Session::load(&read_limited(
        &recipe.join(MODEL),
        MODEL,
        twinfer::MAX_MODEL_BYTES as u64,
    )?)
}

/// The columns of a column signature.
pub fn columns(model: &MlModel) -> Result<Option<Vec<ColumnSpec>>> {
    Ok(match model.inputs()? {
        Some(Schema::Columns(columns)) => Some(columns),
        _ => None,
    })
}

fn is_null_somewhere(example: Option<&Example>, column: &ColumnSpec) -> bool {
    let Some(Example::Table {
        columns: Some(names),
        rows,
    }) = example
    else {
        return false;
    };
    let at = names
        .iter()
        .position(|name| Some(name) == column.name.as_ref());
    at.is_some_and(|at| {
        rows.iter()
            .any(|row| row.get(at).is_some_and(Json::is_null))
    })
}

/// A record pipeline, where the columns have names and the model takes them as one matrix, or each
/// as an input of its own.
pub fn pipeline_of(
    signature: &Signature,
    columns: Option<&[ColumnSpec]>,
    may_miss: impl Fn(&ColumnSpec) -> bool,
) -> Option<Pipeline> {
    let by_name = |name: &str| {
        columns
            .into_iter()
            .flatten()
            .find(|c| c.name.as_deref() == Some(name))
    };
    // A graph may call its inputs otherwise than the table its columns (no spaces): then it is given
    // tensors.
    let known = |spec: &TensorSpec| by_name(&spec.name).is_some();
    let own = Pipeline::of_columns(signature, |name| by_name(name).is_some_and(&may_miss))
        .filter(|_| signature.inputs.iter().all(known));
    if own.is_some() {
        return own;
    }
    let columns = columns.filter(|c| schema::numeric(c))?;
    let names = schema::names(columns)?;
    let [input] = signature.inputs.as_slice() else {
        return None;
    };
    let fits = match input.shape.as_deref() {
        None => true,
        Some([rows, width]) => {
            !matches!(rows, Dim::Fixed(n) if *n != 1)
                && !matches!(width, Dim::Fixed(n) if *n != names.len())
        }
        Some(_) => false,
    };
    if !fits || !matches!(input.dtype, DType::F32 | DType::F64 | DType::I64) {
        return None;
    }
    let nan = input.dtype != DType::I64;
    let columns = columns.iter().zip(names).map(|(spec, name)| Column {
        name: name.into(),
        missing: match nan && may_miss(spec) {
            true => Missing::Nan,
            false => Missing::Error,
        },
        dtype: None,
    });
    Some(Pipeline {
        input: InputStep::Record(RecordInput {
            name: "record".into(),
            tensor: Some(input.name.clone()),
            dtype: input.dtype,
            columns: columns.collect(),
        }),
        outputs: OutputStep::of_estimator(signature),
        parameters: Vec::new(),
    })
}

/// The cases of an input example: a case a row for a record, else one for all of it.
fn cases_of(
    example: &Example,
    signature: &Signature,
    pipeline: Option<&Pipeline>,
) -> Result<Vec<CaseInput>> {
    if let (Some(pipeline), Example::Table { columns, rows }) = (pipeline, example) {
        let InputStep::Record(record) = &pipeline.input else {
            bail!(Internal, "a pipeline that was not made here");
        };
        let names: Vec<String> = match columns {
            Some(names) => names.clone(),
            None => record.columns.iter().map(|c| c.name.clone()).collect(),
        };
        return rows
            .iter()
            .take(MAX_ROWS)
            .map(|row| record_case(record, &names, row))
            .collect();
    }
    let tensors: Tensors = signature
        .inputs
        .iter()
        .map(|spec| Ok((spec.name.clone(), input_of(example, spec, signature)?)))
        .collect::<Result<_>>()?;
    Ok(vec![tensor_case(tensors)])
}

/// A case of a record with the values of this row.
pub fn record_case(step: &RecordInput, names: &[String], row: &[Json]) -> Result<CaseInput> {
    let record: Map<String, Json> = names.iter().cloned().zip(row.iter().cloned()).collect();
    let lacking = step.columns.iter().find(|c| !record.contains_key(&c.name));
    if let Some(column) = lacking {
        bail!(
            InvalidRecipe,
            "the input example lacks the column `{}` of the signature; --no-example leaves it out",
            column.name
        );
    }
    // Only what the signature has: MLflow ignores other columns, a record refuses them.
    let known = |name: &String| step.columns.iter().any(|c| c.name == *name);
    let record: Map<_, _> = record.into_iter().filter(|(name, _)| known(name)).collect();
    let tensors = match &step.tensor {
        Some(name) => {
            let cells: Vec<&Json> = step
                .columns
                .iter()
                .filter_map(|c| record.get(&c.name))
                .collect();
            let tensor = example::from_flat(&cells, &[1, cells.len()], step.dtype)
                .map_err(|e| e.context("the input example"))?;
            vec![(name.clone(), tensor)]
        }
        None => step
            .tensors(&record)
            .map_err(|e| e.context("the input example"))?,
    };
    Ok(CaseInput {
        input: GoldenInput::Record(record),
        tensors,
    })
}

/// A case of tensors as they are.
pub fn tensor_case(tensors: Tensors) -> CaseInput {
    let golden = |(name, tensor): &(String, Tensor)| GoldenTensor::from_tensor(name, tensor);
    CaseInput {
        input: GoldenInput::Tensors(tensors.iter().map(golden).collect()),
        tensors,
    }
}

/// The part of an example that is for this input.
fn input_of(example: &Example, spec: &TensorSpec, signature: &Signature) -> Result<Tensor> {
    let misfit = || {
        err!(
            InvalidRecipe,
            "the input example has nothing for the model's input `{}`; --no-example leaves it out",
            spec.name
        )
    };
    let single = signature.inputs.len() == 1;
    let mut json = match example {
        Example::Array(array) if single => array.clone(),
        Example::Array(_) => return Err(misfit()),
        Example::Arrays(arrays) => match arrays.get(&spec.name) {
            Some(array) => array.clone(),
            None if single && arrays.len() == 1 => {
                arrays.values().next().cloned().unwrap_or_default()
            }
            None => return Err(misfit()),
        },
        Example::Table { columns, rows } => {
            let at = columns
                .as_ref()
                .and_then(|names| names.iter().position(|name| *name == spec.name));
            let flat = spec.shape.as_ref().is_some_and(|shape| shape.len() == 1);
            let cell = |row: &Vec<Json>, at: usize| row.get(at).cloned().unwrap_or_default();
            match at {
                Some(at) if flat => rows.iter().map(|row| cell(row, at)).collect(),
                Some(at) => rows.iter().map(|row| json!([cell(row, at)])).collect(),
                None if single => json!(rows),
                None => return Err(misfit()),
            }
        }
    };
    // A model for one row at a time gets the first.
    if let (Some([Dim::Fixed(1), ..]), Json::Array(items)) = (spec.shape.as_deref(), &mut json) {
        items.truncate(1);
    }
    example::tensor(&json, spec)
}

/// The cases with the answers of onnxruntime, or of our own engine where there is none.
fn answered(
    import: &Import,
    session: &Session,
    pipeline: Option<&Pipeline>,
    cases: Vec<CaseInput>,
) -> Result<Golden> {
    let tensors: Vec<Vec<GoldenTensor>> = cases
        .iter()
        .map(|case| match tensor_case(case.tensors.clone()).input {
            GoldenInput::Tensors(tensors) => tensors,
            _ => Vec::new(),
        })
        .collect();
    let request = json!({
        "task": "run_onnx",
        "model": import.recipe.join(MODEL),
        "cases": tensors,
    });
    if let Some(answer) = Python::reference(import.args, &import.work, &request)? {
        let reason = "numbers near 0: two runtimes add in another order";
        return golden(
            &answer.reference,
            cases,
            answer.cases,
            pipeline,
            1e-6,
            reason,
        );
    }
    let mut expected = Vec::new();
    for case in &cases {
        let values = session
            .run(case.tensors.clone())
            .map_err(|e| e.context("the input example"))?;
        expected.push(
            values
                .iter()
                .map(|(n, v)| GoldenTensor::from_value(n, v))
                .collect::<Result<_>>()?,
        );
    }
    let reference = format!(
        "Twinfer {} itself, when the model was imported from MLflow without onnxruntime: these examples show that the package answers everywhere as it did then, not that it answers as another runtime",
        env!("CARGO_PKG_VERSION")
    );
    golden(&reference, cases, expected, pipeline, 0.0, "")
}

/// Cases and expected tensors as golden examples.
pub fn golden(
    reference: &str,
    cases: Vec<CaseInput>,
    expected: Vec<Vec<GoldenTensor>>,
    pipeline: Option<&Pipeline>,
    absolute: f64,
    reason: &str,
) -> Result<Golden> {
    if cases.len() != expected.len() {
        bail!(
            ConversionFailed,
            "Python answered {} of {} examples",
            expected.len(),
            cases.len()
        );
    }
    let case = |(at, (case, tensors)): (usize, (CaseInput, Vec<GoldenTensor>))| GoldenCase {
        name: format!("input-example-{}", at + 1),
        input: case.input,
        parameters: Parameters::default(),
        expect: Expectation {
            outputs: pipeline.and_then(|pipeline| outputs_of(pipeline, &tensors)),
            tensors,
        },
        tolerance: Tolerance {
            absolute,
            ..Tolerance::default()
        },
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    };
    Ok(Golden {
        cases: cases
            .into_iter()
            .zip(expected)
            .enumerate()
            .map(case)
            .collect(),
        reference: reference.into(),
    })
}

/// The answer of the pipeline, where it follows from the tensors by itself.
fn outputs_of(pipeline: &Pipeline, tensors: &[GoldenTensor]) -> Option<Map<String, Json>> {
    let mut outputs = Map::new();
    for step in &pipeline.outputs {
        let (plain, kind) = match step {
            OutputStep::Label(plain) => (plain, "label"),
            OutputStep::Probabilities(plain) => (plain, "probabilities"),
            OutputStep::Tensor(plain) => (plain, "tensor"),
            _ => return None,
        };
        let golden = tensors.iter().find(|t| t.name == plain.tensor)?;
        let tensor = golden.to_tensor().ok()?;
        let json = twinfer::value_to_json(&twinfer::Value::Tensor(tensor)).ok()?;
        let answer = match kind {
            "label" => json.get(0)?.clone(),
            "probabilities" => {
                let keys = golden.keys.clone()?;
                keys.into_iter()
                    .zip(json.get(0)?.as_array()?.iter().cloned())
                    .collect()
            }
            _ => json,
        };
        outputs.insert(plain.name.clone(), answer);
    }
    Some(outputs)
}
