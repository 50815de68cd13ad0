//! The list of cases, as all places read it.

use serde::{Deserialize, Serialize};
use twinfer::Parameters;
use twinfer_package::{Expectation, GoldenInput, GoldenTensor, Tolerance};

/// The file of cases.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cases {
    /// In the order in which they run: what follows bad input shows that it did no harm.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Its name, unique in the file.
    pub id: String,
    /// The package: `name:version`.
    pub reference: String,
    /// What to do with it.
    #[serde(flatten)]
    pub call: Call,
    /// What must come out. Only the judge looks at it.
    pub expect: Expect,
}

/// What to do with the package.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Call {
    /// The whole pipeline.
    Predict {
        /// What goes in.
        input: GoldenInput,
        /// The choices of the call.
        #[serde(default)]
        parameters: Parameters,
    },
    /// The model alone.
    Run {
        /// Its inputs.
        tensors: Vec<GoldenTensor>,
    },
}

/// What must come out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// An answer.
    Answer {
        /// The expected values, where a reference gave some; outputs for a prediction,
        /// tensors for a run.
        golden: Expectation,
        /// How far numbers may be from them, and native numbers from the component's.
        tolerance: Tolerance,
    },
    /// A failure with this code.
    Error(String),
}

impl Cases {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there, or not a file of cases.
    pub fn read(path: &std::path::Path) -> std::io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &std::path::Path) -> std::io::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
    }
}
