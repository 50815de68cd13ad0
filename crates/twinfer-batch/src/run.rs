//! A job from its beginning, or from its last checkpoint, to its end.

use std::num::NonZero;
use std::path::Path;
use std::time::Instant;

use twinfer::{Model, Result, bail};
use twinfer_serve::offline::BatchAxis;

use crate::bad::BadFile;
use crate::checkpoint::{Checkpoint, identity};
use crate::chunk::Chunk;
use crate::columns::columns;
use crate::encode::Encoder;
use crate::files::remove;
use crate::job::{Input, Job, Output, Resume};
use crate::place::{self, Place};
use crate::plan::Plan;
use crate::progress::{Meter, Progress, Report};
use crate::read::{Chunks, fingerprint};
use crate::task::Task;
use crate::workers;
use crate::writer::Writer;

/// Rows of the first chunk that are answered together and alone, to see whether they influence each
/// other.
const ROWS_TRIED: usize = 16;

/// Answers the rows of a job. `observe` is told how far it is after each chunk.
///
/// # Errors
/// `checkpoint_mismatch` where the output was begun by another job; `invalid_input`,
/// `missing_input`, `wrong_dtype`, `invalid_parameter` and others where model, input and options do
/// not fit; the error of a row when it is one bad row too many; `storage`, `out_of_space`. What was
/// done until then is kept, and the same job goes on from there.
pub fn run(model: &Model, job: &Job, observe: &mut dyn FnMut(&Progress)) -> Result<Report> {
    let mut plan = Plan::of(model, job)?;
    let place = match &job.output {
        Output::Path(path) => Some(Place::open(path)?),
        Output::Stdout => None,
    };
    let found = place.as_ref().map(Place::checkpoint);
    let begun = begun(model, job, &plan, found.as_deref())?;
    if let Some(most) = job.max_bad.filter(|most| begun.bad > *most) {
        bail!(
            InvalidParameter,
            "{} rows are bad already, and at most {most} are allowed: allow more, or begin anew",
            begun.bad
        );
    }
    let resumed_at = (begun.next != plan.source.start()).then_some(begun.next.row);
    let meter = Meter::new(plan.source.length(), begun.next);
    let ignored_columns = std::mem::take(&mut plan.ignored);
    let finished = if begun.finished {
        begun
    } else {
        let chunks = plan.source.chunks(begun.next, plan.chunk)?;
        let bad_file = match job.bad_path() {
            Some(path) => Some(BadFile::open(&path, begun.bad_bytes)?),
            None => None,
        };
        let writer = Writer {
            job,
            folder: place.as_ref().map(|place| place.folder.clone()),
            // What was read of standard input is gone, so there is no going on with it.
            path: found.filter(|_| job.input != Input::Stdin),
            bad_file,
            sink: None,
            state: begun,
            last: Instant::now(),
            meter: &meter,
            observe,
        };
        answer_all(model, job, plan, chunks, writer, resumed_at.is_some())?
    };
    if let Some(bad) = job.bad_path() {
        BadFile::put(&bad, finished.bad_bytes)?;
    }
    if let (Some(place), Output::Path(path)) = (&place, &job.output) {
        place.put(path)?;
    }
    Ok(Report {
        rows: finished.next.row,
        good: finished.good,
        bad: finished.bad,
        bad_file: job.bad_path().filter(|_| finished.bad > 0),
        resumed_at,
        batch: finished.batch,
        rows_influence_each_other: finished.rows_influence_each_other,
        threads: threads(job),
        seconds: meter.elapsed().as_secs_f64(),
        ignored_columns,
    })
}

fn threads(job: &Job) -> usize {
    let all = std::thread::available_parallelism().map_or(1, NonZero::get);
    job.threads.unwrap_or(all).max(1)
}

