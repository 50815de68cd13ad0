//! What `/invocations` takes in JSON: exactly one of `dataframe_split`, `dataframe_records`,
//! `instances` and `inputs`, and perhaps `params`.

use serde_json::{Map, Value as Json};
use twinfer::{
    InputStep, Model, Parameters, Result, Signature, Value, ValueKind, bail, err, value_from_json,
};

use crate::table::{Table, encoded, of_objects};
use crate::{loose, rows};

const FORMATS: [&str; 4] = [
    "dataframe_split",
    "dataframe_records",
    "instances",
    "inputs",
];

/// A call of the model.
#[derive(Debug)]
pub(in crate::protocol) struct Payload {
    pub(in crate::protocol) given: Given,
    pub(in crate::protocol) parameters: Parameters,
}

/// What the model is given.
#[derive(Debug)]
pub(in crate::protocol) enum Given {
    /// Rows, as [`rows::predict`] takes them.
    Rows {
        rows: Vec<Json>,
        /// Whether they are those of a table whose columns are inputs by their names.
        are_named: bool,
    },
    /// The inputs of the model.
    Values(Vec<(String, Value)>),
}

impl Given {
    fn rows(rows: Vec<Json>) -> Self {
        Self::Rows {
            rows,
            are_named: false,
        }
    }
}

impl Payload {
    /// That of a table without parameters.
    ///
    /// # Errors
    /// Those of [`Table::into_rows`].
    pub(in crate::protocol) fn of_table(model: &Model, table: Table) -> Result<Self> {
        Ok(Self {
            given: of_table(model, table)?,
            parameters: Parameters::new(),
        })
    }
}

/// Reads a body.
///
/// # Errors
/// `invalid_json`, `invalid_request`, and those of what is in it.
pub(in crate::protocol) fn read(model: &Model, body: &[u8]) -> Result<Payload> {
    let json: Json = serde_json::from_slice(&loose::quote_words(body))
        .map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))?;
    let Json::Object(mut fields) = json else {
        bail!(
            InvalidRequest,
            "the request must be an object with one of {}",
            FORMATS.join(", ")
        );
    };
    let mut there = FORMATS
        .into_iter()
        .filter(|name| fields.contains_key(*name));
    let (Some(format), None) = (there.next(), there.next()) else {
        bail!(
            InvalidRequest,
            "the request must have exactly one of {}",
            FORMATS.join(", ")
        );
    };
    let parameters = parameters(model, fields.remove("params"))?;
    let value = fields.remove(format).unwrap_or_default();
    let given = match format {
        "dataframe_split" => {
            let table = split(value)?;
            let step = model.config().pipeline.as_ref().map(|p| &p.input);
            if let (None, Some(InputStep::Record(_))) = (&table.columns, step) {
                bail!(
                    InvalidRecord,
                    "`dataframe_split` has no `columns`, and this model takes them by name"
                );
            }
            of_table(model, table)?
        }
        "dataframe_records" => of_table(model, records(value)?)?,
        "instances" => instances(model, value)?,
        _ => inputs(model, value)?,
    };
    Ok(Payload { given, parameters })
}

/// Those that the pipeline declares: MLflow warns of others, and leaves them out.
fn parameters(model: &Model, given: Option<Json>) -> Result<Parameters> {
    let declared = match &model.config().pipeline {
        Some(pipeline) => &pipeline.parameters[..],
        None => &[],
    };
    if declared.is_empty() {
        return Ok(Parameters::new());
    }
    match given {
        None | Some(Json::Null) => Ok(Parameters::new()),
        Some(Json::Object(given)) => {
            let is_known = |name: &String| declared.iter().any(|spec| spec.name == *name);
            Ok(given
                .into_iter()
                .filter(|(name, _)| is_known(name))
                .collect())
        }
        Some(_) => bail!(InvalidParameter, "`params` must be an object of parameters"),
    }
}

fn of_table(model: &Model, table: Table) -> Result<Given> {
    Ok(Given::Rows {
        are_named: model.config().pipeline.is_none() && table.is_by_name(model.signature()),
        rows: table.into_rows(model)?,
    })
}

