//! What a document must be like.

use std::collections::BTreeSet;

use twinfer::{Result, bail};
use twinfer_package::{Reference, check_name};

use crate::document::FORMAT;
use crate::{ALL, Deployment, Guardrail, Metric, Role, Shadow, Step, Sticky, Strategy};

/// Most variants; an index of metrics has all of them.
const MAX_VARIANTS: usize = 16;
const MAX_STEPS: usize = 50;
const MAX_GUARDRAILS: usize = 16;
/// Longest name of a variant, salt and header.
const MAX_TEXT: usize = 128;
/// Longest step: 30 days.
const MAX_HOLD: u32 = 30 * 86_400;
/// Longest window of a guardrail: what hosts keep of their requests.
const MAX_WINDOW: u32 = 3_600;

impl Deployment {
    /// Whether the document is one that can be followed.
    ///
    /// # Errors
    /// `invalid_deployment`, `unsupported_format_version`; `invalid_reference` for names and tags.
    pub fn check(&self) -> Result<()> {
        if self.format_version != FORMAT {
            bail!(
                UnsupportedFormatVersion,
                "the deployment has the format {}; this version reads {FORMAT}: update Twinfer",
                self.format_version
            );
        }
        check_name(&self.name)?;
        Reference::new(&self.name, &self.alias)?;
        self.check_variants()
            .and_then(|()| check_sticky(&self.sticky))
            .and_then(|()| self.check_shadow())
            .and_then(|()| self.check_strategy())
            .map_err(|error| error.context(format!("the deployment of `{}`", self.name)))
    }

    fn check_variants(&self) -> Result<()> {
        let count = self.variants.len();
        if !(1..=MAX_VARIANTS).contains(&count) {
            bail!(
                InvalidDeployment,
                "it has {count} variants; 1 to {MAX_VARIANTS} are possible"
            );
        }
        let mut names = BTreeSet::new();
        let mut primaries = 0;
        let mut sum = 0;
        for variant in &self.variants {
            check_word("the name of a variant", &variant.name)?;
            if !names.insert(&variant.name) {
                bail!(
                    InvalidDeployment,
                    "the variant `{}` is there twice",
                    variant.name
                );
            }
            Reference::new(&self.name, &variant.version)?;
            primaries += usize::from(variant.role == Role::Primary);
            sum += u32::from(variant.weight);
        }
        if primaries != 1 {
            bail!(
                InvalidDeployment,
                "{primaries} variants have the role `primary`; exactly one must"
            );
        }
        if sum != u32::from(ALL) {
            bail!(
                InvalidDeployment,
                "the weights of the variants sum to {sum}; they are basis points, and sum to {ALL}"
            );
        }
        Ok(())
    }

    fn check_shadow(&self) -> Result<()> {
        let Some(Shadow { variant, sample }) = &self.shadow else {
            return Ok(());
        };
        let role = self.variant(variant).map(|variant| variant.role);
        if !matches!(role, Some(Role::Candidate | Role::Standby)) {
            bail!(
                InvalidDeployment,
                "the shadow `{variant}` must be one of the variants, and not the primary"
            );
        }
        if !(1..=ALL).contains(sample) {
            bail!(
                InvalidDeployment,
                "the sample of the shadow is {sample}; 1 to {ALL} basis points are possible"
            );
        }
        Ok(())
    }

    fn check_strategy(&self) -> Result<()> {
        let candidates = self.candidates().count();
        let (count, open) = (self.variants.len(), self.status.phase.is_open());
        match &self.strategy {
            Strategy::Canary { steps, .. } => {
                check_steps(steps)?;
                if open && (count, candidates) != (2, 1) {
                    bail!(
                        InvalidDeployment,
                        "a canary has one primary and one candidate"
                    );
                }
                self.check_step(steps, open)?;
            }
            Strategy::BlueGreen {} if open && (count, candidates) != (2, 1) => bail!(
                InvalidDeployment,
                "a blue/green deployment has one primary and one candidate"
            ),
            Strategy::AbTest { .. } if open && candidates == 0 => {
                bail!(InvalidDeployment, "an A/B test has a candidate at least")
            }
            _ => {}
        }
        let guardrails = self.strategy.guardrails();
        if guardrails.len() > MAX_GUARDRAILS {
            bail!(
                InvalidDeployment,
                "it has {} guardrails; at most {MAX_GUARDRAILS} are possible",
                guardrails.len()
            );
        }
        guardrails.iter().try_for_each(check_guardrail)?;
        let moves = matches!(
            self.strategy,
            Strategy::Canary { .. } | Strategy::AbTest { .. }
        );
        let takes_all = self.primary().is_some_and(|primary| primary.weight == ALL);
        if !(takes_all || open && moves) {
            bail!(
                InvalidDeployment,
                "the primary of a deployment that is {} ({}) has all of the traffic",
                self.status.phase.as_str(),
                self.strategy.as_str()
            );
        }
        Ok(())
    }