/// Where the job is: at its last checkpoint, or at its beginning.
fn begun(model: &Model, job: &Job, plan: &Plan<'_>, path: Option<&Path>) -> Result<Checkpoint> {
    let input = match &job.input {
        Input::Path(path) => fingerprint(path, job.input_format)?,
        Input::Stdin => serde_json::Value::Null,
    };
    let identity = identity(model, job, input);
    let fresh = |identity| Checkpoint::new(identity, plan.source.start());
    let found = match (path, job.resume) {
        (Some(path), Resume::Auto | Resume::Always) => Checkpoint::read(path)?,
        (Some(path), Resume::Never) => {
            remove(path)?;
            None
        }
        (None, _) => None,
    };
    match found {
        Some(found) => {
            found.check(&identity)?;
            match found.finished && is_gone(&job.output) {
                true => Ok(fresh(identity)),
                false => Ok(found),
            }
        }
        None if job.resume == Resume::Always => match path.filter(|_| job.input != Input::Stdin) {
            Some(path) => bail!(
                CheckpointMismatch,
                "there is no job to go on with: {} is not there",
                path.display()
            ),
            None => bail!(
                CheckpointMismatch,
                "a job from standard input or to standard output cannot be gone on with"
            ),
        },
        None => Ok(fresh(identity)),
    }
}

/// Whether a finished output was removed before the job could say so.
fn is_gone(output: &Output) -> bool {
    matches!(output, Output::Path(path) if place::is_gone(path))
}

/// Answers what is left of the input, and gives what is durable then.
fn answer_all(
    model: &Model,
    job: &Job,
    plan: Plan<'_>,
    mut chunks: Box<dyn Chunks>,
    mut writer: Writer<'_>,
    begun_before: bool,
) -> Result<Checkpoint> {
    let mut task = Task {
        decoder: plan.decoder,
        encoder: Encoder {
            format: job.output_format,
            columns: writer.state.columns.clone(),
            kept: plan.kept,
            row_number: job.row_number.clone(),
            prefix: job.prefix.clone(),
        },
        parameters: job.parameters.clone(),
        batch: writer.state.batch,
    };
    if !begun_before {
        task.batch = plan.batch;
        task.encoder.columns = columns(model, None);
        begin(model, job, &mut task, &mut *chunks, &mut writer)?;
    }
    writer.open(&task.encoder)?;
    let work = |chunk: &Chunk| task.work(chunk);
    workers::each(chunks, threads(job), &work, &mut |done| writer.take(done))?;
    writer.end()
}

/// Answers rows until one has an answer, and so the columns of answers are known.
fn begin(
    model: &Model,
    job: &Job,
    task: &mut Task<'_>,
    chunks: &mut dyn Chunks,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let mut tried = false;
    while let Some(chunk) = chunks.next()? {
        if !tried && task.batch > 1 {
            tried = try_batch(job, task, &chunk, writer)?;
        }
        let (answers, kept) = task.answer(&chunk)?;
        let sample = answers.iter().flatten().next();
        let known = sample.is_some();
        if known {
            task.encoder.columns = columns(model, sample);
        }
        let done = task.finish(&chunk, answers, kept)?;
        if known {
            writer.state.batch = task.batch;
            writer.state.columns = task.encoder.columns.clone();
            writer.open(&task.encoder)?;
            return writer.take(done);
        }
        writer.note(done.counted)?;
    }
    writer.state.batch = task.batch;
    writer.state.columns = task.encoder.columns.clone();
    Ok(())
}

/// Whether rows give the same answers together; if not they run one by one from now on. Says whether
/// there were rows to try.
fn try_batch(
    job: &Job,
    task: &mut Task<'_>,
    chunk: &Chunk,
    writer: &mut Writer<'_>,
) -> Result<bool> {
    let rows = task.decoder.rows;
    if matches!(rows.batch_axis(), BatchAxis::Fixed(_)) {
        return Ok(true);
    }
    let decoded = task.decoder.decode(&chunk.rows)?.asked.into_iter();
    let asked: Vec<_> = decoded.flatten().take(ROWS_TRIED).collect();
    if asked.len() < 2 {
        return Ok(false);
    }
    if rows.agree(&asked, &task.parameters, task.batch) {
        return Ok(true);
    }
    if job.batch.is_some() {
        bail!(
            InvalidParameter,
            "the rows of this model influence each other, so they cannot run together: leave the batch out, or make it 1"
        );
    }
    task.batch = 1;
    writer.state.rows_influence_each_other = true;
    Ok(true)
}
