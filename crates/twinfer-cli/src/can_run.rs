//! Whether a model runs where Twinfer runs, and what a prediction takes: for people and programs.

use serde_json::{Value as Json, json};
use twinfer::{Assessment, Cost, Error, Result, Session, Weights};
use twinfer_host::Limits;

use crate::output::bytes;

/// What can be said of a model before it is put somewhere.
pub struct CanRun {
    assessment: Assessment,
    targets: Vec<Target>,
}

/// A place where models run.
struct Target {
    name: &'static str,
    /// Why the model does not run there.
    problem: Option<String>,
}

/// Memory of a 32-bit WebAssembly instance (WebAssembly 2.0, 2.3.8: 65,536 pages of 64 KiB).
const PAGE_MEMORY: u64 = 1 << 32;

/// What loading takes at most, in bytes for each byte of the model, and beside it
/// (docs/benchmarks.md, peak load memory).
const LOADING: (f64, u64) = (2.5, 4 << 20);

/// What to do about operators that nothing here has.
const REMEDY: &str =
    "export the model without these operators, or run those steps outside of the model";

impl CanRun {
    /// Loads the model and runs it once on zeros.
    ///
    /// # Errors
    /// For what is no model at all.
    pub fn of(onnx: &[u8], weights: &dyn Weights) -> Result<Self> {
        let assessment = Session::assess(onnx, weights)?;
        Ok(Self::new(assessment, onnx.len() as u64))
    }

    /// Of a model whose file has so many bytes.
    pub fn new(assessment: Assessment, file: u64) -> Self {
        let problem = assessment.problem.as_ref().map(|e| e.message().to_owned());
        let weight_bytes = assessment.cost.as_ref().map_or(0, |cost| cost.weight_bytes);
        let file = file.max(weight_bytes);
        let values = assessment.cost.as_ref().map_or(0, |cost| cost.value_bytes);
        let needed = (file as f64 * LOADING.0) as u64 + LOADING.1 + values;
        let within = |limit: u64, remedy: &str| {
            (needed > limit).then(|| {
                format!(
                    "it takes up to {} of memory, and there are {}{remedy}",
                    bytes(needed),
                    bytes(limit)
                )
            })
        };
        let limit = Limits::default().max_memory as u64;
        let of_page = ", which is all that WebAssembly has; give it smaller inputs, or quantise it";
        let of_component = "; give the host more with --memory";
        let targets = [
            ("native", None),
            ("page", within(PAGE_MEMORY, of_page)),
            ("node", within(PAGE_MEMORY, of_page)),
            ("component", within(limit, of_component)),
        ];
        let target = |(name, too_large)| Target {
            name,
            problem: problem.clone().or(too_large),
        };
        Self {
            targets: targets.into_iter().map(target).collect(),
            assessment,
        }
    }

    /// No place is left out.
    pub fn runs_everywhere(&self) -> bool {
        self.targets.iter().all(|target| target.problem.is_none())
    }

    /// # Errors
    /// Why it runs nowhere.
    pub fn check(self) -> Result<()> {
        self.assessment.problem.map_or(Ok(()), Err)
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let missing = self.assessment.missing.iter().map(|missing| {
            json!({
                "operator": missing.operator,
                "domain": missing.domain,
                "version": missing.version,
                "nodes": missing.nodes,
            })
        });
        let error =
            |error: &Error| json!({"code": error.code().as_str(), "error": error.message()});
        let targets = self.targets.iter().map(|target| {
            let verdict = json!({"runs": target.problem.is_none(), "problem": target.problem});
            (target.name.to_owned(), verdict)
        });
        json!({
            "targets": targets.collect::<serde_json::Map<_, _>>(),
            "missing_operators": missing.collect::<Vec<_>>(),
            "problem": self.assessment.problem.as_ref().map(error),
            "node_by_node": self.assessment.node_by_node,
            "cost": self.assessment.cost.as_ref().map(|cost| json!({
                "inputs": cost.inputs.iter().map(|(name, dtype, shape)| json!({
                    "name": name, "datatype": dtype, "shape": shape,
                })).collect::<Vec<_>>(),
                "multiply_adds": cost.multiply_adds,
                "weight_bytes": cost.weight_bytes,
                "value_bytes": cost.value_bytes,
            })),
            "unknown_cost": self.assessment.unknown_cost.as_ref().map(error),
        })
    }

    /// For people: a line for each fact.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts: Vec<_> = (self.targets.iter())
            .map(|target| match &target.problem {
                None => (target.name, "runs".to_owned()),
                // Said once, below.
                Some(_) if self.assessment.problem.is_some() => {
                    (target.name, "does not run".to_owned())
                }
                Some(problem) => (target.name, format!("does not run: {problem}")),
            })
            .collect();
        for missing in &self.assessment.missing {
            facts.push(("missing", missing.to_string()));
        }
        match &self.assessment.problem {
            // The operators are named above.
            Some(_) if !self.assessment.missing.is_empty() => {
                facts.push(("what to do", REMEDY.to_owned()))
            }
            Some(problem) => facts.push(("problem", problem.message().to_owned())),
            None => {}
        }
        if self.assessment.node_by_node {
            let how = "node by node, because the engine does not take the graph as a whole";
            facts.push(("runs as", how.to_owned()));
        }
        if let Some(cost) = &self.assessment.cost {
            facts.extend(cost_facts(cost));
        }
        if let Some(error) = &self.assessment.unknown_cost {
            facts.push(("prediction", format!("not measured: {}", error.message())));
        }
        facts
    }
}

fn cost_facts(cost: &Cost) -> [(&'static str, String); 2] {
    let inputs = cost
        .inputs
        .iter()
        .map(|(name, dtype, shape)| format!("{name} {dtype} {shape:?}"));
    let work = cost.multiply_adds;
    let prediction = format!(
        "{} multiply-adds, values up to {}, for {}",
        count(work),
        bytes(cost.value_bytes),
        inputs.collect::<Vec<_>>().join(", ")
    );
    [
        ("weights", bytes(cost.weight_bytes)),
        ("prediction", prediction),
    ]
}

/// A large number for people.
fn count(number: u64) -> String {
    match number as f64 {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        _ => number.to_string(),
    }
}