/// `{"columns": […], "index": […], "data": [[…], …]}`, as pandas writes a table with
/// `orient="split"`.
fn split(value: Json) -> Result<Table> {
    let Json::Object(mut fields) = value else {
        bail!(InvalidRequest, "`dataframe_split` must be an object");
    };
    let unknown = fields
        .keys()
        .find(|key| !["columns", "index", "data"].contains(&key.as_str()));
    if let Some(unknown) = unknown {
        bail!(
            InvalidRequest,
            "`dataframe_split` has `data`, and perhaps `columns` and `index`, not {unknown:?}"
        );
    }
    let Some(Json::Array(data)) = fields.remove("data") else {
        bail!(
            InvalidRequest,
            "`dataframe_split` must have `data`, a list of rows"
        );
    };
    match fields.remove("index") {
        None | Some(Json::Null) => {}
        Some(Json::Array(index)) if index.len() == data.len() => {}
        Some(_) => bail!(
            InvalidRequest,
            "`index` of `dataframe_split` must be a list with an entry for each row"
        ),
    }
    let columns = match fields.remove("columns") {
        None | Some(Json::Null) => None,
        Some(Json::Array(columns)) => Some(names(columns)?),
        Some(_) => bail!(
            InvalidRequest,
            "`columns` of `dataframe_split` must be a list"
        ),
    };
    let cells = |row| match row {
        Json::Array(cells) => cells,
        cell => vec![cell],
    };
    let rows: Vec<Vec<Json>> = data.into_iter().map(cells).collect();
    let width = columns
        .as_ref()
        .map(Vec::len)
        .or_else(|| rows.first().map(Vec::len));
    let other = |row: &&Vec<Json>| Some(row.len()) != width;
    if let Some(row) = rows.iter().find(other) {
        bail!(
            InvalidRequest,
            "`dataframe_split` has {} columns, and a row of {} cells",
            width.unwrap_or_default(),
            row.len()
        );
    }
    Ok(Table {
        columns,
        rows,
        is_text: false,
    })
}

fn names(columns: Vec<Json>) -> Result<Vec<String>> {
    let name = |column| match column {
        Json::String(name) => name,
        other => other.to_string(),
    };
    let names: Vec<String> = columns.into_iter().map(name).collect();
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    if let Some([twice, _]) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(InvalidRequest, "there are two columns {twice:?}");
    }
    Ok(names)
}

fn records(value: Json) -> Result<Table> {
    match value {
        Json::Array(rows) => of_objects("`dataframe_records`", rows),
        _ => bail!(
            InvalidRequest,
            "`dataframe_records` must be a list of objects"
        ),
    }
}

/// Rows, as in TensorFlow Serving: objects, or values of the only input.
fn instances(model: &Model, value: Json) -> Result<Given> {
    let Json::Array(rows) = value else {
        bail!(InvalidRequest, "`instances` must be a list of rows");
    };
    let step = model.config().pipeline.as_ref().map(|p| &p.input);
    if let Some(step) = step.filter(|step| !matches!(step, InputStep::Record(_))) {
        let rows = rows.into_iter().map(|row| encoded(step, row));
        return Ok(Given::rows(rows.collect()));
    }
    if !matches!(rows.first(), Some(Json::Object(_))) {
        return values(model, "instances", rows);
    }
    let is_map = matches!(step, Some(InputStep::Record(step)) if step.columns.is_empty())
        || is_map(model.signature());
    let lengths: Vec<Option<usize>> = (rows.iter())
        .map(|row| row.as_object().map(Map::len))
        .collect();
    let table = of_objects("`instances`", rows)?;
    let all = table.columns.as_ref().map(Vec::len);
    if let Some(at) = lengths.iter().position(|length| *length != all)
        && !is_map
    {
        // A column of another length than the others, for MLflow.
        bail!(
            InvalidRequest,
            "`instances`: row {at} has not the columns of the others"
        );
    }
    of_named(model, table)
}

