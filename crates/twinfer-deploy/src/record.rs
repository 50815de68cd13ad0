//! A deployment with its past, and the ways in which it changes.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twinfer::{Result, bail, err};

use crate::document::FORMAT;
use crate::{ALL, Decision, Deployment, Phase, Role, Strategy, Variant};

/// Former documents that are kept: so many rollbacks in a row are possible.
const MAX_HISTORY: usize = 20;
/// Events that are kept.
const MAX_EVENTS: usize = 100;
/// Longest author and reason of an event, in characters.
const MAX_WORDS: usize = 500;

/// The deployment of a model, the documents that it can go back to, and what happened last. It is
/// one value in the state, and changes as a whole where its revision is still the one that was
/// read.
///
/// Documents in it are text, not values: what comes back by a rollback is the former document byte
/// for byte.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format_version: u32,
    /// Grows with each change.
    revision: u64,
    deployment: Box<RawValue>,
    /// Documents of finished releases, the newest last.
    history: Vec<Box<RawValue>>,
    /// The newest last.
    events: Vec<Event>,
}

/// Something that happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The revision of the record that came out.
    pub revision: u64,
    /// What it was.
    pub action: Action,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who did it: a principal, or `controller`.
    pub by: String,
    /// Why, in words for people; may be empty.
    pub reason: String,
}

/// What happens to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new release.
    Apply,
    /// The next step of a canary.
    Advance,
    /// A variant takes everything.
    Promote,
    /// The former document is back.
    Rollback,
    /// It goes no further by itself.
    Pause,
    /// It does again.
    Resume,
}

impl Action {
    /// The word of the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Advance => "advance",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// Who changes something, when and why: this crate has no clock and knows nobody.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// A principal, or `controller`.
    pub author: &'a str,
    /// Milliseconds since 1970.
    pub at: u64,
    /// In words for people; may be empty.
    pub reason: &'a str,
}

impl Record {
    /// The first deployment of a model.
    ///
    /// # Errors
    /// As [`Deployment::check`].
    pub fn first(deployment: &Deployment, by: By<'_>) -> Result<Self> {
        let deployment = Deployment {
            revision: 1,
            ..deployment.clone()
        };
        let mut record = Self {
            format_version: FORMAT,
            revision: 0,
            deployment: raw(&deployment)?,
            history: Vec::new(),
            events: Vec::new(),
        };
        record.note(Action::Apply, by);
        Ok(record)
    }

