//! The table of operators in the documents, made of the cases and of the states that are expected of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::case::{Case, Typed};

/// A place where the cases run, which is a column.
pub struct Place {
    /// The head of the column.
    title: &'static str,
    /// What does not pass there: states by the name of the case.
    expected: BTreeMap<String, String>,
}

impl Place {
    /// A place, with the states that files expect there.
    ///
    /// # Errors
    /// When a file cannot be read, or is no table of states.
    pub fn read(title: &'static str, files: &[PathBuf]) -> io::Result<Self> {
        let mut expected = BTreeMap::new();
        for file in files {
            let states: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(file)?)?;
            expected.extend(states);
        }
        Ok(Self { title, expected })
    }

    /// Why a case does not pass; nothing where it does. `near` is as good as `pass`.
    fn failure(&self, case: &Case) -> Option<&str> {
        let state = self.expected.get(&case.name)?;
        (!state.starts_with("near:")).then_some(state)
    }
}

/// What is known of an operator.
#[derive(Default)]
struct Row<'a> {
    versions: BTreeSet<i64>,
    dtypes: BTreeSet<&'a str>,
    /// By place.
    places: Vec<Counts<'a>>,
}

/// How the cases of an operator end in a place.
#[derive(Default, Clone)]
struct Counts<'a> {
    passed: usize,
    total: usize,
    /// Names of cases by the reason why they do not pass.
    failures: BTreeMap<&'a str, Vec<&'a str>>,
}

/// What stands before the table.
const INTRODUCTION: &str = "# Operators

This file is generated from the backend tests of ONNX (`tests/onnx/cases.py`) and from our own against ONNX Runtime and the \
reference evaluator (`opsets.py`: old forms; `recurrent.py`, `half.py`, `linear.py`; `contrib.py`: com.microsoft), and from the \
states that `tests/onnx/expected*.json` expect of them natively and in the page's engine. Do not edit it; write it again with

```sh
cargo xtask conformance --write
```

(`cargo xtask test` compares it. The component has the same engine, compiled for WASI.)

For each operator that a test has in its graph, the tables say:

- **Versions**: the versions of the operator set of its domain that the tests use. Others work as well where the operator \
means the same there.
- **Types**: the types of the inputs of tests that pass everywhere, of graphs that have this operator alone (constants aside). \
It is what is shown by tests, not all that is supported.
- a column for each place in which the tests run: how many tests with this operator pass. A test that fails for another operator \
in its graph is not counted here.

What does not pass, and why, stands below each table.
";

/// The document.
pub fn document(cases: &[Case], places: &[Place]) -> String {
    let mut domains: BTreeMap<&str, BTreeMap<&str, Row<'_>>> = BTreeMap::new();
    let operators = cases.iter().flat_map(|case| &case.operators);
    let operators = operators.filter_map(|name| name.rsplit_once('.')).collect();
    for case in cases {
        let subject = subject(case, &operators);
        let own: BTreeSet<_> = (case.operators.iter())
            .filter_map(|name| name.rsplit_once('.'))
            .collect();
        let is_function = subject.is_some_and(|subject| !own.contains(&subject));
        for &(domain, operator) in own.iter().chain(subject.iter().filter(|_| is_function)) {
            let row = domains.entry(domain).or_default().entry(operator);
            let row = row.or_default();
            match subject {
                Some((of, subject)) if is_function && (of, subject) == (domain, operator) => {
                    row.add_function(case, subject, places);
                }
                subject => row.add(case, domain, operator, subject.map(|(_, s)| s), places),
            }
        }
    }
    let mut text = INTRODUCTION.to_owned();
    for (domain, rows) in &domains {
        let _ = write!(text, "\n## {domain}\n\n{}", section(rows, places));
    }
    text
}

impl<'a> Row<'a> {
    /// Counts a case that has the nodes of its function in the place of this operator, where it fails:
    /// then none of them is to blame.
    fn add_function(&mut self, case: &'a Case, operator: &str, places: &'a [Place]) {
        self.places.resize(places.len(), Counts::default());
        for (counts, place) in self.places.iter_mut().zip(places) {
            if let Some(reason) = place.failure(case)
                && is_blamed(case, operator, reason, Some(operator))
            {
                counts.failures.entry(reason).or_default().push(&case.name);
                counts.total += 1;
            }
        }
    }

