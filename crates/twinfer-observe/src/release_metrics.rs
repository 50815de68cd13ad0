//! Counting releases: what is in force, what was decided, what shadows answered.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, IntCounterVec, Registry};

use crate::catalogue as all;
use crate::catalogue::Metric;
use crate::metrics::{Result, counter, float_gauge};

/// What may come of a look at a release.
const OUTCOMES: [&str; 4] = ["hold", "advance", "promote", "rollback"];
/// What may come of a copy of a request.
const COPIES: [&str; 4] = ["equal", "different", "failed", "skipped"];
/// Changes whose series begin at zero, with who makes them.
const CHANGES: [[&str; 2]; 6] = [
    ["advance", "controller"],
    ["promote", "controller"],
    ["rollback", "controller"],
    ["apply", "person"],
    ["promote", "person"],
    ["rollback", "person"],
];

/// The deployment of a model, as it is on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSeen {
    /// The model.
    pub model: String,
    /// Whether the newest document is in force, and nothing of it is gone.
    pub ready: bool,
    /// The document that is in force; `None` where none is yet.
    pub in_force: Option<InForceSeen>,
}

/// A document of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct InForceSeen {
    /// Its number.
    pub revision: u64,
    /// The kind of the release: one of a few words.
    pub strategy: &'static str,
    /// How far it is: one of a few words.
    pub phase: &'static str,
    /// Its variants.
    pub variants: Vec<VariantSeen>,
    /// The version that gets copies of requests.
    pub shadow: Option<String>,
}

/// A variant of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantSeen {
    /// Its name.
    pub name: String,
    /// The tag of its version.
    pub version: String,
    /// Its share of the traffic, from 0 to 1.
    pub share: f64,
}

/// What a host counts of releases. Their labels come from deployments, so there are as many as those
/// make who may release.
pub struct ReleaseMetrics {
    info: Series,
    revision: Series,
    traffic: Series,
    ready: Series,
    evaluations: IntCounterVec,
    changes: IntCounterVec,
    shadow: IntCounterVec,
}

impl ReleaseMetrics {
    pub(crate) fn new(into: &Registry) -> Result<Self> {
        Ok(Self {
            info: Series::new(into, &all::DEPLOYMENT_INFO)?,
            revision: Series::new(into, &all::DEPLOYMENT_REVISION)?,
            traffic: Series::new(into, &all::DEPLOYMENT_TRAFFIC)?,
            ready: Series::new(into, &all::DEPLOYMENT_READY)?,
            evaluations: counter(into, &all::DEPLOYMENT_EVALUATIONS)?,
            changes: counter(into, &all::DEPLOYMENT_CHANGES)?,
            shadow: counter(into, &all::SHADOW_REQUESTS)?,
        })
    }

    /// All deployments that there are now.
    pub fn show(&self, seen: &[DeploymentSeen]) {
        let (mut info, mut revision, mut traffic) = (Vec::new(), Vec::new(), Vec::new());
        for DeploymentSeen {
            model, in_force, ..
        } in seen
        {
            let Some(it) = in_force else { continue };
            self.begin_at_zero(model, it);
            info.push((vec![model.as_str(), it.strategy, it.phase], 1.0));
            revision.push((vec![model.as_str()], it.revision as f64));
            traffic.extend(it.variants.iter().map(|variant| {
                let labels = vec![
                    model.as_str(),
                    variant.name.as_str(),
                    variant.version.as_str(),
                ];
                (labels, variant.share)
            }));
        }
        let ready = seen.iter().map(|it| {
            let ready = f64::from(u8::from(it.ready));
            (vec![it.model.as_str()], ready)
        });
        self.info.show(&info);
        self.revision.show(&revision);
        self.traffic.show(&traffic);
        self.ready.show(&ready.collect::<Vec<_>>());
    }

    /// So that a rate of the first one is seen.
    fn begin_at_zero(&self, model: &str, it: &InForceSeen) {
        for outcome in OUTCOMES {
            self.evaluations
                .with_label_values(&[model, outcome])
                .inc_by(0);
        }
        for [action, by] in CHANGES {
            self.changes
                .with_label_values(&[model, action, by])
                .inc_by(0);
        }
        let Some(version) = it.shadow.as_deref() else {
            return;
        };
        for outcome in COPIES {
            self.shadow
                .with_label_values(&[model, version, outcome])
                .inc_by(0);
        }
    }

    /// An open release was looked at; `outcome` is one of a few words.
    pub fn evaluated(&self, model: &str, outcome: &str) {
        self.evaluations.with_label_values(&[model, outcome]).inc();
    }

    /// A deployment was changed, by the `controller` or by a `person`; `action` is one of a few words.
    pub fn changed(&self, model: &str, action: &str, by: &str) {
        self.changes.with_label_values(&[model, action, by]).inc();
    }

    /// A request was to be copied to this version; `outcome` is one of a few words.
    pub fn shadowed(&self, model: &str, version: &str, outcome: &str) {
        self.shadow
            .with_label_values(&[model, version, outcome])
            .inc();
    }
}

/// A gauge whose series come and go.
struct Series {
    gauge: GaugeVec,
    there: Mutex<BTreeSet<Vec<String>>>,
}

impl Series {
    fn new(into: &Registry, metric: &Metric) -> Result<Self> {
        Ok(Self {
            gauge: float_gauge(into, metric)?,
            there: Mutex::default(),
        })
    }

    /// Has these series and no others. None of them is away in between: a scrape may come then.
    fn show(&self, now: &[(Vec<&str>, f64)]) {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = BTreeSet::new();
        for (labels, value) in now {
            self.gauge.with_label_values(labels).set(*value);
            shown.insert(labels.iter().map(|label| (*label).to_owned()).collect());
        }
        for gone in there.difference(&shown) {
            // It is there: it was shown.
            let _ = self.gauge.remove_label_values(gone);
        }
        *there = shown;
    }
}
