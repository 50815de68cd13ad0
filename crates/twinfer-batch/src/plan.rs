//! What a job does with the columns of its input.

use std::path::{Path, PathBuf};

use arrow_schema::Schema;
use twinfer::{Dim, Model, Result, ValueKind, bail, err};
use twinfer_serve::offline::{BatchAxis, Rows, Table};

use crate::columns;
use crate::decode::{Decoder, How, Taken};
use crate::encode::{KeptColumns, json_rows};
use crate::job::{Input, InputFormat, Job, Keep, Output, OutputFormat};
use crate::read::{Shape, Source, format_of_parts};

/// Rows that are worked on as a whole where the model takes one at a time.
const ROWS_ONE_BY_ONE: usize = 8;
/// Most rows that are run at once where nothing is said.
const MAX_BATCH: usize = 256;
/// Numbers that a batch gives the model at the most where nothing is said: beyond that a longer one
/// is hardly quicker, and takes memory for each thread.
const BATCH_NUMBERS: usize = 1 << 18;

/// What was decided before the first row is read.
pub(crate) struct Plan<'a> {
    pub(crate) decoder: Decoder<'a>,
    pub(crate) kept: KeptColumns,
    /// Columns that are neither taken nor kept.
    pub(crate) ignored: Vec<String>,
    /// Rows that the model would run at once.
    pub(crate) batch: usize,
    /// Rows of a chunk.
    pub(crate) chunk: usize,
}

impl<'a> Plan<'a> {
    /// Looks at the input, and decides.
    ///
    /// # Errors
    /// `invalid_input`, `missing_input`, `wrong_dtype` and others where input, model and options do
    /// not fit; `storage`.
    pub(crate) fn of(model: &'a Model, job: &Job) -> Result<(Self, Source)> {
        let rows = Rows::of(model);
        rows.check(&job.parameters)?;
        check_places(job)?;
        let (mut source, shape) = Source::open(&job.input, job.input_format)?;
        let (how, kept, ignored) = match shape {
            Shape::Rows if job.input_format == InputFormat::Folder => of_folder(job)?,
            Shape::Rows => of_lines(rows, job)?,
            Shape::Columns { names, width, .. } => match source.table() {
                None => of_cells(model, rows, job, names, width)?,
                Some(table) => {
                    let names = names.unwrap_or_default();
                    let chosen = Chosen::of(rows, job, Some(&names), width)?;
                    of_table(model, job, &names, chosen, table)?
                }
            },
        };
        check_names(model, job, &kept)?;
        let (batch, chunk) = batch(model, rows, job.batch)?;
        let plan = Self {
            decoder: Decoder {
                rows,
                how,
                folder: folder(job),
                content: job.content,
            },
            kept,
            ignored,
            batch,
            chunk,
        };
        Ok((plan, source))
    }
}

/// The job with what its input is. For a model that takes neither pictures nor bytes the files of a
/// folder are tables, of the format that their names say.
///
/// # Errors
/// `invalid_input` where they do not say it; `storage`.
pub(crate) fn settled(model: &Model, job: &Job) -> Result<Job> {
    let mut job = job.clone();
    if job.input_format == InputFormat::Folder
        && Rows::of(model).content_name().is_none()
        && let Input::Path(path) = &job.input
    {
        job.input_format = format_of_parts(path)?;
    }
    Ok(job)
}

/// Whether the output does not change the input.
fn check_places(job: &Job) -> Result<()> {
    let (Input::Path(input), Output::Path(output)) = (&job.input, &job.output) else {
        return Ok(());
    };
    if let (Ok(input), Ok(output)) = (input.canonicalize(), output.canonicalize())
        && input == output
    {
        bail!(
            InvalidInput,
            "input and output are the same file, {}",
            input.display()
        );
    }
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if input.is_dir()
        && let (Ok(input), Ok(folder)) = (input.canonicalize(), folder.canonicalize())
        && folder.starts_with(&input)
    {
        bail!(
            InvalidInput,
            "the output would be one of the files of the input, {}: name another folder for it",
            input.display()
        );
    }
    Ok(())
}

type Decided<'a> = (How<'a>, KeptColumns, Vec<String>);

fn of_folder<'a>(job: &Job) -> Result<Decided<'a>> {
    if let Keep::Named(names) = &job.keep
        && let Some(other) = names.iter().find(|name| *name != "file")
    {
        bail!(
            InvalidInput,
            "a folder has no column `{other}` to keep, only `file`"
        );
    }
    let kept = KeptColumns::Named(vec!["file".into()]);
    Ok((How::Files, kept, Vec::new()))
}

