//! Asking Python: what only its libraries can do.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value as Json;
use twinfer::{Result, bail, err};
use twinfer_package::GoldenTensor;

use super::args::ImportArgs;
use super::files::read_limited;
use super::golden::write;

const SCRIPT: &str = include_str!("mlflow_import.py");

/// Long enough for a forest of thousands of trees.
const TIME_LIMIT: Duration = Duration::from_secs(600);

const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// A Python interpreter.
pub struct Python(String);

/// What the script answers.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The libraries that computed, with their versions.
    pub reference: String,
    /// The outputs of every case.
    pub cases: Vec<Vec<GoldenTensor>>,
    /// Whether the model itself knows what to do with missing values.
    #[serde(default)]
    pub allow_nan: bool,
}

impl Python {
    /// For what cannot be done without.
    ///
    /// # Errors
    /// `conversion_failed` when the caller forbids Python.
    pub fn need(args: &ImportArgs) -> Result<Self> {
        match args.python.as_deref() {
            Some("none") => bail!(
                ConversionFailed,
                "a scikit-learn model is converted in Python: name one with scikit-learn and skl2onnx with --python"
            ),
            Some(program) => Ok(Self(program.into())),
            None => Ok(Self("python3".into())),
        }
    }

    /// Reference values where they can be had: `None` when no Python was named and the one
    /// that is there lacks a library.
    ///
    /// # Errors
    /// `conversion_failed` when the Python that was named cannot do it.
    pub fn reference(args: &ImportArgs, work: &Path, request: &Json) -> Result<Option<Answer>> {
        match args.python.as_deref() {
            Some("none") => Ok(None),
            Some(program) => Self(program.into()).ask(work, request).map(Some),
            None => Ok(Self("python3".into()).ask(work, request).ok()),
        }
    }

    /// Runs the script on a request. What it writes goes into the folder `work`.
    ///
    /// # Errors
    /// `conversion_failed` with the last line that Python wrote; `storage`.
    pub fn ask(&self, work: &Path, request: &Json) -> Result<Answer> {
        let script = work.join("mlflow_import.py");
        write(&script, SCRIPT.as_bytes())?;
        write(&work.join("request.json"), request.to_string().as_bytes())?;
        let said = work.join("said.txt");
        let out = File::create(&said)
            .map_err(|e| err!(Storage, "cannot write {}: {e}", said.display()))?;
        let mut command = Command::new(&self.0);
        command
            .arg(&script)
            .current_dir(work)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out);
        let status = self.wait(&mut command)?;
        if !status.success() {
            let text = read_limited(&said, "said.txt", MAX_ANSWER_BYTES).unwrap_or_default();
            bail!(
                ConversionFailed,
                "{} says: {} (the libraries that are needed: docs/mlflow.md)",
                self.0,
                last_line(&String::from_utf8_lossy(&text))
            );
        }
        let bytes = read_limited(&work.join("answer.json"), "answer.json", MAX_ANSWER_BYTES)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| err!(ConversionFailed, "{} gave no proper answer: {e}", self.0))
    }

    fn wait(&self, command: &mut Command) -> Result<std::process::ExitStatus> {
        let failed = |e: std::io::Error| {
            err!(
                ConversionFailed,
                "cannot run {}: {e}; name a Python with --python",
                self.0
            )
        };
        let mut child = command.spawn().map_err(failed)?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if began.elapsed() > TIME_LIMIT {
                // It may have ended just now: nothing is lost when this fails.
                let _ = child.kill();
                let _ = child.wait();
                bail!(
                    ConversionFailed,
                    "{} took more than {} s",
                    self.0,
                    TIME_LIMIT.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The last line of a traceback says what was wrong.
fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("nothing, and ended with an error");
    line.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(500)
        .collect()
}