/// Objects have the names of inputs, where there is no pipeline: a table may have others, and is a
/// matrix then.
fn of_named(model: &Model, table: Table) -> Result<Given> {
    let signature = model.signature();
    let is_other =
        model.config().pipeline.is_none() && !is_map(signature) && !table.is_by_name(signature);
    if is_other {
        let names: Vec<String> = (signature.inputs.iter())
            .map(|spec| format!("`{}`", spec.name))
            .collect();
        bail!(
            MissingInput,
            "rows that are objects must have the inputs of the model: {}",
            names.join(", ")
        );
    }
    Ok(Given::rows(table.into_rows(model)?))
}

fn is_map(signature: &Signature) -> bool {
    matches!(&signature.inputs[..], [only] if only.kind == ValueKind::Maps)
}

/// Rows that are no objects: for a model with one input.
fn values(model: &Model, what: &str, rows: Vec<Json>) -> Result<Given> {
    if model.config().pipeline.is_some() {
        bail!(
            InvalidRecord,
            "`{what}`: this model takes columns by name, so rows are objects"
        );
    }
    Ok(Given::rows(rows))
}

/// Columns, as in TensorFlow Serving: an object of them, or the value of the only input.
fn inputs(model: &Model, value: Json) -> Result<Given> {
    match value {
        Json::Object(columns) if model.config().pipeline.is_some() => {
            of_table(model, of_columns(columns)?)
        }
        Json::Object(columns) if is_map(model.signature()) => of_table(model, of_columns(columns)?),
        Json::Object(columns) => of_tensors(model.signature(), &columns),
        Json::Array(rows) if matches!(rows.first(), Some(Json::Object(_))) => {
            of_named(model, of_objects("`inputs`", rows)?)
        }
        Json::Array(rows) => match model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Record(_)) => values(model, "inputs", rows),
            Some(step) => {
                let rows = rows.into_iter().map(|row| encoded(step, row));
                Ok(Given::rows(rows.collect()))
            }
            None => of_tensor(model.signature(), Json::Array(rows)),
        },
        _ => bail!(
            InvalidRequest,
            "`inputs` must be an object of inputs, or the list that is the only one"
        ),
    }
}

/// Columns of the same length, or one row of single values.
fn of_columns(columns: Map<String, Json>) -> Result<Table> {
    let (names, columns): (Vec<String>, Vec<Json>) = columns.into_iter().unzip();
    if !columns.iter().any(Json::is_array) {
        return Ok(Table {
            columns: Some(names),
            rows: vec![columns],
            is_text: false,
        });
    }
    let length = columns.first().and_then(Json::as_array).map(Vec::len);
    let mut cells = Vec::with_capacity(columns.len());
    for (column, name) in columns.into_iter().zip(&names) {
        match column {
            Json::Array(column) if Some(column.len()) == length => cells.push(column.into_iter()),
            _ => bail!(
                InvalidRequest,
                "`inputs`: {name:?} must be a list of the same length as the others"
            ),
        }
    }
    let row = |_| cells.iter_mut().filter_map(Iterator::next).collect();
    Ok(Table {
        rows: (0..length.unwrap_or(0)).map(row).collect(),
        columns: Some(names),
        is_text: false,
    })
}

/// Whole inputs by name; what is none of the model is left out.
fn of_tensors(signature: &Signature, columns: &Map<String, Json>) -> Result<Given> {
    let known = signature.inputs.iter().chain(&signature.optional);
    let given = known.filter_map(|spec| Some((spec, columns.get(&spec.name)?)));
    let value = |(spec, json): (&twinfer::TensorSpec, &Json)| {
        let value = value_from_json(spec, &rows::text_of(json, spec)?)?;
        Ok((spec.name.clone(), value))
    };
    given.map(value).collect::<Result<_>>().map(Given::Values)
}

fn of_tensor(signature: &Signature, json: Json) -> Result<Given> {
    match &signature.inputs[..] {
        [only] => {
            let columns = Map::from_iter([(only.name.clone(), json)]);
            of_tensors(signature, &columns)
        }
        inputs => bail!(
            InvalidInput,
            "the model has {} inputs: `inputs` must be an object of them",
            inputs.len()
        ),
    }
}
