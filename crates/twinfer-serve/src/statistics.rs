//! What was asked of the models of this instance, in the form of Triton's statistics extension
//! (triton-inference-server/server, `docs/protocol/extension_statistics.md`).
//!
//! An instance counts what it answered itself. A host with several instances, or several hosts, have
//! the sum in their metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::run::Executed;
use crate::timing::Timing;

/// More versions than an instance keeps loaded in a long life; what comes after them is not counted.
const MOST: usize = 1024;

/// Counts by name and version.
#[derive(Default)]
pub(crate) struct Statistics(Mutex<BTreeMap<(String, String), Counts>>);

/// What came of a request for a model that was there.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Without a clock there are no times, and all count as 0.
    pub(crate) timing: Option<Timing>,
    /// Milliseconds before the model ran, in it, and after it.
    pub(crate) parts: Option<[f64; 3]>,
    /// What the cache of predictions said, if it was asked: `hit` or `miss`.
    pub(crate) cache: Option<&'static str>,
    /// How often the model ran for it, and for how many rows.
    pub(crate) executed: Executed,
}

/// Of one version.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    success: Duration,
    fail: Duration,
    load: Duration,
    input: Duration,
    infer: Duration,
    output: Duration,
    hit: Duration,
    miss: Duration,
    inferences: u64,
    executions: u64,
}

/// How often, and how long all together.
#[derive(Debug, Default, Clone, Copy)]
struct Duration {
    count: u64,
    ms: f64,
}

impl Duration {
    fn add(&mut self, ms: f64) {
        self.count += 1;
        self.ms += ms;
    }

    fn to_json(self) -> Value {
        // Negative never; a float beyond u64 becomes its largest.
        json!({"count": self.count, "ns": (self.ms * 1e6).round() as u64})
    }
}

impl Counts {
    fn add(&mut self, outcome: &Outcome, ok: bool) {
        let timing = outcome.timing;
        let (load, predict) = timing.map_or((0.0, 0.0), |t| (t.load_ms, t.predict_ms));
        if !ok {
            self.fail.add(load + predict);
            return;
        }
        self.success.add(load + predict);
        self.load.add(load);
        let Executed {
            inferences,
            executions,
        } = outcome.executed;
        self.inferences = self.inferences.saturating_add(inferences);
        self.executions = self.executions.saturating_add(executions);
        match outcome.cache {
            Some("hit") => return self.hit.add(predict),
            Some(_) => self.miss.add(0.0),
            None => {}
        }
        // Where nobody looked when the model ran, all of it is the model's.
        let [input, infer, output] = outcome.parts.unwrap_or([0.0, predict, 0.0]);
        self.input.add(input);
        self.infer.add(infer);
        self.output.add(output);
    }
}

impl Statistics {
    /// Counts a request; `ok`: whether it was answered, rather than refused.
    pub(crate) fn count(&self, outcome: &Outcome, ok: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (outcome.name.clone(), outcome.version.clone());
        if all.len() < MOST || all.contains_key(&key) {
            all.entry(key).or_default().add(outcome, ok);
        }
    }

    /// `model_stats` of these versions, also of those that nobody asked.
    pub(crate) fn describe(&self, versions: &[(String, String)]) -> Value {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |key: &(String, String)| {
            let counts = all.get(key).copied().unwrap_or_default();
            model_stats(&key.0, &key.1, counts)
        };
        json!({"model_stats": versions.iter().map(one).collect::<Vec<_>>()})
    }
}

/// There is no queue inside an instance.
fn model_stats(name: &str, version: &str, counts: Counts) -> Value {
    json!({
        "name": name,
        "version": version,
        "inference_count": counts.inferences,
        "execution_count": counts.executions,
        "inference_stats": {
            "success": counts.success.to_json(),
            "fail": counts.fail.to_json(),
            "queue": Duration::default().to_json(),
            "compute_input": counts.input.to_json(),
            "compute_infer": counts.infer.to_json(),
            "compute_output": counts.output.to_json(),
            "cache_hit": counts.hit.to_json(),
            "cache_miss": counts.miss.to_json(),
            "load": counts.load.to_json(),
        },
        "batch_stats": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, version: &str, load_ms: f64, predict_ms: f64) -> Outcome {
        Outcome {
            name: name.into(),
            version: version.into(),
            timing: Some(Timing {
                load_ms,
                predict_ms,
            }),
            parts: None,
            cache: None,
            executed: Executed {
                inferences: 1,
                executions: 1,
            },
        }
    }

    #[test]
    fn requests_are_counted_by_version_with_their_times() {
        let statistics = Statistics::default();
        let with_parts = Outcome {
            parts: Some([0.5, 2.0, 0.5]),
            cache: Some("miss"),
            // Three rows, in a run that another request counts.
            executed: Executed {
                inferences: 3,
                executions: 0,
            },
            ..outcome("a", "1.0.0", 2.0, 3.0)
        };
        statistics.count(&with_parts, true);
        statistics.count(&outcome("a", "1.0.0", 0.0, 1.0), true);
        let known = Outcome {
            cache: Some("hit"),
            executed: Executed::default(),
            ..outcome("a", "1.0.0", 0.0, 0.25)
        };
        statistics.count(&known, true);
        statistics.count(&outcome("a", "1.0.0", 0.0, 0.0), false);
        let asked = [("a", "1.0.0"), ("b", "1.0.0")];
        let asked = asked.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let stats = statistics.describe(&asked);
        let [a, b] = [&stats["model_stats"][0], &stats["model_stats"][1]];
        assert_eq!(
            (&a["inference_count"], &a["execution_count"]),
            (&json!(4), &json!(1))
        );
        let of_a = &a["inference_stats"];
        for (kind, count, ns) in [
            ("success", 3, 6_250_000),
            ("fail", 1, 0),
            ("load", 3, 2_000_000),
            ("compute_input", 2, 500_000),
            ("compute_infer", 2, 3_000_000),
            ("compute_output", 2, 500_000),
            ("cache_hit", 1, 250_000),
            ("cache_miss", 1, 0),
        ] {
            assert_eq!(of_a[kind], json!({"count": count, "ns": ns}), "{kind}");
        }
        assert_eq!(b["inference_stats"]["success"]["count"], 0);
    }

    #[test]
    fn what_is_counted_has_a_limit() {
        let statistics = Statistics::default();
        for version in 0..2 * MOST {
            statistics.count(&outcome("a", &version.to_string(), 0.0, 0.0), true);
        }
        assert_eq!(statistics.0.lock().unwrap().len(), MOST);
    }
}
