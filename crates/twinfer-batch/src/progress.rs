//! How far a job is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::chunk::Place;

/// How far a job is.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// Rows that are done, with those of the job before it was taken up.
    pub rows: u64,
    /// Those of them that could not be answered.
    pub bad: u64,
    /// The part of the input that is done, from 0 to 1; `None` where its length is unknown.
    pub fraction: Option<f64>,
    /// Rows for each second since this process began with them.
    pub rows_per_second: f64,
    /// What is left, at this rate.
    pub seconds_left: Option<f64>,
}

/// What a finished job did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Rows of the input.
    pub rows: u64,
    /// Rows of the output.
    pub good: u64,
    /// Rows that could not be answered.
    pub bad: u64,
    /// Where they are, when there are some and they are kept.
    pub bad_file: Option<PathBuf>,
    /// Rows that were done before this process began.
    pub resumed_at: Option<u64>,
    /// Rows that the model ran at once.
    pub batch: usize,
    /// Whether a batch was not used because the rows of the model influence each other.
    pub rows_influence_each_other: bool,
    /// Threads that predicted.
    pub threads: usize,
    /// What this process took, without loading the model and finding the place where it goes on.
    pub seconds: f64,
    /// Columns of the table that the model does not take and that are not kept.
    pub ignored_columns: Vec<String>,
}

/// How long the input is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// As they are stored, perhaps compressed.
    Bytes(u64),
    Rows(u64),
    Unknown,
}

impl Length {
    fn fraction(self, place: &Place) -> Option<f64> {
        let (done, of) = match self {
            Self::Bytes(all) => (place.stored, all),
            Self::Rows(all) => (place.row, all),
            Self::Unknown => return None,
        };
        Some(if of == 0 {
            1.0
        } else {
            (done as f64 / of as f64).min(1.0)
        })
    }
}

/// Measures a job.
pub(crate) struct Meter {
    length: Length,
    begun: Instant,
    first: Place,
}

impl Meter {
    pub(crate) fn new(length: Length, first: Place) -> Self {
        Self {
            length,
            begun: Instant::now(),
            first,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn progress(&self, place: &Place, bad: u64) -> Progress {
        let seconds = self.elapsed().as_secs_f64().max(1e-9);
        let fraction = self.length.fraction(place);
        let before = self.length.fraction(&self.first).unwrap_or(0.0);
        let seconds_left = fraction
            .filter(|now| *now > before)
            .map(|now| seconds * (1.0 - now) / (now - before));
        Progress {
            rows: place.row,
            bad,
            fraction,
            rows_per_second: (place.row - self.first.row) as f64 / seconds,
            seconds_left,
        }
    }
}
