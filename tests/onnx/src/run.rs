//! Running the cases natively.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use twinfer::{ErrorCode, Result, Session};

use crate::case::{Case, Set};
use crate::compare::{self, difference};

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As expected.
    Pass,
    /// Refused with an error that says so.
    Unsupported(String),
    /// Off by no more than the order of sums makes it, which differs from processor to processor.
    Near(String),
    /// Another answer, or an error that is none of the model's.
    Wrong(String),
    /// A panic.
    Panic(String),
}

impl State {
    /// The kind of state.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unsupported(_) => "unsupported",
            Self::Near(_) => "near",
            Self::Wrong(_) => "wrong",
            Self::Panic(_) => "panic",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Unsupported(reason)
            | Self::Near(reason)
            | Self::Wrong(reason)
            | Self::Panic(reason) => {
                let reason: String = reason.chars().take(MAX_REASON).collect();
                write!(f, "{}: {reason}", self.name())
            }
        }
    }
}

/// Characters of a reason in the table.
const MAX_REASON: usize = 200;

/// States by the name of the case.
pub type States = BTreeMap<String, State>;

/// Runs cases with the session of this program.
pub fn run_native(folder: &Path, cases: &[Case]) -> States {
    cases
        .iter()
        .map(|case| {
            let state = catch_unwind(AssertUnwindSafe(|| one(folder, case)));
            let state = state.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                State::Panic(text.unwrap_or_default())
            });
            (case.name.clone(), state)
        })
        .collect()
}

fn one(folder: &Path, case: &Case) -> State {
    let onnx = match std::fs::read(folder.join(&case.model)) {
        Ok(onnx) => onnx,
        Err(error) => return State::Wrong(format!("{}: {error}", case.model)),
    };
    let outcome = Session::load(&onnx).and_then(|session| {
        let sets = case.sets.iter();
        sets.map(|set| call(&session, set, case))
            .collect::<Result<Vec<_>>>()
    });
    match outcome {
        // The worst of all sets.
        Ok(differences) => {
            let mut found: Vec<_> = differences.into_iter().flatten().collect();
            found.sort_by_key(|(_, near)| *near);
            match found.into_iter().next() {
                Some((difference, false)) => State::Wrong(difference),
                Some((difference, true)) => State::Near(difference),
                None => State::Pass,
            }
        }
        Err(error) if is_unsupported(error.code()) => State::Unsupported(error.to_string()),
        Err(error) => State::Wrong(format!("{}: {error}", error.code())),
    }
}

fn is_unsupported(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnsupportedOperator | ErrorCode::UnsupportedDtype
    )
}

/// How far apart sums of numbers of about 1 are, in single precision and in another order.
const NOISE: f64 = 1e-6;

/// What is wrong with the outputs of a call, if anything, and whether it is so little that another
/// processor may do otherwise.
fn call(session: &Session, set: &Set, case: &Case) -> Result<Option<(String, bool)>> {
    let inputs = set.inputs.iter();
    let inputs = inputs
        .map(|input| Ok((input.name.clone(), input.value.value()?)))
        .collect::<Result<Vec<_>>>()?;
    let outputs = session.run_values(inputs)?;
    for (expected, (name, got)) in set.outputs.iter().zip(&outputs) {
        let wanted = expected.value.value()?;
        if let Some(difference) = difference(got, &wanted, case.rtol, case.atol) {
            let near = compare::difference(got, &wanted, case.rtol, case.atol.max(NOISE));
            return Ok(Some((format!("`{name}`: {difference}"), near.is_none())));
        }
    }
    let fewer = outputs.len() < set.outputs.len();
    Ok(fewer.then(|| (format!("{} outputs", outputs.len()), false)))
}