    fn add(
        &mut self,
        case: &'a Case,
        domain: &str,
        operator: &str,
        subject: Option<&str>,
        places: &'a [Place],
    ) {
        self.versions.extend(case.opsets.get(domain));
        self.places.resize(places.len(), Counts::default());
        let mut passes = true;
        for (counts, place) in self.places.iter_mut().zip(places) {
            match place.failure(case) {
                None => counts.passed += 1,
                Some(reason) => {
                    passes = false;
                    if !is_blamed(case, operator, reason, subject) {
                        continue;
                    }
                    counts.failures.entry(reason).or_default().push(&case.name);
                }
            }
            counts.total += 1;
        }
        let is_other = |name: &&String| !matches!(name.rsplit_once('.'), Some((_, "Constant")));
        if passes && case.operators.iter().filter(is_other).count() == 1 && operator != "Constant" {
            let inputs = case.sets.iter().flat_map(|set| &set.inputs);
            inputs.for_each(|input| add_dtypes(&input.value, &mut self.dtypes));
        }
    }
}

/// Whether a failure is one of this operator: the reason names it, or names none of the case, and it is
/// what the case is for.
fn is_blamed(case: &Case, operator: &str, reason: &str, subject: Option<&str>) -> bool {
    let names = |operator: &str| {
        reason.contains(&format!("`{operator}`")) || reason.contains(&format!("({operator})"))
    };
    let mut operators = case.operators.iter().filter_map(|o| o.rsplit_once('.'));
    if names(operator) || operators.any(|(_, other)| names(other)) {
        return names(operator);
    }
    subject.is_none_or(|subject| subject == operator)
}

/// The operator that a case is called after, as the backend tests are: `test_reduce_sum_…` is for
/// `ReduceSum`, also where the graph has the nodes of its function in its place. None for whole models.
fn subject<'a>(case: &Case, all: &BTreeSet<(&'a str, &'a str)>) -> Option<(&'a str, &'a str)> {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    let name = plain(case.name.strip_prefix("test_")?);
    let called = all
        .iter()
        .filter(|(_, name_of)| name.starts_with(&plain(name_of)));
    called.max_by_key(|(_, operator)| operator.len()).copied()
}

fn add_dtypes<'a>(value: &'a Typed, dtypes: &mut BTreeSet<&'a str>) {
    match value {
        Typed::Tensor { dtype, .. } => {
            dtypes.insert(dtype);
        }
        Typed::Sequence { sequence } => sequence.iter().for_each(|item| add_dtypes(item, dtypes)),
        Typed::Optional { optional } => optional.iter().for_each(|item| add_dtypes(item, dtypes)),
        // Nothing takes maps.
        Typed::Maps { .. } => {}
    }
}

/// The table of a domain, and what does not pass.
fn section(rows: &BTreeMap<&str, Row<'_>>, places: &[Place]) -> String {
    let mut text = "| Operator | Versions | Types |".to_owned();
    for place in places {
        let _ = write!(text, " {} |", place.title);
    }
    text += "\n|---|---|---|";
    text += &"---|".repeat(places.len());
    text.push('\n');
    for (operator, row) in rows {
        let versions: Vec<_> = row.versions.iter().map(ToString::to_string).collect();
        let dtypes: Vec<_> = row.dtypes.iter().copied().collect();
        let _ = write!(
            text,
            "| `{operator}` | {} | {} |",
            versions.join(", "),
            if dtypes.is_empty() {
                "–".to_owned()
            } else {
                dtypes.join(", ")
            }
        );
        for counts in &row.places {
            let _ = write!(text, " {} of {} |", counts.passed, counts.total);
        }
        text.push('\n');
    }
    text + &failures(rows, places)
}

/// What does not pass in a domain: a list, empty where all passes.
fn failures(rows: &BTreeMap<&str, Row<'_>>, places: &[Place]) -> String {
    let mut text = String::new();
    for (operator, row) in rows {
        for (counts, place) in row.places.iter().zip(places) {
            for (reason, names) in &counts.failures {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                let _ = writeln!(
                    text,
                    "- `{operator}`, {}: {}: {reason}",
                    place.title.to_lowercase(),
                    names.join(", ")
                );
            }
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\nWhat does not pass:\n\n{text}"),
    }
}

/// Writes the document, or says whether it is what is there already.
///
/// # Errors
/// When the file cannot be written, or cannot be read to compare.
pub fn put(text: &str, file: &Path, check: bool) -> io::Result<bool> {
    if check {
        return Ok(std::fs::read_to_string(file)? == text);
    }
    std::fs::write(file, text)?;
    Ok(true)
}
