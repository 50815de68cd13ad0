//! What a place answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use twinfer::Value;
use twinfer_package::GoldenTensor;

/// The file of results of one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// Which place: `native`, `component`, `node`, `page`.
    pub place: String,
    /// One for each case.
    pub results: Vec<CaseResult>,
}

/// The answers to one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaseResult {
    /// The case.
    pub id: String,
    /// First, again in the same instance, and in another instance.
    pub runs: Vec<Answer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of a prediction.
    Outputs(Map<String, Json>),
    /// Of a run.
    Tensors(Vec<GoldenTensor>),
    /// A failure.
    Error(Failure),
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// The text for people.
    pub message: String,
}

impl Answer {
    /// A prediction or its error.
    pub fn of_prediction(result: twinfer::Result<twinfer::Prediction>) -> Self {
        result.map_or_else(Self::of_error, |prediction| {
            Self::Outputs(prediction.outputs)
        })
    }

    /// The values of a run or their error.
    pub fn of_run(result: twinfer::Result<Vec<(String, Value)>>) -> Self {
        let tensors = result.and_then(|values| {
            let golden = |(name, value): &(String, Value)| GoldenTensor::from_value(name, value);
            values.iter().map(golden).collect::<twinfer::Result<_>>()
        });
        tensors.map_or_else(Self::of_error, Self::Tensors)
    }

    /// An error.
    pub fn of_error(error: twinfer::Error) -> Self {
        Self::Error(Failure {
            code: error.code().as_str().into(),
            message: error.message().into(),
        })
    }
}

impl Results {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there, or not a file of results.
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

    /// The answers to a case.
    pub fn of(&self, id: &str) -> Option<&[Answer]> {
        self.results
            .iter()
            .find(|result| result.id == id)
            .map(|result| result.runs.as_slice())
    }
}
