//! Tables of cells, as data frames and CSV have them, and the rows that a model takes of them.

use serde_json::{Map, Value as Json, json};
use twinfer::{
    DType, Dim, InputStep, Model, RecordInput, Result, Signature, TensorSpec, ValueKind, bail, err,
};

/// Rows of cells, and the names of the columns where there are some.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// As many as every row has cells.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) rows: Vec<Vec<Json>>,
    /// Whether all cells are texts, whatever they mean, as in CSV.
    pub(crate) is_text: bool,
}

/// What stands for "nothing" in a column of numbers: the defaults of `pandas.read_csv`.
const MISSING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "nan", "null",
];

/// Whether a text in a column of numbers stands for nothing.
pub(crate) fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.trim())
}

impl Table {
    /// How many columns it has.
    pub(crate) fn width(&self) -> usize {
        match &self.columns {
            Some(columns) => columns.len(),
            None => self.rows.first().map_or(0, Vec::len),
        }
    }

    /// A table in CSV (RFC 4180), with names in its first line or without. Cells that a line lacks
    /// at its end are missing; of columns of the same name the first counts.
    ///
    /// # Errors
    /// `invalid_input` for what is no UTF-8, has no first line, or a line with more cells than it.
    pub(crate) fn from_csv(body: &[u8], has_names: bool) -> Result<Self> {
        let read = crate::formats::csv::read(body)
            .map_err(|e| err!(InvalidInput, "this is no CSV in UTF-8: {}", e.message()))?;
        let cells = |(_, line): (usize, Vec<String>)| line.into_iter().map(Json::from).collect();
        let mut lines: Vec<Vec<Json>> = read.into_iter().map(cells).collect();
        let Some(width) = lines.first().map(Vec::len) else {
            bail!(InvalidInput, "the table has no lines");
        };
        let columns = has_names.then(|| {
            let first = lines.remove(0).into_iter();
            first.map(|cell| cell.as_str().unwrap_or_default().to_owned())
        });
        let columns = columns.map(Iterator::collect);
        for (at, line) in lines.iter_mut().enumerate() {
            if line.len() > width {
                bail!(
                    InvalidInput,
                    "row {at} has {} cells, the first line {width}",
                    line.len()
                );
            }
            line.resize(width, Json::Null);
        }
        Ok(Self {
            columns,
            rows: lines,
            is_text: true,
        })
    }