fn of_lines<'a>(rows: Rows<'a>, job: &Job) -> Result<Decided<'a>> {
    let kept = match &job.keep {
        Keep::Named(names) => KeptColumns::Named(names.clone()),
        Keep::All if job.output_format == OutputFormat::JsonLines => KeptColumns::Any,
        Keep::All => bail!(
            InvalidInput,
            "which columns JSON Lines have is not known before: name those to keep"
        ),
    };
    if let (Some(column), None) = (&job.column, rows.content_name()) {
        bail!(
            InvalidInput,
            "`{column}` cannot be the content: the model takes neither pictures nor bytes"
        );
    }
    let how = How::Lines {
        keep: job.keep.clone(),
        field: job.column.clone(),
    };
    Ok((how, kept, Vec::new()))
}

fn of_cells<'a>(
    model: &'a Model,
    rows: Rows<'a>,
    job: &Job,
    names: Option<Vec<String>>,
    width: usize,
) -> Result<Decided<'a>> {
    let chosen = Chosen::of(rows, job, names.as_deref(), width)?;
    let name = |at: &usize| names.as_ref().and_then(|names| names.get(*at)).cloned();
    let kept: Vec<(usize, String)> = (chosen.kept.iter())
        .filter_map(|at| Some((*at, name(at)?)))
        .collect();
    let taken = match chosen.content {
        Some(at) => Taken::Content(at),
        None => Taken::Columns(chosen.table(model, names.as_deref(), width)?),
    };
    let kept_names = kept.iter().map(|(_, name)| name.clone()).collect();
    let ignored = match &taken {
        Taken::Columns(table) => chosen.ignored(names.as_deref(), table.used()),
        Taken::Content(at) => chosen.ignored(names.as_deref(), &[*at]),
    };
    let how = How::Cells {
        taken,
        width,
        names,
        kept,
    };
    Ok((how, KeptColumns::Named(kept_names), ignored))
}

fn of_table<'a>(
    model: &'a Model,
    job: &Job,
    names: &[String],
    chosen: Chosen,
    file: &mut crate::read::TableFile,
) -> Result<Decided<'a>> {
    // Which columns the model takes, by their places in the file; only those and the kept are read.
    let used = match chosen.content {
        Some(at) => vec![at],
        None => chosen
            .table(model, Some(names), names.len())?
            .used()
            .to_vec(),
    };
    let mut read: Vec<usize> = used.iter().chain(&chosen.kept).copied().collect();
    read.sort_unstable();
    read.dedup();
    let ignored = chosen.ignored(Some(names), &used);
    let schema = file.read_only(read.clone());
    let place = |at: &usize| read.iter().position(|other| other == at).unwrap_or(0);
    let kept: Vec<usize> = chosen.kept.iter().map(place).collect();
    let taken = match chosen.content {
        Some(at) => Taken::Content(place(&at)),
        None => {
            let used: Vec<String> = (read.iter())
                .map(|at| names.get(*at).cloned().unwrap_or_default())
                .collect();
            let table = Table::named(model, &used, &chosen.aside)?;
            table.check(&schema)?;
            Taken::Columns(table)
        }
    };
    let kept_schema = Schema::new(
        (kept.iter())
            .filter_map(|at| schema.fields().get(*at).cloned())
            .collect::<Vec<_>>(),
    );
    let kept_schema = std::sync::Arc::new(kept_schema);
    if job.output_format != OutputFormat::Parquet {
        // Types that have no form in text are found before the first row is read.
        json_rows(&arrow_array::RecordBatch::new_empty(kept_schema.clone()))?;
    }
    let how = How::Table { taken, kept };
    Ok((how, KeptColumns::Table(kept_schema), ignored))
}

/// Columns of a table, by their places.
struct Chosen {
    kept: Vec<usize>,
    /// Names of those that the model gets only where it knows them.
    aside: Vec<String>,
    content: Option<usize>,
}

