//! Deployments: which versions of a model get which share of the traffic, and how that changes.
//!
//! A [`Deployment`] is one small JSON document for each model. Everybody who answers for the model
//! reads it (server, component, page), and everybody assigns a caller to the same version by it:
//! [`assign`] is a hash of a key that the caller chose. A release is a new document.
//!
//! No host is in here: no clock, no randomness, no storage. Who changes a deployment holds its
//! [`Record`], calls one of the transitions, and writes the record that comes out where the
//! revision is still the one that it read.
//!
//! | step | where |
//! |---|---|
//! | what somebody wants, with less in it | [`DeploymentSpec`] |
//! | what is in place | [`Deployment`] |
//! | who gets what | [`bucket`], [`assign`], [`Deployment::at`] |
//! | changes, with the documents to go back to | [`Record`] |
//! | what a canary does next | [`decide`] over [`Observed`] requests |
//!
//! See `docs/releases.md`.
#![deny(missing_docs)]

mod assign;
mod check;
mod decide;
mod document;
mod json;
mod observed;
mod record;
mod spec;

pub use assign::{ALL, assign, bucket};
pub use decide::{Decision, Observe, decide};
pub use document::{
    Compared, Deployment, Guardrail, Metric, Phase, Role, Shadow, Status, Step, Sticky, Strategy,
    Variant,
};
pub use observed::{LATENCY_BUCKETS, Latencies, Observed};
pub use record::{Action, By, Event, Record};
pub use spec::{DeploymentSpec, StickySpec, VariantSpec};