    /// Reads a record of the state.
    ///
    /// # Errors
    /// `invalid_deployment`, `unsupported_format_version`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(json)
            .map_err(|e| crate::json::json_error("the record of a deployment", &e))?;
        if record.format_version != FORMAT {
            bail!(
                UnsupportedFormatVersion,
                "the record of a deployment has the format {}; this version reads {FORMAT}: update Twinfer",
                record.format_version
            );
        }
        record.deployment()?;
        Ok(record)
    }

    /// The record as JSON.
    ///
    /// # Errors
    /// `internal`: all of these have a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| err!(Internal, "a record has no JSON form: {e}"))
    }

    /// The number by which a change is compared and set. It grows with each change, with rollbacks
    /// too; that of the document in it is [`Deployment::revision`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The document that is in place.
    ///
    /// # Errors
    /// As [`Deployment::from_json`].
    pub fn deployment(&self) -> Result<Deployment> {
        Deployment::from_json(self.document().as_bytes())
    }

    /// Its text: what pages and other servers read.
    pub fn document(&self) -> &str {
        self.deployment.get()
    }

    /// The text that a rollback brings back.
    pub fn former(&self) -> Option<&str> {
        self.history.last().map(|raw| raw.get())
    }

    /// What happened, the newest last.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Checks that a change is meant for this record.
    ///
    /// # Errors
    /// `revision_mismatch` when somebody else was faster.
    pub fn expect(&self, revision: u64) -> Result<()> {
        if self.revision != revision {
            bail!(
                RevisionMismatch,
                "the deployment has the revision {} by now, not {revision}: look at it (`twinfer deploy status`), and try again",
                self.revision
            );
        }
        Ok(())
    }

    /// A new release takes the place of what is there. A release that is not finished is replaced,
    /// and is none to go back to: that stays the one before it.
    ///
    /// # Errors
    /// As [`Deployment::check`]; `deployment_conflict` for another model.
    pub fn apply(&self, deployment: &Deployment, by: By<'_>) -> Result<Self> {
        let now = self.deployment()?;
        if deployment.name != now.name {
            bail!(
                DeploymentConflict,
                "this is the deployment of `{}`, not of `{}`",
                now.name,
                deployment.name
            );
        }
        self.with(&now, deployment, Action::Apply, by)
    }

    /// A variant takes everything: the one of this name, or the only candidate. The former primary
    /// of a blue/green deployment is kept ready; other variants go.
    ///
    /// # Errors
    /// `deployment_conflict` when there is none, or several could be meant.
    pub fn promote(&self, variant: Option<&str>, by: By<'_>) -> Result<Self> {
        let now = self.deployment()?;
        let winner = winner(&now, variant)?.clone();
        let is_blue_green = matches!(now.strategy, Strategy::BlueGreen {});
        let mut variants = vec![Variant {
            weight: ALL,
            role: Role::Primary,
            ..winner.clone()
        }];
        if is_blue_green {
            let others = now.variants.iter().filter(|v| v.name != winner.name);
            variants.extend(others.cloned().map(|variant| Variant {
                weight: 0,
                role: Role::Standby,
                ..variant
            }));
        }
        let next = Deployment {
            variants,
            shadow: None,
            ..moved(now.clone(), Phase::Promoted, by)
        };
        self.with(&now, &next, Action::Promote, by)
    }

    /// Brings the former document back, byte for byte. Where there is none, the primary gets
    /// everything.
    ///
    /// # Errors
    /// `deployment_conflict` when there is nothing to go back to.
    pub fn rollback(&self, by: By<'_>) -> Result<Self> {
        let mut next = self.clone();
        if let Some(former) = next.history.pop() {
            next.deployment = former;
            next.note(Action::Rollback, by);
            return Ok(next);
        }
        let now = self.deployment()?;
        if !now.status.phase.is_open() {
            bail!(
                DeploymentConflict,
                "there is no former deployment of `{}` to go back to",
                now.name
            );
        }
        let primary = now.primary().cloned();
        let variants = primary.map(|variant| Variant {
            weight: ALL,
            ..variant
        });
        let next = Deployment {
            variants: variants.into_iter().collect(),
            shadow: None,
            ..moved(now.clone(), Phase::RolledBack, by)
        };
        self.with(&now, &next, Action::Rollback, by)
    }

    /// Goes no further by itself from here on.
    ///
    /// # Errors
    /// `deployment_conflict` when the release is not under way.
    pub fn pause(&self, by: By<'_>) -> Result<Self> {
        self.to(Phase::Progressing, Phase::Paused, Action::Pause, by)
    }

    /// Goes on; the step that it is at begins anew.
    ///
    /// # Errors
    /// `deployment_conflict` when the release is not paused.
    pub fn resume(&self, by: By<'_>) -> Result<Self> {
        self.to(Phase::Paused, Phase::Progressing, Action::Resume, by)
    }

    /// What somebody asks for by its word: `promote` (a variant, or the only candidate),
    /// `rollback`, `pause` or `resume`.
    ///
    /// # Errors
    /// Those of the transition; `not_found` for another word.
    pub fn turn(&self, action: &str, variant: Option<&str>, by: By<'_>) -> Result<Self> {
        match action {
            "promote" => self.promote(variant, by),
            "rollback" => self.rollback(by),
            "pause" => self.pause(by),
            "resume" => self.resume(by),
            _ => bail!(NotFound, "`{action}` is nothing that a deployment does"),
        }
    }

    /// What a decision makes of it; `None` when it is to hold.
    ///
    /// # Errors
    /// Those of the transition.
    pub fn carry_out(&self, decision: &Decision, author: &str, at: u64) -> Result<Option<Self>> {
        let by = |reason| By { author, at, reason };
        match decision {
            Decision::Hold(_) => Ok(None),
            Decision::Advance(reason) => self.advance(by(reason)).map(Some),
            Decision::Promote(reason) => self.promote(None, by(reason)).map(Some),
            Decision::Rollback(reason) => self.rollback(by(reason)).map(Some),
        }
    }

    fn advance(&self, by: By<'_>) -> Result<Self> {
        let now = self.deployment()?;
        let at = now.status.step + 1;
        let Some(weight) = now.strategy.steps().get(at as usize).map(|s| s.weight) else {
            bail!(
                DeploymentConflict,
                "the release of `{}` has no step {at}",
                now.name
            );
        };
        let mut next = moved(now.clone(), Phase::Progressing, by);
        next.status.step = at;
        for variant in &mut next.variants {
            variant.weight = match variant.role {
                Role::Primary => ALL - weight,
                Role::Candidate => weight,
                Role::Standby => 0,
            };
        }
        self.with(&now, &next, Action::Advance, by)
    }

    fn to(&self, from: Phase, to: Phase, action: Action, by: By<'_>) -> Result<Self> {
        let now = self.deployment()?;
        if now.status.phase != from {
            bail!(
                DeploymentConflict,
                "the release of `{}` is {}, not {}",
                now.name,
                now.status.phase.as_str(),
                from.as_str()
            );
        }
        self.with(&now, &moved(now.clone(), to, by), action, by)
    }

    /// With another document in the place of the one that is there now. It gets a number of its own.
    fn with(
        &self,
        now: &Deployment,
        deployment: &Deployment,
        action: Action,
        by: By<'_>,
    ) -> Result<Self> {
        let mut next = self.clone();
        next.note(action, by);
        if !now.status.phase.is_open() {
            next.history.push(next.deployment);
            let surplus = next.history.len().saturating_sub(MAX_HISTORY);
            next.history.drain(..surplus);
        }
        next.deployment = raw(&Deployment {
            revision: next.revision,
            ..deployment.clone()
        })?;
        Ok(next)
    }

    fn note(&mut self, action: Action, by: By<'_>) {
        self.revision += 1;
        let words = |text: &str| text.chars().take(MAX_WORDS).collect();
        self.events.push(Event {
            revision: self.revision,
            action,
            at: by.at,
            by: words(by.author),
            reason: words(by.reason),
        });
        let surplus = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..surplus);
    }
}

