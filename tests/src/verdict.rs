//! Judging what the places answered.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use twinfer::{Value, value_to_json};
use twinfer_package::GoldenTensor;

use crate::answer::{Answer, Results};
use crate::case::{Case, Cases, Expect};
use crate::compare::{self, brief, differences};
use crate::wire;

/// The place that the others are compared with.
const COMPONENT: &str = "component";

/// What was found: one test for each case in each place.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Passed tests by place.
    pub passed: BTreeMap<String, usize>,
    /// Failed tests, as `place: case: why`.
    pub failed: Vec<String>,
}

impl Verdict {
    /// The number of passed tests.
    pub fn passes(&self) -> usize {
        self.passed.values().sum()
    }

    fn enter(&mut self, place: &str, id: &str, why: Vec<String>) {
        if why.is_empty() {
            *self.passed.entry(place.into()).or_default() += 1;
        } else {
            self.failed
                .push(format!("{place}: {id}: {}", why.join("\n    ")));
        }
    }
}

/// Judges every case in every place.
pub fn judge(cases: &Cases, places: &[Results]) -> Verdict {
    let mut verdict = Verdict::default();
    let component = places.iter().find(|results| results.place == COMPONENT);
    for results in places {
        for case in &cases.cases {
            let reference = component
                .and_then(|component| component.of(&case.id))
                .and_then(<[Answer]>::first);
            let why = check(
                case,
                &results.place,
                results.of(&case.id).unwrap_or_default(),
                reference,
            );
            verdict.enter(&results.place, &case.id, why);
        }
        let unknown = results.results.iter().filter(|result| {
            !result.id.starts_with("wire/") && cases.cases.iter().all(|case| case.id != result.id)
        });
        for result in unknown {
            verdict.enter(
                &results.place,
                &result.id,
                vec!["there is no such case in the list".into()],
            );
        }
    }
    if let Some(component) = component {
        for check in wire::CHECKS {
            let answer = component.of(check.id).and_then(<[Answer]>::first);
            let why = answer.map_or_else(
                || vec!["it was not run".into()],
                |answer| code_is(answer, check.code.as_str()),
            );
            verdict.enter(COMPONENT, check.id, why);
        }
    }
    verdict
}

/// Everything that is wrong with the answers of a place to a case.
fn check(case: &Case, place: &str, runs: &[Answer], component: Option<&Answer>) -> Vec<String> {
    let [first, rest @ ..] = runs else {
        return vec!["it was not run".into()];
    };
    if rest.len() != 2 {
        return vec![format!("it was run {} times, expected 3", runs.len())];
    }
    let mut why = Vec::new();
    let mut note = |what: &str, found: Vec<String>| {
        why.extend(found.into_iter().map(|text| format!("{what}: {text}")))
    };
    match &case.expect {
        Expect::Error(code) => {
            note("first", code_is(first, code));
            note("again in the same instance", code_is(&rest[0], code));
            note("in another instance", code_is(&rest[1], code));
        }
        Expect::Answer { golden, tolerance } => {
            let tolerance = compare::Tolerance {
                relative: tolerance.relative,
                absolute: tolerance.absolute,
            };
            note(
                "again in the same instance",
                apart(&rest[0], first, compare::Tolerance::EXACT),
            );
            note(
                "in another instance",
                apart(&rest[1], first, compare::Tolerance::EXACT),
            );
            if let Some(outputs) = &golden.outputs {
                note(
                    "expected",
                    apart(first, &Answer::Outputs(outputs.clone()), tolerance),
                );
            }
            if !golden.tensors.is_empty() {
                note(
                    "expected",
                    expected_tensors(first, &golden.tensors, tolerance),
                );
            }
            match (place, component) {
                (COMPONENT, _) => {}
                (_, None) => note(
                    "component",
                    vec!["there is no answer of the component to compare with".into()],
                ),
                ("native", Some(component)) => {
                    note("component", apart(first, component, tolerance))
                }
                (_, Some(component)) => note(
                    "component",
                    apart(first, component, compare::Tolerance::EXACT),
                ),
            }
        }
    }
    why
}

fn code_is(answer: &Answer, code: &str) -> Vec<String> {
    match answer {
        Answer::Error(failure) if failure.code == code && !failure.message.trim().is_empty() => {
            Vec::new()
        }
        Answer::Error(failure) if failure.code == code => vec![format!("{code} without a message")],
        Answer::Error(failure) => vec![format!(
            "got {}, expected {code}: {}",
            failure.code, failure.message
        )],
        other => vec![format!(
            "got an answer, expected the error {code}: {}",
            brief(&to_json(other))
        )],
    }
}

/// Where two answers differ.
fn apart(got: &Answer, expected: &Answer, tolerance: compare::Tolerance) -> Vec<String> {
    if got == expected {
        return Vec::new();
    }
    match (got, expected) {
        (Answer::Error(failure), _) => vec![format!("error {}: {}", failure.code, failure.message)],
        (_, Answer::Error(failure)) => vec![format!(
            "there the error {}: {}",
            failure.code, failure.message
        )],
        _ => differences(&to_json(got), &to_json(expected), tolerance),
    }
}

