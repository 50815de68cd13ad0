//! What came out, compared with what should.

use std::collections::BTreeSet;

use super::list::{
    Asked, CacheCase, CacheCases, CacheResults, Expect, Load, Resumed, Step, StepResult,
};
use super::registry::key;
use crate::answer::Answer;

/// The result of the whole suite.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Cases as they should be, by place.
    pub passed: Vec<(String, usize)>,
    /// Cases that were left out because a place cannot do something, by place.
    pub left_out: Vec<(String, usize)>,
    /// One text for each case and place that failed.
    pub failed: Vec<String>,
}

impl Verdict {
    /// All passes.
    pub fn passes(&self) -> usize {
        self.passed.iter().map(|(_, count)| count).sum()
    }
}

/// Judges the results of these places.
pub fn judge(list: &CacheCases, places: &[CacheResults]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut ran = BTreeSet::new();
    for results in places {
        let place = &results.place;
        let (mut passed, mut left_out) = (0, 0);
        for case in &list.cases {
            if !case.runs_without(&results.lacks) {
                left_out += 1;
                continue;
            }
            ran.insert(&case.id);
            let found = results.results.iter().find(|result| result.id == case.id);
            let wrong = match found {
                None => Some("it was not run".into()),
                Some(result) => check_case(list, case, &result.steps),
            };
            match wrong {
                None => passed += 1,
                Some(text) => verdict.failed.push(format!("{place} {}: {text}", case.id)),
            }
        }
        verdict.passed.push((place.clone(), passed));
        verdict.left_out.push((place.clone(), left_out));
    }
    for case in list.cases.iter().filter(|case| !ran.contains(&case.id)) {
        verdict
            .failed
            .push(format!("{}: no place has run it", case.id));
    }
    verdict
}

/// What is wrong with the first step that is wrong.
fn check_case(list: &CacheCases, case: &CacheCase, steps: &[StepResult]) -> Option<String> {
    if steps.len() != case.steps.len() {
        let (wanted, got) = (case.steps.len(), steps.len());
        return Some(format!("it has {wanted} steps, and {got} were done"));
    }
    let numbered = case.steps.iter().zip(steps).enumerate();
    for (at, (step, result)) in numbered {
        if let Some(wrong) = check_step(list, case, step, result) {
            let (number, asked) = (at + 1, seen(&result.asked));
            return Some(format!("step {number}: {wrong}; the server saw [{asked}]"));
        }
    }
    None
}

fn check_step(
    list: &CacheCases,
    case: &CacheCase,
    step: &Step,
    result: &StepResult,
) -> Option<String> {
    if let Some(failed) = &result.failed {
        return Some(format!("it could not be done: {failed}"));
    }
    let (expect, number) = match step {
        Step::Load(Load {
            expect, together, ..
        }) => (expect, *together),
        Step::Update(expect) => (expect, 1),
        Step::Damage(_) | Step::Server(_) | Step::Settle | Step::Clock(_) => return None,
    };
    if result.answers.len() != number {
        let got = result.answers.len();
        return Some(format!("expected {number} answers, got {got}"));
    }
    let wrong = result
        .answers
        .iter()
        .find_map(|answer| check_answer(list, case, expect, answer));
    wrong
        .or_else(|| check_refusal(expect, result))
        .or_else(|| check_requests(expect, &result.asked))
        .or_else(|| check_events(expect, result.events.as_deref()))
}

fn check_answer(
    list: &CacheCases,
    case: &CacheCase,
    expect: &Expect,
    answer: &Answer,
) -> Option<String> {
    let right = expect.outcomes.iter().any(|outcome| match answer {
        Answer::Error(failure) => failure.code == *outcome,
        Answer::Tensors(tensors) => outcome
            .parse()
            .ok()
            .and_then(|version| list.answers.get(&key(case.model(), version)))
            // Whole numbers, so every place has the same bits.
            .is_some_and(|expected| expected == tensors),
        Answer::Outputs(_) => false,
    });
    if right {
        return None;
    }
    let wanted = expect.outcomes.join(" or ");
    Some(format!(
        "expected {wanted}, got {}",
        said(list, case, answer)
    ))
}

fn said(list: &CacheCases, case: &CacheCase, answer: &Answer) -> String {
    match answer {
        Answer::Error(failure) => format!("{} ({})", failure.code, failure.message),
        Answer::Tensors(tensors) => {
            let mut known = list.answers.iter();
            let of = known.find(|(name, expected)| {
                name.starts_with(&format!("{} ", case.model())) && *expected == tensors
            });
            match of {
                Some((name, _)) => format!("the answer of {name}"),
                None => "an answer that no version gives".into(),
            }
        }
        Answer::Outputs(_) => "an answer of another form".into(),
    }
}

fn check_refusal(expect: &Expect, result: &StepResult) -> Option<String> {
    (result.refused != expect.refused).then(|| {
        format!(
            "the update should be refused with {:?}, and was with {:?}",
            expect.refused, result.refused
        )
    })
}

fn check_requests(expect: &Expect, asked: &[Asked]) -> Option<String> {
    let of = |kind: &str| asked.iter().filter(|asked| asked.kind == kind).count();
    for (what, wanted, got) in [
        ("the index", expect.index, of("index")),
        ("the layer", expect.layer, of("layer")),
        ("anything", expect.any, asked.len()),
    ] {
        if let Some([from, to]) = wanted
            && !(from..=to).contains(&got)
        {
            return Some(format!(
                "expected {from} to {to} requests for {what}, got {got}"
            ));
        }
    }
    let layers: Vec<&Asked> = asked.iter().filter(|asked| asked.kind == "layer").collect();
    if let Some(fault) = expect.from
        && layers.iter().all(|asked| asked.fault != fault)
    {
        return Some(format!(
            "the registry `{fault}` was not asked for the layer"
        ));
    }
    let unchanged = |asked: &&Asked| asked.kind == "index" && asked.status == 304;
    if expect.unchanged && asked.iter().find(unchanged).is_none() {
        return Some("the index was not asked for with its validator".into());
    }
    check_ranges(expect.resumed?, &layers)
}

fn check_ranges(resumed: Resumed, layers: &[&Asked]) -> Option<String> {
    let mut last = 1;
    for asked in layers.iter().skip(usize::from(!resumed.first)) {
        let range = asked.range.as_deref().unwrap_or("no range");
        let from = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'));
        let from: Option<u64> = from.and_then(|from| from.parse().ok());
        match from {
            Some(from) if (last..=resumed.until).contains(&from) => last = from,
            _ => {
                let until = resumed.until;
                return Some(format!(
                    "expected a request for the bytes from {last} or later on, until {until}, got {range}"
                ));
            }
        }
    }
    None
}

fn check_events(expect: &Expect, events: Option<&[String]>) -> Option<String> {
    let events = events?;
    let missing = expect.events.iter().find(|event| !events.contains(event));
    missing.map(|event| format!("the event `{event}` was not seen, only {events:?}"))
}

fn seen(asked: &[Asked]) -> String {
    let one = |asked: &Asked| {
        let range = asked.range.as_deref().unwrap_or_default();
        format!("{} {} {}{range}", asked.fault, asked.kind, asked.status)
    };
    asked.iter().map(one).collect::<Vec<_>>().join(", ")
}
