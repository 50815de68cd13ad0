//! What `/invocations` takes in JSON: exactly one of `dataframe_split`, `dataframe_records`,
//! `instances` and `inputs`, and perhaps `params`.

use serde_json::{Map, Value as Json};
use twinfer::{
    InputStep, MlflowColumn, MlflowSchema, Model, Parameters, Result, Signature, Value, ValueKind,
    bail, err, value_from_json,
};

use super::{params, schema};
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
    /// Whether MLflow would hand a data frame to the model: some flavors answer one with rows.
    pub(in crate::protocol) is_frame: bool,
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
            parameters: params::of(model, None)?,
            is_frame: is_frame(model, true),
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
    let parameters = params::of(model, fields.remove("params"))?;
    let value = fields.remove(format).unwrap_or_default();
    let given = match format {
        "dataframe_split" => {
            let table = split(value)?;
            let step = model.config().pipeline.as_ref().map(|p| &p.input);
            if let (None, Some(InputStep::Record(_)), None) =
                (&table.columns, step, schema::of(model))
            {
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
    Ok(Payload {
        given,
        parameters,
        is_frame: is_frame(model, format.starts_with("dataframe")),
    })
}

/// Enforcing a schema makes frames of everything, or arrays; without one it is what was sent.
fn is_frame(model: &Model, is_sent_as_one: bool) -> bool {
    match schema::of(model) {
        Some(MlflowSchema::Columns(_)) => true,
        Some(MlflowSchema::Tensors(_)) => false,
        None => is_sent_as_one,
    }
}

fn of_table(model: &Model, table: Table) -> Result<Given> {
    let table = match schema::of(model) {
        // Errors name rows of what was sent.
        Some(_) if table.rows.is_empty() => table,
        Some(schema) => schema::table(schema, table)?,
        None => table,
    };
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
    if let Some(MlflowSchema::Columns(_)) = schema::of(model) {
        return of_table(model, table);
    }
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
    let table = match schema::of(model) {
        Some(schema) => schema::table(schema, table)?,
        None => table,
    };
    Ok(Given::rows(table.into_rows(model)?))
}

fn is_map(signature: &Signature) -> bool {
    matches!(&signature.inputs[..], [only] if only.kind == ValueKind::Maps)
}

/// Rows that are no objects: for a model with one input.
fn values(model: &Model, what: &str, rows: Vec<Json>) -> Result<Given> {
    match schema::of(model) {
        Some(MlflowSchema::Columns(columns)) => return of_table(model, of_lists(columns, rows)),
        Some(MlflowSchema::Tensors(tensors)) if !rows.is_empty() => {
            if let [only] = &tensors[..] {
                return Ok(Given::rows(
                    match schema::tensor(only, Json::Array(rows))? {
                        Json::Array(rows) => rows,
                        other => vec![other],
                    },
                ));
            }
        }
        _ => {}
    }
    if model.config().pipeline.is_some() {
        bail!(
            InvalidRecord,
            "`{what}`: this model takes columns by name, so rows are objects"
        );
    }
    Ok(Given::rows(rows))
}

/// A frame of lists has no names, and one column where they are no lists; that is the only one of the
/// schema, if it has one.
fn of_lists(columns: &[MlflowColumn], rows: Vec<Json>) -> Table {
    let cells = |row| match row {
        Json::Array(cells) => cells,
        cell => vec![cell],
    };
    let names = match columns {
        [only] => only.name.clone().map(|name| vec![name]),
        _ => None,
    };
    Table {
        columns: names,
        rows: rows.into_iter().map(cells).collect(),
        is_text: false,
    }
}

/// Columns, as in TensorFlow Serving: an object of them, or the value of the only input.
fn inputs(model: &Model, value: Json) -> Result<Given> {
    match value {
        Json::Object(columns) if model.config().pipeline.is_some() => {
            of_table(model, of_columns(columns)?)
        }
        Json::Object(columns)
            if is_map(model.signature())
                || matches!(schema::of(model), Some(MlflowSchema::Columns(_))) =>
        {
            of_table(model, of_columns(columns)?)
        }
        Json::Object(columns) => of_tensors(model, columns),
        Json::Array(rows) if matches!(rows.first(), Some(Json::Object(_))) => {
            of_named(model, of_objects("`inputs`", rows)?)
        }
        Json::Array(rows) => match model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Record(_)) => values(model, "inputs", rows),
            Some(step) => {
                let rows = rows.into_iter().map(|row| encoded(step, row));
                Ok(Given::rows(rows.collect()))
            }
            None if matches!(schema::of(model), Some(MlflowSchema::Columns(_))) => {
                values(model, "inputs", rows)
            }
            None => of_tensor(model, Json::Array(rows)),
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
fn of_tensors(model: &Model, mut columns: Map<String, Json>) -> Result<Given> {
    let signature = model.signature();
    if let Some(MlflowSchema::Tensors(tensors)) = schema::of(model) {
        for spec in tensors {
            // One without a name is the only input.
            let only = signature.inputs.first().map(|input| &input.name);
            let Some(name) = spec.name.as_ref().or(only) else {
                continue;
            };
            let Some(value) = columns.remove(name) else {
                bail!(MissingInput, "Model is missing inputs [{name:?}].");
            };
            let value = schema::tensor(spec, value);
            let value = value.map_err(|e| e.context(format!("input `{name}`")))?;
            columns.insert(name.clone(), value);
        }
    }
    let known = signature.inputs.iter().chain(&signature.optional);
    let given = known.filter_map(|spec| Some((spec, columns.get(&spec.name)?)));
    let value = |(spec, json): (&twinfer::TensorSpec, &Json)| {
        let value = value_from_json(spec, &rows::text_of(json, spec)?)?;
        Ok((spec.name.clone(), value))
    };
    given.map(value).collect::<Result<_>>().map(Given::Values)
}

fn of_tensor(model: &Model, json: Json) -> Result<Given> {
    match &model.signature().inputs[..] {
        [only] => of_tensors(model, Map::from_iter([(only.name.clone(), json)])),
        inputs => bail!(
            InvalidInput,
            "the model has {} inputs: `inputs` must be an object of them",
            inputs.len()
        ),
    }
}