    /// The share of the candidate is that of the step.
    fn check_step(&self, steps: &[Step], open: bool) -> Result<()> {
        let Some(step) = steps.get(self.status.step as usize) else {
            bail!(
                InvalidDeployment,
                "it is at step {} of {} (they are counted from 0)",
                self.status.step,
                steps.len()
            );
        };
        match self.candidates().next() {
            Some(candidate) if open && candidate.weight != step.weight => bail!(
                InvalidDeployment,
                "the candidate has {} basis points, and step {} says {}",
                candidate.weight,
                self.status.step,
                step.weight
            ),
            _ => Ok(()),
        }
    }
}

fn check_steps(steps: &[Step]) -> Result<()> {
    if !(1..=MAX_STEPS).contains(&steps.len()) {
        bail!(
            InvalidDeployment,
            "it has {} steps; 1 to {MAX_STEPS} are possible",
            steps.len()
        );
    }
    let mut before = 0;
    for Step { weight, hold } in steps {
        if !(1..=ALL).contains(weight) || *weight < before {
            bail!(
                InvalidDeployment,
                "the weights of the steps are 1 to {ALL} basis points and do not fall: {weight} comes after {before}"
            );
        }
        if *hold > MAX_HOLD {
            bail!(
                InvalidDeployment,
                "a step holds for {hold} seconds; at most {MAX_HOLD} are possible"
            );
        }
        before = *weight;
    }
    Ok(())
}

fn check_guardrail(guardrail: &Guardrail) -> Result<()> {
    let Guardrail {
        metric,
        quantile,
        max,
        min_requests,
        window,
        ..
    } = guardrail;
    let fits = match (metric, quantile) {
        (Metric::Latency, Some(quantile)) => *quantile > 0.0 && *quantile < 1.0,
        (Metric::Latency, None) | (_, Some(_)) => false,
        (_, None) => true,
    };
    if !fits {
        bail!(
            InvalidDeployment,
            "a guardrail over `latency` names a `quantile` between 0 and 1, such as 0.99, and no other does"
        );
    }
    if !max.is_finite() || *max < 0.0 {
        bail!(
            InvalidDeployment,
            "the `max` of a guardrail is {max}; it must be a number from 0"
        );
    }
    if *min_requests == 0 || !(1..=MAX_WINDOW).contains(window) {
        bail!(
            InvalidDeployment,
            "a guardrail needs `min_requests` from 1, and a `window` of 1 to {MAX_WINDOW} seconds"
        );
    }
    Ok(())
}

fn check_sticky(sticky: &Sticky) -> Result<()> {
    // The characters of RFC 9110 for names of headers.
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let header = &sticky.header;
    if header.is_empty() || header.len() > MAX_TEXT || !header.chars().all(token) {
        bail!(
            InvalidDeployment,
            "{header:?} is not the name of a header, like X-Twinfer-Key"
        );
    }
    if sticky.salt.len() > MAX_TEXT || sticky.salt.chars().any(char::is_control) {
        bail!(
            InvalidDeployment,
            "the salt has at most {MAX_TEXT} bytes, and no control characters"
        );
    }
    Ok(())
}

fn check_word(what: &str, word: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if word.is_empty() || word.len() > MAX_TEXT || !word.chars().all(good) {
        bail!(
            InvalidDeployment,
            "{what} is {word:?}; write letters, digits and . _ - (at most {MAX_TEXT})"
        );
    }
    Ok(())
}
