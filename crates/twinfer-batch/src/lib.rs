//! Predictions for the rows of a file: streaming, in bounded memory, on all cores, resumable.
//!
//! ```text
//!            one thread            all cores                      one thread
//!  input --> chunks of rows --> decode, predict, encode --> put in order --> output, bad rows, checkpoint
//! ```
//!
//! A [`Job`] says what is read and written; [`run`] does it. Rows that cannot be answered go to a
//! file beside the output, each with its reason. A job that was ended at any moment is taken up where
//! the last checkpoint was, and its output is that of a job which was never interrupted.
//!
//! What is on disk while a job runs, and in which order it is made durable, is described in
//! `docs/batch.md`. No more than a few chunks for each thread are in memory, and for Parquet the row
//! group that is being written.
#![deny(missing_docs)]

mod bad;
mod checkpoint;
mod chunk;
mod columns;
mod decode;
mod encode;
mod files;
mod job;
mod place;
mod plan;
mod progress;
mod read;
mod run;
mod task;
mod workers;
mod write;
mod writer;

pub use job::{Content, CsvForm, Input, InputFormat, Job, Keep, Output, OutputFormat, Resume};
pub use progress::{Progress, Report};
pub use run::run;
