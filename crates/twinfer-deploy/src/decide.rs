//! What a release does next.

use crate::{Compared, Deployment, Guardrail, Metric, Observed, Phase, Role, Strategy, Variant};

/// What was seen of versions.
pub trait Observe {
    /// Of this variant, in the last `seconds`.
    fn observed(&self, variant: &Variant, seconds: u32) -> Observed;
}

impl<F: Fn(&Variant, u32) -> Observed> Observe for F {
    fn observed(&self, variant: &Variant, seconds: u32) -> Observed {
        self(variant, seconds)
    }
}

/// What a release does next, and why, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Hold(String),
    /// The next step of a canary.
    Advance(String),
    /// The candidate takes everything.
    Promote(String),
    /// The former document comes back.
    Rollback(String),
}

impl Decision {
    /// It in a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Advance(_) => "advance",
            Self::Promote(_) => "promote",
            Self::Rollback(_) => "rollback",
        }
    }
}

/// What a guardrail says of a candidate.
enum Verdict {
    Good,
    Unknown(String),
    Bad(String),
}

/// What a release does next. `now` is in milliseconds since 1970.
///
/// A broken guardrail of any candidate rolls back, also where the release is paused. A canary goes
/// on when its step has lasted long enough and every guardrail had the requests that it needs.
pub fn decide(deployment: &Deployment, now: u64, observe: &dyn Observe) -> Decision {
    let status = &deployment.status;
    if !status.phase.is_open() {
        return Decision::Hold(format!("the release is {}", status.phase.as_str()));
    }
    let lasted = now.saturating_sub(status.since) / 1_000;
    let mut unknown = None;
    for candidate in deployment.candidates() {
        for guardrail in deployment.strategy.guardrails() {
            match judge(deployment, candidate, guardrail, lasted, observe) {
                Verdict::Good => {}
                Verdict::Bad(why) => return Decision::Rollback(why),
                Verdict::Unknown(why) => unknown = unknown.or(Some(why)),
            }
        }
    }
    let Strategy::Canary { steps, .. } = &deployment.strategy else {
        return Decision::Hold(format!(
            "a release of the kind {} is promoted by hand",
            deployment.strategy.as_str()
        ));
    };
    if status.phase == Phase::Paused {
        return Decision::Hold("the release is paused".into());
    }
    let at = status.step as usize;
    let hold = steps.get(at).map_or(0, |step| u64::from(step.hold));
    if lasted < hold {
        return Decision::Hold(format!("step {at} lasts {} seconds more", hold - lasted));
    }
    if let Some(why) = unknown {
        return Decision::Hold(why);
    }
    let last = at + 1 >= steps.len();
    let why = match deployment.strategy.guardrails().is_empty() {
        true => format!("step {at} lasted {lasted} seconds"),
        false => format!("step {at} lasted {lasted} seconds, and every guardrail held"),
    };
    match last {
        true => Decision::Promote(why),
        false => Decision::Advance(why),
    }
}

fn judge(
    deployment: &Deployment,
    candidate: &Variant,
    guardrail: &Guardrail,
    lasted: u64,
    observe: &dyn Observe,
) -> Verdict {
    // What was before the step says nothing of it. A second has begun in any case.
    let lasted = u32::try_from(lasted).unwrap_or(u32::MAX).max(1);
    let seconds = guardrail.window.min(lasted);
    let name = named(guardrail);
    let value = |variant: &Variant| -> Result<Option<f64>, String> {
        let observed = observe.observed(variant, seconds);
        if observed.requests < guardrail.min_requests {
            return Err(format!(
                "{name} of `{}` needs {} requests in {} seconds, and there were {}",
                variant.name, guardrail.min_requests, guardrail.window, observed.requests
            ));
        }
        Ok(measured(guardrail, &observed))
    };
    let found = match value(candidate) {
        Ok(Some(found)) => found,
        // Nobody measures it here.
        Ok(None) => return Verdict::Good,
        Err(why) => return Verdict::Unknown(why),
    };
    let limit = match guardrail.compared {
        Compared::Absolute => guardrail.max,
        Compared::Primary => {
            let is_primary = |variant: &&Variant| variant.role == Role::Primary;
            match deployment.variants.iter().find(is_primary).map(value) {
                Some(Ok(Some(primary))) => guardrail.max * primary,
                Some(Ok(None)) | None => return Verdict::Good,
                Some(Err(why)) => return Verdict::Unknown(why),
            }
        }
    };
    if found <= limit {
        return Verdict::Good;
    }
    Verdict::Bad(format!(
        "{name} of `{}` ({}) is {}, over {} in the last {seconds} seconds",
        candidate.name,
        candidate.version,
        shown(found),
        shown(limit)
    ))
}

fn measured(guardrail: &Guardrail, observed: &Observed) -> Option<f64> {
    match guardrail.metric {
        Metric::ErrorRate => Some(observed.errors as f64 / observed.requests.max(1) as f64),
        Metric::Latency => observed.latencies.quantile(guardrail.quantile?),
        Metric::Drift => observed.drift,
    }
}

fn named(guardrail: &Guardrail) -> String {
    match (guardrail.metric, guardrail.quantile) {
        (Metric::ErrorRate, _) => "the error rate".into(),
        (Metric::Latency, Some(quantile)) => format!("the {quantile} quantile of the latency (ms)"),
        (Metric::Latency, None) => "the latency (ms)".into(),
        (Metric::Drift, _) => "the drift".into(),
    }
}

/// Three digits are enough to see why.
fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