    /// The rows that [`crate::rows::predict`] takes. Columns that the model does not know are left
    /// out.
    ///
    /// | model takes | the table has |
    /// |---|---|
    /// | a record | its columns, by name |
    /// | a picture, a sound, bytes | one column of base64 |
    /// | a text | one column of texts |
    /// | inputs of the names of columns | those |
    /// | one tensor | all its columns in their order, or one column of lists |
    ///
    /// # Errors
    /// `invalid_record` and `missing_input` where columns are missing.
    pub(crate) fn into_rows(self, model: &Model) -> Result<Vec<Json>> {
        match model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Record(step)) => self.records(step),
            Some(step) => self.contents(step),
            None => self.inputs(model.signature()),
        }
    }

    /// Whether [`Table::into_rows`] finds the inputs of a model without a pipeline by their names.
    pub(crate) fn is_by_name(&self, signature: &Signature) -> bool {
        !signature.inputs.is_empty() && signature.inputs.iter().all(|i| self.at(&i.name).is_some())
    }

    /// The place of a column.
    fn at(&self, name: &str) -> Option<usize> {
        self.columns
            .as_ref()?
            .iter()
            .position(|column| column == name)
    }

    fn records(self, step: &RecordInput) -> Result<Vec<Json>> {
        let Some(columns) = &self.columns else {
            return self.unnamed(step);
        };
        let mut wanted: Vec<(usize, &str, DType)> = Vec::new();
        if step.columns.is_empty() {
            let all = columns.iter().enumerate();
            wanted.extend(all.map(|(at, name)| (at, name.as_str(), step.dtype)));
        }
        for column in &step.columns {
            let dtype = match step.tensor {
                Some(_) => step.dtype,
                None => column.dtype.unwrap_or(step.dtype),
            };
            if let Some(at) = self.at(&column.name) {
                wanted.push((at, &column.name, dtype));
            }
        }
        let row = |row: &Vec<Json>| {
            let cells = wanted.iter().filter_map(|(at, name, dtype)| {
                let cell = self.cell(row, *at, *dtype);
                // A map has what it has.
                let is_absent = step.columns.is_empty() && cell.is_null();
                (!is_absent).then(|| ((*name).to_owned(), cell))
            });
            Json::Object(cells.collect())
        };
        Ok(self.rows.iter().map(row).collect())
    }

    /// Rows as lists, whose cells are the columns of the model in their order.
    fn unnamed(self, step: &RecordInput) -> Result<Vec<Json>> {
        if step.columns.is_empty() {
            bail!(
                InvalidRecord,
                "the columns have no names, and this model takes them by name"
            );
        }
        let dtype = |at: usize| match (step.tensor.is_some(), step.columns.get(at)) {
            (false, Some(column)) => column.dtype.unwrap_or(step.dtype),
            _ => step.dtype,
        };
        let row = |row: &Vec<Json>| {
            let cells = (0..row.len()).map(|at| self.cell(row, at, dtype(at)));
            Json::Array(cells.collect())
        };
        Ok(self.rows.iter().map(row).collect())
    }

    fn contents(self, step: &InputStep) -> Result<Vec<Json>> {
        let name = step.name();
        let single = matches!(self.rows.first(), Some(row) if row.len() == 1);
        let Some(at) = self.at(name).or(single.then_some(0)) else {
            bail!(
                MissingInput,
                "the column `{name}` is missing: it has {}",
                match step {
                    InputStep::Text(_) => "the texts",
                    _ => "the content in base64",
                }
            );
        };
        let row = |mut row: Vec<Json>| encoded(step, row.swap_remove(at));
        Ok(self.rows.into_iter().map(row).collect())
    }

    fn inputs(self, signature: &Signature) -> Result<Vec<Json>> {
        if self.is_by_name(signature) {
            let known = signature.inputs.iter().chain(&signature.optional);
            let known: Vec<(usize, &TensorSpec)> = known
                .filter_map(|spec| Some((self.at(&spec.name)?, spec)))
                .collect();
            let row = |row: &Vec<Json>| {
                let cells = known.iter().map(|(at, spec)| {
                    let cell = self.cell(row, *at, spec.dtype);
                    (spec.name.clone(), fold(cell, spec))
                });
                Json::Object(cells.collect())
            };
            return Ok(self.rows.iter().map(row).collect());
        }
        let [spec] = &signature.inputs[..] else {
            let missing = signature
                .inputs
                .iter()
                .find(|spec| self.at(&spec.name).is_none());
            let missing = missing.map_or("", |spec| &spec.name);
            bail!(
                MissingInput,
                "there is no column for input `{missing}` of the model"
            );
        };
        let row = |row: &Vec<Json>| {
            if let (ValueKind::Maps, Some(columns)) = (spec.kind, &self.columns) {
                let cells = columns.iter().enumerate();
                let cells = cells.map(|(at, name)| (name.clone(), self.cell(row, at, spec.dtype)));
                return Json::Object(cells.filter(|(_, cell)| !cell.is_null()).collect());
            }
            let mut cells: Vec<Json> = (0..row.len())
                .map(|at| self.cell(row, at, spec.dtype))
                .collect();
            let is_vector = spec.shape.as_ref().is_some_and(|shape| shape.len() == 1);
            match cells.len() {
                1 if cells[0].is_array() || is_vector => fold(cells.remove(0), spec),
                _ => fold(Json::Array(cells), spec),
            }
        };
        Ok(self.rows.iter().map(row).collect())
    }

    /// A cell, as JSON has its type.
    fn cell(&self, row: &[Json], at: usize, dtype: DType) -> Json {
        match &row[at] {
            Json::String(text) if self.is_text => typed(text, dtype),
            cell => cell.clone(),
        }
    }
}

