//! Where a job is, on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use twinfer::{Model, Result, bail, err};

use crate::chunk::Place;
use crate::columns::Column;
use crate::files::{replace, storage};
use crate::job::{InputFormat, Job, Keep, OutputFormat};
use crate::write::Written;

const FORMAT: u32 = 2;

/// Everything that a job needs to be taken up. What it counts is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    format_version: u32,
    /// What makes it this job.
    pub(crate) identity: Identity,
    /// Rows that the model runs at once, as it was decided.
    pub(crate) batch: usize,
    pub(crate) rows_influence_each_other: bool,
    /// The columns of answers, where they are known.
    pub(crate) columns: Vec<Column>,
    /// The place behind the last row that is done.
    pub(crate) next: Place,
    pub(crate) good: u64,
    pub(crate) bad: u64,
    /// The bytes of the file of bad rows.
    pub(crate) bad_bytes: u64,
    pub(crate) output: Written,
    /// The output is whole, and only has to be put in its place.
    pub(crate) finished: bool,
}

/// What the output depends on, by name.
pub(crate) type Identity = BTreeMap<String, Json>;

/// The identity of a job on this input.
pub(crate) fn identity(model: &Model, job: &Job, input: &Json) -> Identity {
    let keep = match &job.keep {
        Keep::Named(names) => json!(names),
        Keep::All => json!("all"),
    };
    let form = match job.input_format {
        InputFormat::Csv(form) => json!([form.delimiter, form.header]),
        _ => Json::Null,
    };
    let row_group = match job.output_format {
        OutputFormat::Parquet => json!(job.row_group),
        _ => Json::Null,
    };
    let parts = [
        ("program", json!(env!("CARGO_PKG_VERSION"))),
        ("model", json!(model.digest())),
        ("input", input.clone()),
        ("input format", json!(job.input_format.name())),
        ("form of the table", form),
        ("output format", json!(job.output_format.name())),
        ("parameters", json!(job.parameters)),
        ("kept columns", keep),
        ("row number", json!(job.row_number)),
        ("prefix", json!(job.prefix)),
        ("column", json!(job.column)),
        ("content", json!(format!("{:?}", job.content))),
        ("batch", json!(job.batch)),
        ("row group", row_group),
        ("file of bad rows", json!(job.bad_path())),
    ];
    let owned = parts.map(|(name, value)| (name.to_owned(), value));
    owned.into_iter().collect()
}

impl Checkpoint {
    /// A job of which nothing is done.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            format_version: FORMAT,
            identity,
            batch: 1,
            rows_influence_each_other: false,
            columns: Vec::new(),
            next: Place::default(),
            good: 0,
            bad: 0,
            bad_bytes: 0,
            output: Written::default(),
            finished: false,
        }
    }

    /// Reads it; `None` where there is none.
    ///
    /// # Errors
    /// `checkpoint_mismatch` for one that this version does not read; `storage`.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let json = match fs::read(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| storage("read", path, &e))?,
        };
        match serde_json::from_slice::<Self>(&json) {
            Ok(read) if read.format_version == FORMAT => Ok(Some(read)),
            _ => bail!(
                CheckpointMismatch,
                "{} is not a checkpoint that this version reads: begin anew",
                path.display()
            ),
        }
    }

    /// Writes it, so that after a crash this one or the last one is there.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| err!(Internal, "the checkpoint has no JSON form: {e}"))?;
        replace(path, &json)
    }

    /// # Errors
    /// `checkpoint_mismatch`, with what is different.
    pub(crate) fn check(&self, identity: &Identity) -> Result<()> {
        let names = identity.keys().chain(self.identity.keys());
        let mut different: Vec<&String> = names
            .filter(|name| identity.get(*name) != self.identity.get(*name))
            .collect();
        different.sort();
        different.dedup();
        if different.is_empty() {
            return Ok(());
        }
        let different = different.into_iter().map(|name| {
            let shown = |identity: &Identity| match identity.get(name) {
                Some(value) => value.to_string(),
                None => "nothing".into(),
            };
            format!(
                "{name} was {}, is {}",
                shown(&self.identity),
                shown(identity)
            )
        });
        bail!(
            CheckpointMismatch,
            "the output was begun by another job: {}; go on with that one, or begin anew",
            different.collect::<Vec<_>>().join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn it_is_read_as_it_was_written_and_knows_its_job() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        assert_eq!(Checkpoint::read(&path).unwrap(), None);
        let identity = |batch: u64| Identity::from([("batch".to_owned(), json!(batch))]);
        let checkpoint = Checkpoint::new(identity(1));
        checkpoint.write(&path).unwrap();
        let read = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(read, checkpoint);
        read.check(&identity(1)).unwrap();
        let error = read.check(&identity(2)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CheckpointMismatch);
        assert!(error.message().contains("batch was 1, is 2"), "{error}");
        for bad in ["", "{", "{\"format_version\": 1}"] {
            fs::write(&path, bad).unwrap();
            let error = Checkpoint::read(&path).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CheckpointMismatch, "{bad}");
        }
    }
}
