//! A job from its beginning, or from its last checkpoint, to its end.

use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use twinfer::{Model, Result, bail, err};

use crate::bad::BadFile;
use crate::checkpoint::{Checkpoint, identity};
use crate::chunk::Chunk;
use crate::columns::columns;
use crate::encode::Encoder;
use crate::files::{remove, rename, storage, sync_folder_of};
use crate::job::{Input, Job, Output, Resume, beside};
use crate::plan::Plan;
use crate::progress::{Meter, Progress, Report};
use crate::read::{Chunks, fingerprint};
use crate::task::{Done, Task};
use crate::workers;
use crate::write::{Sink, whole};

/// Rows of the first chunk that are answered together and alone, to see whether they influence each
/// other.
const ROWS_TRIED: usize = 16;
/// What the name of the folder beside the output ends with.
const FOLDER: &str = ".batch";

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
    let checkpoint_path = match (&place, &job.input) {
        (Some(place), Input::Path(_)) => Some(place.checkpoint()),
        // What was read of standard input is gone.
        _ => None,
    };
    let begun = begun(model, job, &plan, checkpoint_path.as_deref())?;
    let resumed = (begun.next != plan.source.start()).then_some(begun.next.row);
    let meter = Meter::new(plan.source.length(), begun.next);
    let threads = threads(job);
    let mut report = Report {
        rows: 0,
        good: 0,
        bad: 0,
        bad_file: None,
        resumed_at: resumed,
        batch: begun.batch,
        rows_influence_each_other: false,
        threads,
        seconds: 0.0,
        ignored_columns: std::mem::take(&mut plan.ignored),
    };
    let finished = if begun.finished {
        begun
    } else {
        let begun_before = resumed.is_some();
        let chunks = plan.source.chunks(begun.next, plan.chunk)?;
        let writer = Writer {
            job,
            folder: place.as_ref().map(|place| place.folder.clone()),
            path: checkpoint_path,
            bad_file: job
                .bad_path()
                .map(|p| BadFile::open(&p, begun.bad_bytes))
                .transpose()?,
            sink: None,
            state: begun,
            last: Instant::now(),
            meter: &meter,
            observe,
        };
        answer_all(model, job, plan, chunks, writer, (threads, begun_before))?
    };
    if let (Some(place), Output::Path(path)) = (&place, &job.output) {
        if let Some(bad) = job.bad_path() {
            BadFile::put(&bad, finished.bad_bytes)?;
        }
        place.put(path)?;
    } else if let Some(bad) = job.bad_path() {
        BadFile::put(&bad, finished.bad_bytes)?;
    }
    report.rows = finished.next.row;
    report.good = finished.good;
    report.bad = finished.bad;
    report.bad_file = job.bad_path().filter(|_| finished.bad > 0);
    report.batch = finished.batch;
    report.rows_influence_each_other = finished.rows_influence_each_other;
    report.seconds = meter.elapsed().as_secs_f64();
    Ok(report)
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
            match found.finished && is_gone(job) {
                true => Ok(fresh(identity)),
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
                "a job from standard input or to standard output cannot be gone on with"
            ),
        },
        None => Ok(fresh(identity)),
    }
}

/// Whether a finished output was removed before the job could say so.
fn is_gone(job: &Job) -> bool {
    match &job.output {
        Output::Path(path) => !path.exists() && !whole(&beside(path, FOLDER)).exists(),
        Output::Stdout => false,
    }
}