/// Like [`apart`], for the tensors that are expected: a reference need not give all.
fn expected_tensors(
    got: &Answer,
    expected: &[GoldenTensor],
    tolerance: compare::Tolerance,
) -> Vec<String> {
    let Answer::Tensors(tensors) = got else {
        return apart(got, &Answer::Tensors(expected.to_vec()), tolerance);
    };
    let wanted = tensors
        .iter()
        .filter(|tensor| expected.iter().any(|other| other.name == tensor.name))
        .cloned();
    apart(
        &Answer::Tensors(wanted.collect()),
        &Answer::Tensors(expected.to_vec()),
        tolerance,
    )
}

/// An answer as JSON to compare: floats widened exactly, every NaN the same.
fn to_json(answer: &Answer) -> Json {
    match answer {
        Answer::Outputs(outputs) => outputs.clone().into(),
        Answer::Tensors(tensors) => tensors
            .iter()
            .map(|tensor| (tensor.name.clone(), tensor_to_json(tensor)))
            .collect(),
        Answer::Error(failure) => {
            serde_json::json!({ "error": failure.message, "code": failure.code })
        }
    }
}

fn tensor_to_json(golden: &GoldenTensor) -> Json {
    let values = golden
        .to_tensor()
        .and_then(|tensor| value_to_json(&Value::Tensor(tensor)));
    serde_json::json!({
        "dtype": golden.dtype,
        "shape": golden.shape,
        "keys": golden.keys,
        "values": values.unwrap_or_else(|error| Json::String(format!("not a tensor: {error}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{CaseResult, Failure};
    use crate::case::Call;
    use serde_json::json;
    use twinfer_package::{Expectation, Tolerance};

    fn outputs(number: f64) -> Answer {
        Answer::Outputs(json!({ "p": number }).as_object().unwrap().clone())
    }

    fn error(code: &str) -> Answer {
        Answer::Error(Failure {
            code: code.into(),
            message: "why".into(),
        })
    }

    fn place(name: &str, runs: [Answer; 3]) -> Results {
        Results {
            place: name.into(),
            results: vec![CaseResult {
                id: "c".into(),
                runs: runs.into(),
            }],
        }
    }

    fn cases(expect: Expect) -> Cases {
        let call = Call::Run {
            tensors: Vec::new(),
        };
        Cases {
            cases: vec![Case {
                id: "c".into(),
                reference: "m:1.0.0".into(),
                call,
                expect,
            }],
        }
    }

    fn expecting(number: f64) -> Cases {
        let golden = Expectation {
            outputs: Some(json!({ "p": number }).as_object().unwrap().clone()),
            tensors: Vec::new(),
        };
        cases(Expect::Answer {
            golden,
            tolerance: Tolerance {
                relative: 1e-5,
                absolute: 0.0,
            },
        })
    }

    /// The failures without those of the protocol, which nothing here ran.
    fn failures(cases: &Cases, places: &[Results]) -> Vec<String> {
        judge(cases, places)
            .failed
            .into_iter()
            .filter(|text| !text.contains("wire/"))
            .collect()
    }

    fn same(number: f64) -> [Answer; 3] {
        [outputs(number), outputs(number), outputs(number)]
    }

    #[test]
    fn equal_bits_pass_and_native_may_be_a_little_off() {
        let places = [
            place("component", same(0.5)),
            place("page", same(0.5)),
            place("native", same(0.500001)),
        ];
        assert_eq!(failures(&expecting(0.5), &places), Vec::<String>::new());
        assert_eq!(judge(&expecting(0.5), &places).passes(), 3);
    }

    #[test]
    fn one_bit_between_page_and_component_is_found() {
        let next = f64::from_bits(0.5f64.to_bits() + 1);
        let found = failures(
            &expecting(0.5),
            &[place("component", same(0.5)), place("page", same(next))],
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("page: c: component: p:"), "{found:?}");
    }

    #[test]
    fn one_bit_between_two_runs_or_instances_is_found() {
        let next = f64::from_bits(0.5f64.to_bits() + 1);
        for (at, said) in [
            (1, "again in the same instance"),
            (2, "in another instance"),
        ] {
            let mut runs = same(0.5);
            runs[at] = outputs(next);
            let found = failures(&expecting(0.5), &[place("component", runs)]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(said), "{found:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_the_expected_one_is_found_in_every_place() {
        let places = ["component", "page", "node", "native"].map(|name| place(name, same(0.6)));
        assert_eq!(failures(&expecting(0.5), &places).len(), 4);
    }

    #[test]
    fn errors_are_compared_by_code() {
        let expected = cases(Expect::Error("wrong_shape".into()));
        let three = |code: &str| [error(code), error(code), error(code)];
        assert!(failures(&expected, &[place("component", three("wrong_shape"))]).is_empty());
        assert_eq!(
            failures(&expected, &[place("component", three("internal"))]).len(),
            1
        );
        assert_eq!(
            failures(&expected, &[place("component", same(0.5))]).len(),
            1
        );
        assert_eq!(
            failures(&expecting(0.5), &[place("component", three("internal"))]).len(),
            1
        );
    }

    #[test]
    fn cases_that_were_left_out_or_made_up_fail() {
        let empty = Results {
            place: "component".into(),
            results: Vec::new(),
        };
        assert_eq!(failures(&expecting(0.5), &[empty]).len(), 1);
        let other = Results {
            place: "component".into(),
            results: vec![CaseResult {
                id: "x".into(),
                runs: same(0.5).into(),
            }],
        };
        assert_eq!(failures(&expecting(0.5), &[other]).len(), 2);
        assert!(
            judge(&Cases::default(), &[place("component", same(0.5))])
                .failed
                .len()
                > wire::CHECKS.len()
        );
    }
}
