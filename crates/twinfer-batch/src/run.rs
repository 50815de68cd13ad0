//! A job from its beginning, or from its last checkpoint, to its end.

use std::num::NonZero;
use std::path::Path;
use std::time::Instant;

use twinfer::{Model, Result, bail};
use twinfer_serve::offline::{Asked, BatchAxis};

use crate::bad::BadFile;
use crate::checkpoint::{Checkpoint, identity};
use crate::chunk::Chunk;
use crate::columns::columns;
use crate::encode::Encoder;
use crate::files::remove;
use crate::job::{Job, Output, Resume};
use crate::place::{self, Place};
use crate::plan::{Plan, settled};
use crate::progress::{Meter, Progress, Report};
use crate::read::{Chunks, Source};
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
    let job = &settled(model, job)?;
    let (mut plan, source) = Plan::of(model, job)?;
    let place = match &job.output {
        Output::Path(path) => Some(Place::open(path)?),
        Output::Stdout => None,
    };
    let found = place.as_ref().map(Place::checkpoint);
    let begun = begun(model, job, &source, found.as_deref())?;
    if let Some(most) = job.max_bad.filter(|most| begun.bad > *most) {
        bail!(
            InvalidParameter,
            "{} rows are bad already, and at most {most} are allowed: allow more, or begin anew",
            begun.bad
        );
    }
    let resumed_at = (begun.next.row > 0).then_some(begun.next.row);
    let ignored_columns = std::mem::take(&mut plan.ignored);
    let (length, is_stream) = (source.length(), source.is_stream());
    let mut chunks = source.chunks(&begun.next, plan.chunk)?;
    let meter = Meter::new(length, begun.next.clone());
    let finished = if begun.finished {
        // Of other inputs it was seen before that they have no more rows.
        if is_stream && chunks.next()?.is_some() {
            bail!(
                CheckpointMismatch,
                "the output was made of another input, which ended after row {}; make it anew",
                begun.next.row
            );
        }
        begun
    } else {
        let bad_file = match job.bad_path() {
            Some(path) => Some(BadFile::open(&path, begun.bad_bytes)?),
            None => None,
        };
        let writer = Writer {
            job,
            folder: place.as_ref().map(|place| place.folder.clone()),
            path: found,
            bad_file,
            sink: None,
            can_sync: true,
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
fn begun(model: &Model, job: &Job, source: &Source, path: Option<&Path>) -> Result<Checkpoint> {
    let identity = identity(model, job, source.identity());
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
                true => Ok(Checkpoint::new(identity)),
                false => Ok(found),
            }
        }
        None if job.resume == Resume::Always => match path {
            Some(path) => bail!(
                CheckpointMismatch,
                "there is no job to go on with: {} is not there",
                path.display()
            ),
            None => bail!(
                CheckpointMismatch,
                "a job to standard output cannot be gone on with: name a file"
            ),
        },
        None => Ok(Checkpoint::new(identity)),
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
    let mut taken = Ok(());
    let done = workers::each(chunks, threads(job), &work, &mut |done| {
        taken = writer.take(done);
        taken.clone()
    });
    // An input that ends in an error may be whole the next time.
    if done.is_err() && taken.is_ok() {
        writer.keep();
    }
    done?;
    writer.end()
}

/// Answers rows until one has an answer, so that the columns of answers are known, and until rows were
/// tried together. Before that there is no checkpoint.
fn begin(
    model: &Model,
    job: &Job,
    task: &mut Task<'_>,
    chunks: &mut dyn Chunks,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let (mut known, mut asked) = (false, Vec::new());
    while let Some(chunk) = chunks.next()? {
        let tried = task.batch == 1 || try_batch(job, task, &chunk, &mut asked, writer)?;
        let (answers, kept) = task.answer(&chunk)?;
        if !known && let Some(sample) = answers.iter().flatten().next() {
            task.encoder.columns = columns(model, Some(sample));
            known = true;
        }
        let done = task.finish(&chunk, answers, kept)?;
        if known {
            writer.open(&task.encoder)?;
            writer.write(done)?;
        } else {
            writer.note(done.counted)?;
        }
        if known && tried {
            break;
        }
    }
    writer.state.batch = task.batch;
    writer.state.columns = task.encoder.columns.clone();
    Ok(())
}

/// Whether rows give the same answers together; if not they run one by one from now on. Says whether
/// there were rows to try; `asked` are those that there were before.
fn try_batch(
    job: &Job,
    task: &mut Task<'_>,
    chunk: &Chunk,
    asked: &mut Vec<Asked>,
    writer: &mut Writer<'_>,
) -> Result<bool> {
    let rows = task.decoder.rows;
    if matches!(rows.batch_axis(), BatchAxis::Fixed(_)) {
        return Ok(true);
    }
    let decoded = task.decoder.decode(&chunk.rows)?.asked.into_iter();
    asked.extend(decoded.flatten().take(ROWS_TRIED));
    if asked.len() < 2 {
        return Ok(false);
    }
    if rows.agree(asked, &task.parameters, task.batch) {
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