/// Answers what is left of the input, and gives what is durable then.
fn answer_all(
    model: &Model,
    job: &Job,
    plan: Plan<'_>,
    mut chunks: Box<dyn Chunks>,
    mut writer: Writer<'_>,
    (threads, begun_before): (usize, bool),
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
    workers::each(chunks, threads, &work, &mut |done| writer.take(done))?;
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
        writer.note(done)?;
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
    if matches!(
        rows.batch_axis(),
        twinfer_serve::offline::BatchAxis::Fixed(_)
    ) {
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

/// Writes what is done, in order, and makes it durable.
struct Writer<'a> {
    job: &'a Job,
    folder: Option<PathBuf>,
    /// Where checkpoints go.
    path: Option<PathBuf>,
    sink: Option<Sink>,
    bad_file: Option<BadFile>,
    /// What is written; what is durable of it is in the last checkpoint.
    state: Checkpoint,
    last: Instant,
    meter: &'a Meter,
    observe: &'a mut dyn FnMut(&Progress),
}

impl Writer<'_> {
    /// Opens the output, if that was not done.
    fn open(&mut self, encoder: &Encoder) -> Result<()> {
        if self.sink.is_none() {
            self.sink = Some(match &self.folder {
                Some(folder) => Sink::open(
                    folder,
                    encoder,
                    self.job.row_group.max(1),
                    self.state.output,
                )?,
                None => Sink::stream(encoder)?,
            });
        }
        Ok(())
    }

    /// Counts rows, and writes the bad ones.
    fn note(&mut self, mut done: Done) -> Result<()> {
        let bad_before = self.state.bad;
        self.state.good += done.good;
        self.state.bad += done.bad.len() as u64;
        self.state.next = done.next;
        if let Some(file) = &mut self.bad_file {
            file.write(&done.bad_lines)?;
        }
        let progress = self.meter.progress(&self.state.next, self.state.bad);
        (self.observe)(&progress);
        if let Some(most) = self.job.max_bad
            && self.state.bad > most
            && let Some(at) = usize::try_from(most.saturating_sub(bad_before)).ok()
            && at < done.bad.len()
        {
            let (row, error) = done.bad.swap_remove(at);
            return Err(error.context(format!(
                "row {row} is bad, and at most {most} bad rows are allowed"
            )));
        }
        Ok(())
    }

    fn take(&mut self, done: Done) -> Result<()> {
        let Some(sink) = &mut self.sink else {
            bail!(Internal, "answers before the output is open");
        };
        // A copy of nothing: the output is moved out, the rest is counted.
        let Done {
            next,
            good,
            bad,
            bad_lines,
            output,
        } = done;
        let can_sync = sink.write(output)?;
        self.note(Done {
            next,
            good,
            bad,
            bad_lines,
            output: crate::encode::Encoded::Text(Vec::new()),
        })?;
        if can_sync && self.path.is_some() && self.last.elapsed() >= self.job.checkpoint_every {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes durable what is written: first the output, then the bad rows, then the file that says
    /// how much of both counts.
    fn checkpoint(&mut self) -> Result<()> {
        if let Some(sink) = &mut self.sink {
            self.state.output = sink.sync()?;
        }
        if let Some(file) = &mut self.bad_file {
            self.state.bad_bytes = file.sync()?;
        }
        if let Some(path) = &self.path {
            self.state.write(path)?;
        }
        self.last = Instant::now();
        Ok(())
    }

    /// Everything is written: makes it durable as a whole.
    fn end(mut self) -> Result<Checkpoint> {
        let Some(mut sink) = self.sink.take() else {
            bail!(Internal, "the output was not opened");
        };
        sink.end()?;
        self.sink = Some(sink);
        self.checkpoint()?;
        if let (Some(folder), Some(sink)) = (&self.folder, self.sink.take()) {
            sink.join(folder)?;
            sync_folder_of(&whole(folder))?;
        }
        self.state.finished = true;
        if let Some(path) = &self.path {
            self.state.write(path)?;
        }
        Ok(self.state)
    }
}

/// The folder beside the output in which it grows. One process at a time has it.
struct Place {
    folder: PathBuf,
    _lock: File,
}

impl Place {
    /// # Errors
    /// `storage`, also when another process works on the same output.
    fn open(output: &Path) -> Result<Self> {
        if output.is_dir() {
            bail!(
                InvalidInput,
                "the output {} is a folder: name a file in it",
                output.display()
            );
        }
        let folder = beside(output, FOLDER);
        fs::create_dir_all(&folder).map_err(|e| storage("make", &folder, &e))?;
        let path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let lock = lock.map_err(|e| storage("write", &path, &e))?;
        if let Err(error) = lock.try_lock() {
            return Err(match error {
                fs::TryLockError::WouldBlock => err!(
                    Storage,
                    "another process works on {}: wait for it, or end it",
                    output.display()
                ),
                fs::TryLockError::Error(e) => storage("lock", &path, &e),
            });
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.json")
    }

    /// Puts the whole output in its place, and removes the folder.
    fn put(&self, output: &Path) -> Result<()> {
        let whole = whole(&self.folder);
        if whole.exists() {
            rename(&whole, output)?;
        }
        let entries = fs::read_dir(&self.folder).map_err(|e| storage("read", &self.folder, &e))?;
        for entry in entries {
            let path = entry.map_err(|e| storage("read", &self.folder, &e))?.path();
            // The checkpoint goes last: until then the job is known to be finished.
            if path != self.checkpoint() {
                remove(&path)?;
            }
        }
        remove(&self.checkpoint())?;
        fs::remove_dir(&self.folder).map_err(|e| storage("remove", &self.folder, &e))
    }
}