impl Chosen {
    fn of(rows: Rows<'_>, job: &Job, names: Option<&[String]>, width: usize) -> Result<Self> {
        let all = names.unwrap_or_default();
        let at = |name: &String| {
            all.iter().position(|other| other == name).ok_or_else(|| {
                let names: Vec<String> = all.iter().map(|name| format!("`{name}`")).collect();
                err!(
                    InvalidInput,
                    "there is no column `{name}`; the table has {}",
                    match names.is_empty() {
                        true => "no names".to_owned(),
                        false => names.join(", "),
                    }
                )
            })
        };
        let kept = match &job.keep {
            Keep::Named(names) => names.iter().map(at).collect::<Result<_>>()?,
            Keep::All if names.is_some() => (0..all.len()).collect(),
            Keep::All => bail!(InvalidInput, "columns without names cannot be kept"),
        };
        let aside = match &job.keep {
            Keep::Named(names) => names.clone(),
            Keep::All => Vec::new(),
        };
        let content = match (rows.content_name(), &job.column) {
            (Some(_), Some(column)) => Some(at(column)?),
            (Some(_), None) if width == 1 => Some(0),
            (Some(name), None) => Some(at(&name.to_owned()).map_err(|e| {
                e.context(
                    "the column with the content is that of the input, unless another is named",
                )
            })?),
            (None, Some(column)) => bail!(
                InvalidInput,
                "`{column}` cannot be the content: the model takes neither pictures nor bytes"
            ),
            (None, None) => None,
        };
        Ok(Self {
            kept,
            aside,
            content,
        })
    }

    fn table<'a>(
        &self,
        model: &'a Model,
        names: Option<&[String]>,
        width: usize,
    ) -> Result<Table<'a>> {
        match names {
            Some(names) => Table::named(model, names, &self.aside),
            None => Table::unnamed(model, width),
        }
    }

    fn ignored(&self, names: Option<&[String]>, used: &[usize]) -> Vec<String> {
        let names = names.unwrap_or_default().iter().enumerate();
        names
            .filter(|(at, _)| !used.contains(at) && !self.kept.contains(at))
            .map(|(_, name)| name.clone())
            .collect()
    }
}

/// Whether each column of the output has a name of its own.
fn check_names(model: &Model, job: &Job, kept: &KeptColumns) -> Result<()> {
    let kept: Vec<String> = match kept {
        KeptColumns::Named(names) => names.clone(),
        KeptColumns::Table(schema) => schema.fields().iter().map(|f| f.name().clone()).collect(),
        KeptColumns::Any => Vec::new(),
    };
    let answers = columns::names(model);
    let answers = answers.iter().map(|name| format!("{}{name}", job.prefix));
    let mut all: Vec<String> = (job.row_number.iter().cloned())
        .chain(kept)
        .chain(answers)
        .collect();
    all.sort();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!(
            InvalidInput,
            "the output would have two columns `{}`: keep fewer, or give answers a prefix",
            pair[0]
        ),
        None => Ok(()),
    }
}

/// Rows that the model runs at once, and rows of a chunk.
fn batch(model: &Model, rows: Rows<'_>, wanted: Option<usize>) -> Result<(usize, usize)> {
    let batch = match (rows.batch_axis(), wanted) {
        (_, Some(0)) => bail!(InvalidParameter, "a batch has at least one row"),
        (BatchAxis::Fixed(length), None) => length,
        (BatchAxis::Fixed(length), Some(wanted)) if wanted == length => length,
        (BatchAxis::Fixed(length), Some(_)) => bail!(
            InvalidParameter,
            "the model takes a batch of exactly {length} rows"
        ),
        (BatchAxis::One, None | Some(1)) => 1,
        (BatchAxis::One, Some(_)) => bail!(
            InvalidParameter,
            "the model takes one row at a time: its inputs have no free first axis"
        ),
        (BatchAxis::Free, Some(wanted)) => wanted,
        (BatchAxis::Free, None) => usual_batch(model),
    };
    Ok((batch, if batch == 1 { ROWS_ONE_BY_ONE } else { batch }))
}

/// A power of two that gives the model not too many numbers at once. Rows of free lengths seldom fit
/// together.
fn usual_batch(model: &Model) -> usize {
    let mut numbers = 1usize;
    for input in &model.signature().inputs {
        let (ValueKind::Tensor, Some([_, rest @ ..])) = (input.kind, input.shape.as_deref()) else {
            return 1;
        };
        let mut of_row = 1usize;
        for dim in rest {
            let Dim::Fixed(length) = dim else { return 1 };
            of_row = of_row.saturating_mul(*length);
        }
        numbers = numbers.saturating_add(of_row);
    }
    let most = (BATCH_NUMBERS / numbers).clamp(1, MAX_BATCH);
    1 << most.ilog2()
}

/// What paths in the input are relative to.
fn folder(job: &Job) -> PathBuf {
    match &job.input {
        Input::Path(path) if path.is_dir() => path.clone(),
        Input::Path(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        Input::Stdin => PathBuf::new(),
    }
}