fn winner<'a>(deployment: &'a Deployment, variant: Option<&str>) -> Result<&'a Variant> {
    let name = &deployment.name;
    if let Some(wanted) = variant {
        let Some(variant) = deployment.variant(wanted) else {
            bail!(
                DeploymentConflict,
                "the deployment of `{name}` has no variant `{wanted}`"
            );
        };
        if variant.weight == ALL && !deployment.status.phase.is_open() {
            bail!(
                DeploymentConflict,
                "`{wanted}` of the deployment of `{name}` has everything already"
            );
        }
        return Ok(variant);
    }
    let mut candidates = deployment.candidates();
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!(
            DeploymentConflict,
            "the deployment of `{name}` has no candidate to promote"
        ),
        _ => bail!(
            DeploymentConflict,
            "the deployment of `{name}` has several candidates: say which variant is promoted"
        ),
    }
}

fn moved(mut deployment: Deployment, phase: Phase, by: By<'_>) -> Deployment {
    deployment.status.phase = phase;
    deployment.status.since = by.at;
    deployment
}

fn raw(deployment: &Deployment) -> Result<Box<RawValue>> {
    deployment.check()?;
    RawValue::from_string(deployment.to_json()?)
        .map_err(|e| err!(Internal, "a deployment has no JSON form: {e}"))
}
