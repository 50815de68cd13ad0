//! Running golden examples.

use serde::Serialize;
use twinfer::{Error, ErrorCode, Model, Result};

use super::compare::{self, Differences};
use super::{Difference, Golden, GoldenCase};

/// What the golden examples of a package said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct SelfTestReport {
    /// The digest of the package.
    pub digest: String,
    /// How many examples came out right.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// Every example.
    pub cases: Vec<CaseReport>,
}

/// What one golden example said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// How many values were not.
    pub differences: usize,
    /// The first 100 of them.
    pub first: Vec<Difference>,
}

impl SelfTestReport {
    /// Nothing if all is well.
    ///
    /// # Errors
    /// `self_test_failed` with the cases and the first differences of each.
    pub fn check(&self) -> Result<()> {
        const CASES: usize = 5;
        const LINES: usize = 5;
        if self.failed == 0 {
            return Ok(());
        }
        let mut text = format!(
            "{} of {} golden examples failed",
            self.failed,
            self.cases.len()
        );
        for case in self.cases.iter().filter(|c| !c.passed).take(CASES) {
            text += &format!("\n  {}: {} differences", case.name, case.differences);
            for difference in case.first.iter().take(LINES) {
                text += &format!("\n    {difference}");
            }
        }
        Err(Error::new(ErrorCode::SelfTestFailed, text))
    }
}

impl Golden {
    /// Runs every example on a model.
    pub fn run(&self, model: &Model) -> SelfTestReport {
        let cases: Vec<CaseReport> = self.cases.iter().map(|case| case.run(model)).collect();
        let passed = cases.iter().filter(|c| c.passed).count();
        SelfTestReport {
            digest: model.digest().into(),
            passed,
            failed: cases.len() - passed,
            cases,
        }
    }
}

impl GoldenCase {
    /// Runs this example on a model. An error of the model is a difference, not an error.
    pub fn run(&self, model: &Model) -> CaseReport {
        let mut differences = Differences::default();
        if let Some(expected) = &self.expect.outputs {
            let answer = self
                .input
                .to_input()
                .and_then(|input| model.predict(input, &self.parameters));
            match answer {
                Ok(prediction) => compare::outputs(
                    expected,
                    &prediction.outputs,
                    self.tolerance,
                    &mut differences,
                ),
                Err(error) => differences.failed("outputs", &error),
            }
        }
        if !self.expect.tensors.is_empty()
            && let Err(error) = self.run_tensors(model, &mut differences)
        {
            differences.failed("tensors", &error);
        }
        CaseReport {
            name: self.name.clone(),
            passed: differences.count == 0,
            differences: differences.count,
            first: differences.listed,
        }
    }

    fn run_tensors(&self, model: &Model, out: &mut Differences) -> Result<()> {
        let inputs = model.preprocess(self.input.to_input()?)?;
        compare::tensors(
            &self.expect.tensors,
            &model.run_values(inputs)?,
            self.tolerance,
            out,
        )
    }
}
