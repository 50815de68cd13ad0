//! What was asked of the models of this instance, in the form of Triton's statistics extension
//! (triton-inference-server/server, `docs/protocol/extension_statistics.md`).
//!
//! An instance counts what it answered itself. A host with several instances, or several hosts, have
//! the sum in their metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::timing::Timing;

/// More versions than an instance keeps loaded in a long life; what comes after them is not counted.
const MOST: usize = 1024;

/// Counts by name and version.
#[derive(Default)]
pub(crate) struct Statistics(Mutex<BTreeMap<(String, String), Counts>>);

/// Of one version.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    success: Duration,
    fail: Duration,
    load: Duration,
    predict: Duration,
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
        json!({"count": self.count, "ns": (self.ms * 1e6) as u64})
    }
}

impl Statistics {
    /// Counts a request for a model that was there. Without a clock its times are 0.
    pub(crate) fn count(&self, name: &str, version: &str, ok: bool, timing: Option<Timing>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), version.to_owned());
        if all.len() >= MOST && !all.contains_key(&key) {
            return;
        }
        let counts = all.entry(key).or_default();
        let (load, predict) = timing.map_or((0.0, 0.0), |t| (t.load_ms, t.predict_ms));
        if ok {
            counts.success.add(load + predict);
            counts.load.add(load);
            counts.predict.add(predict);
        } else {
            counts.fail.add(load + predict);
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

/// There is no queue and no response cache in an instance, and reading a request and writing an answer
/// are in the time of the computation.
fn model_stats(name: &str, version: &str, counts: Counts) -> Value {
    let none = Duration::default().to_json();
    json!({
        "name": name,
        "version": version,
        "inference_count": counts.success.count,
        "execution_count": counts.success.count,
        "inference_stats": {
            "success": counts.success.to_json(),
            "fail": counts.fail.to_json(),
            "queue": none,
            "compute_input": none,
            "compute_infer": counts.predict.to_json(),
            "compute_output": none,
            "cache_hit": none,
            "cache_miss": none,
            "load": counts.load.to_json(),
        },
        "batch_stats": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_version_with_their_times() {
        let statistics = Statistics::default();
        let took = |load_ms, predict_ms| {
            Some(Timing {
                load_ms,
                predict_ms,
            })
        };
        statistics.count("a", "1.0.0", true, took(2.0, 3.0));
        statistics.count("a", "1.0.0", true, took(0.0, 1.0));
        statistics.count("a", "1.0.0", false, None);
        let asked = [("a", "1.0.0"), ("b", "1.0.0")];
        let asked = asked.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let stats = statistics.describe(&asked);
        let [a, b] = [&stats["model_stats"][0], &stats["model_stats"][1]];
        assert_eq!(a["inference_count"], 2);
        let of_a = &a["inference_stats"];
        assert_eq!(of_a["success"], json!({"count": 2, "ns": 6_000_000}));
        assert_eq!(of_a["fail"]["count"], 1);
        assert_eq!(of_a["compute_infer"]["ns"], 4_000_000);
        assert_eq!(of_a["load"]["ns"], 2_000_000);
        assert_eq!(b["inference_stats"]["success"]["count"], 0);
    }

    #[test]
    fn what_is_counted_has_a_limit() {
        let statistics = Statistics::default();
        for version in 0..2 * MOST {
            statistics.count("a", &version.to_string(), true, None);
        }
        assert_eq!(statistics.0.lock().unwrap().len(), MOST);
    }
}
