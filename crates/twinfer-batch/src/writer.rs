//! Writes what is done, and says on disk how much of it counts.

use std::path::PathBuf;
use std::time::Instant;

use twinfer::{Result, bail};

use crate::bad::BadFile;
use crate::checkpoint::Checkpoint;
use crate::encode::Encoder;
use crate::files::sync_folder_of;
use crate::job::Job;
use crate::progress::{Meter, Progress};
use crate::task::{Counted, Done};
use crate::write::{Sink, whole};

/// Writes what is done, in order, and makes it durable.
pub(crate) struct Writer<'a> {
    pub(crate) job: &'a Job,
    pub(crate) folder: Option<PathBuf>,
    /// Where checkpoints go.
    pub(crate) path: Option<PathBuf>,
    pub(crate) sink: Option<Sink>,
    /// Whether everything that is written could be made durable now.
    pub(crate) can_sync: bool,
    pub(crate) bad_file: Option<BadFile>,
    /// What is written; what is durable of it is in the last checkpoint.
    pub(crate) state: Checkpoint,
    pub(crate) last: Instant,
    pub(crate) meter: &'a Meter,
    pub(crate) observe: &'a mut dyn FnMut(&Progress),
}

impl Writer<'_> {
    /// Opens the output, if that was not done.
    pub(crate) fn open(&mut self, encoder: &Encoder) -> Result<()> {
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
    pub(crate) fn note(&mut self, mut rows: Counted) -> Result<()> {
        let bad_before = self.state.bad;
        self.state.good += rows.good;
        self.state.bad += rows.bad.len() as u64;
        self.state.next = rows.next;
        if let Some(file) = &mut self.bad_file {
            file.write(&rows.bad_lines)?;
        }
        let progress = self.meter.progress(&self.state.next, self.state.bad);
        (self.observe)(&progress);
        if let Some(most) = self.job.max_bad
            && self.state.bad > most
            && let Some(at) = usize::try_from(most.saturating_sub(bad_before)).ok()
            && at < rows.bad.len()
        {
            let (row, error) = rows.bad.swap_remove(at);
            let place = match &self.bad_file {
                Some(file) => format!("; those before it are in {}", file.partial().display()),
                None => String::new(),
            };
            return Err(error.context(format!(
                "row {row} is bad, and at most {most} bad rows are allowed{place}"
            )));
        }
        Ok(())
    }

    /// Writes the answers of a chunk.
    pub(crate) fn write(&mut self, done: Done) -> Result<()> {
        let Some(sink) = &mut self.sink else {
            bail!(Internal, "answers before the output is open");
        };
        self.can_sync = sink.write(done.output)?;
        self.note(done.counted)
    }

    /// Writes the answers of a chunk, and from time to time makes them durable.
    pub(crate) fn take(&mut self, done: Done) -> Result<()> {
        self.write(done)?;
        let soon = self.last.elapsed() < self.job.checkpoint_every;
        match self.can_sync && self.path.is_some() && !soon {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// Makes durable what there is of a job that failed, if that can be done.
    pub(crate) fn keep(&mut self) {
        if self.can_sync && self.path.is_some() {
            // The failure itself is told.
            let _ = self.checkpoint();
        }
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
    pub(crate) fn end(mut self) -> Result<Checkpoint> {
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
