//! Running the cases natively, and judging what they gave, here or elsewhere.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::Deserialize;
use twinfer::{ErrorCode, Result, Session, Value};

use crate::case::{Case, Named, Set};
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
    judged(Session::load(&onnx).and_then(|session| {
        let sets = case.sets.iter();
        sets.map(|set| judge(&call(&session, set)?, set, case))
            .collect::<Result<Vec<_>>>()
    }))
}

/// The state of a case whose sets differ by this.
fn judged(outcome: Result<Vec<Option<Difference>>>) -> State {
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

/// What is wrong with an output, and whether it is so little that another processor may do otherwise.
type Difference = (String, bool);

fn call(session: &Session, set: &Set) -> Result<Vec<(String, Value)>> {
    session.run_values(values(&set.inputs)?)
}

fn values(named: &[Named]) -> Result<Vec<(String, Value)>> {
    let named = named.iter();
    named
        .map(|named| Ok((named.name.clone(), named.value.value()?)))
        .collect()
}

/// What is wrong with the outputs of a call, if anything.
fn judge(outputs: &[(String, Value)], set: &Set, case: &Case) -> Result<Option<Difference>> {
    for expected in &set.outputs {
        let name = &expected.name;
        let Some((_, got)) = outputs.iter().find(|(given, _)| given == name) else {
            return Ok(Some((format!("`{name}` did not come out"), false)));
        };
        let wanted = expected.value.value()?;
        if case.is_random() {
            match compare::stranger(got, &wanted) {
                Some(stranger) => return Ok(Some((format!("`{name}`: {stranger}"), false))),
                None => continue,
            }
        }
        if let Some(difference) = difference(got, &wanted, case.rtol, case.atol) {
            let near = compare::difference(got, &wanted, case.rtol, case.atol.max(NOISE));
            return Ok(Some((format!("`{name}`: {difference}"), near.is_none())));
        }
    }
    Ok(None)
}

/// What a case gave elsewhere, as `web/test/run-onnx.mjs` writes it.
#[derive(Debug, Deserialize)]
pub struct Answer {
    name: String,
    #[serde(default)]
    sets: Vec<Outputs>,
    error: Option<Thrown>,
}

#[derive(Debug, Deserialize)]
struct Outputs {
    outputs: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Thrown {
    code: String,
    message: String,
    /// The engine has stopped, and has to be replaced.
    stopped: bool,
}

/// The states of cases that ran elsewhere. One that gave nothing is wrong.
pub fn judge_answers(cases: &[Case], answers: &[Answer]) -> States {
    let answers: BTreeMap<&str, &Answer> = answers.iter().map(|a| (&*a.name, a)).collect();
    cases
        .iter()
        .map(|case| {
            let state = match answers.get(&*case.name) {
                Some(answer) => answered(case, answer),
                None => State::Wrong("it did not run".into()),
            };
            (case.name.clone(), state)
        })
        .collect()
}

fn answered(case: &Case, answer: &Answer) -> State {
    if let Some(Thrown {
        code,
        message,
        stopped,
    }) = &answer.error
    {
        let unsupported = [ErrorCode::UnsupportedOperator, ErrorCode::UnsupportedDtype];
        return match unsupported.iter().any(|known| known.as_str() == code) {
            _ if *stopped => State::Panic(format!("{code}: {message}")),
            true => State::Unsupported(message.clone()),
            false => State::Wrong(format!("{code}: {message}")),
        };
    }
    if answer.sets.len() != case.sets.len() {
        return State::Wrong(format!("{} sets", answer.sets.len()));
    }
    let pairs = answer.sets.iter().zip(&case.sets);
    judged(
        pairs
            .map(|(given, set)| judge(&values(&given.outputs)?, set, case))
            .collect(),
    )
}