/// Content in base64, or a text, as [`crate::rows`] takes it.
pub(crate) fn encoded(step: &InputStep, cell: Json) -> Json {
    match cell {
        Json::String(text) if !matches!(step, InputStep::Text(_)) => json!({"b64": text}),
        other => other,
    }
}

/// What a text in CSV means for this type; the text, where it means nothing.
pub(crate) fn typed(text: &str, dtype: DType) -> Json {
    let trimmed = text.trim();
    let truth = match trimmed {
        "True" | "TRUE" | "true" => Some(true),
        "False" | "FALSE" | "false" => Some(false),
        _ => None,
    };
    let whole = || {
        let digits = trimmed.strip_prefix('+').unwrap_or(trimmed);
        let signed = digits.parse::<i64>().ok().map(Json::from);
        signed.or_else(|| digits.parse::<u64>().ok().map(Json::from))
    };
    let meant = match dtype {
        DType::String => None,
        _ if is_missing(trimmed) => Some(Json::Null),
        DType::Bool => truth.map(Json::Bool),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => match truth {
            Some(truth) => Some(Json::from(u8::from(truth))),
            None => trimmed.parse::<f64>().ok().map(twinfer::number_to_json),
        },
        _ => whole(),
    };
    meant.unwrap_or_else(|| text.into())
}

/// A cell as the input without its first axis: flat lists take its shape, a number becomes a list of
/// one where the model wants that. What does not fit stays as it is, and is refused as such.
pub(crate) fn fold(cell: Json, spec: &TensorSpec) -> Json {
    let Some([_, rest @ ..]) = spec.shape.as_deref() else {
        return cell;
    };
    let lengths: Option<Vec<usize>> = rest
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(length) => Some(*length),
            _ => None,
        })
        .collect();
    match (cell, lengths) {
        (Json::Array(cells), Some(lengths))
            if lengths.len() > 1
                && !cells.iter().any(Json::is_array)
                && lengths.iter().product::<usize>() == cells.len() =>
        {
            nest(&lengths, &mut cells.into_iter())
        }
        (cell, _) if rest.len() == 1 && !cell.is_array() => Json::Array(vec![cell]),
        (cell, _) => cell,
    }
}

fn nest(lengths: &[usize], cells: &mut impl Iterator<Item = Json>) -> Json {
    match lengths {
        [] => cells.next().unwrap_or(Json::Null),
        [length, rest @ ..] => (0..*length).map(|_| nest(rest, cells)).collect(),
    }
}

/// A table of objects: its columns are all their keys, in the order in which they first come.
///
/// # Errors
/// `invalid_request` where something else is among them.
pub(crate) fn of_objects(what: &str, rows: Vec<Json>) -> Result<Table> {
    let mut columns: Map<String, Json> = Map::new();
    for (at, row) in rows.iter().enumerate() {
        let Json::Object(fields) = row else {
            bail!(
                InvalidRequest,
                "{what}: row {at} must be an object of columns"
            );
        };
        for key in fields.keys() {
            if !columns.contains_key(key) {
                columns.insert(key.clone(), Json::Null);
            }
        }
    }
    let columns: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
    let row = |row: Json| {
        let mut fields = match row {
            Json::Object(fields) => fields,
            _ => Map::new(),
        };
        let cell = |name| fields.get_mut(name).map_or(Json::Null, Json::take);
        columns.iter().map(cell).collect()
    };
    Ok(Table {
        rows: rows.into_iter().map(row).collect(),
        columns: Some(columns),
        is_text: false,
    })
}
