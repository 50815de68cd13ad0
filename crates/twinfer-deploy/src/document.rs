//! The document.

use serde::{Deserialize, Serialize};
use twinfer::{Result, err};
use twinfer_package::Digest;

/// The format that is written and read.
pub(crate) const FORMAT: u32 = 1;
/// The alias that a deployment answers for, unless it says another.
pub(crate) const ALIAS: &str = "stable";
/// Where the key of a caller is, unless the deployment says another header.
pub(crate) const HEADER: &str = "X-Twinfer-Key";

/// Which versions of a model get which share of the traffic, now: `deployments/NAME.json` beside
/// the index of a registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Deployment {
    /// Always 1.
    pub format_version: u32,
    /// The model.
    pub name: String,
    /// The tag for which the deployment answers, as it does for the bare name.
    pub alias: String,
    /// Names this document: no other one of the model has the number, and later ones have higher
    /// ones. A rollback brings a document back with the number that it had.
    pub revision: u64,
    /// The versions. Exactly one is the primary, and the weights sum to 10,000.
    pub variants: Vec<Variant>,
    /// How callers are assigned.
    pub sticky: Sticky,
    /// A variant that is asked too, after the answer is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub shadow: Option<Shadow>,
    /// How the release goes on.
    pub strategy: Strategy,
    /// How far it is.
    pub status: Status,
}

/// A version of the model, and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentVariant"))]
pub struct Variant {
    /// Its name in answers and metrics, such as `canary`.
    pub name: String,
    /// The tag that the digest was found by.
    pub version: String,
    /// The digest of the package's manifest: what answers.
    pub digest: Digest,
    /// The share of the traffic in basis points: 10,000 is all of it.
    pub weight: u16,
    /// What it is for.
    pub role: Role,
}

/// What a variant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentRole"))]
pub enum Role {
    /// What was in use before, and gets what the others do not.
    Primary,
    /// What may take its place.
    Candidate,
    /// What was the primary before a blue/green switch, and is kept ready.
    Standby,
}

/// How callers are assigned: by the first 8 bytes (big endian) of SHA-256 over the salt, a zero
/// byte and the key, modulo 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentSticky"))]
pub struct Sticky {
    /// The request header with the caller's key. Requests without are assigned by chance.
    pub header: String,
    /// Mixes the assignment: with another salt, other callers come first.
    pub salt: String,
}

/// A variant that gets copies of requests. Its answers go to nobody; the differences are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentShadow"))]
pub struct Shadow {
    /// The variant. It is not the primary.
    pub variant: String,
    /// The share of requests that is copied, in basis points.
    pub sample: u16,
}

/// How a release goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentStrategy"))]
pub enum Strategy {
    /// The primary takes everything at once.
    AllAtOnce {},
    /// The candidate's share grows in steps, and the release promotes itself after the last, or
    /// rolls itself back.
    Canary {
        /// The steps, with growing weights.
        steps: Vec<Step>,
        /// What must hold for all that time.
        #[serde(default)]
        guardrails: Vec<Guardrail>,
    },
    /// All variants stay until somebody promotes one.
    AbTest {
        /// What rolls it back.
        #[serde(default)]
        guardrails: Vec<Guardrail>,
    },
    /// The candidate is kept ready until somebody promotes it; then it takes everything, and the
    /// former primary is kept ready.
    BlueGreen {},
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentStep"))]
pub struct Step {
    /// The candidate's share in basis points.
    pub weight: u16,
    /// Seconds that it lasts at least.
    pub hold: u32,
}

/// What must hold for a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentGuardrail"))]
pub struct Guardrail {
    /// What is looked at.
    pub metric: Metric,
    /// The quantile of a latency, such as 0.99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub quantile: Option<f64>,
    /// The highest value that is good: a share of requests, milliseconds, or a score. Where it is
    /// compared with the primary: how many times the primary's value.
    pub max: f64,
    /// What it is compared with.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Compared>", optional))]
    pub compared: Compared,
    /// Requests that are needed before anything is said.
    #[serde(default = "min_requests")]
    #[cfg_attr(feature = "schema", ts(as = "Option<u64>", optional))]
    pub min_requests: u64,
    /// Seconds that are looked back, at most to the beginning of the step.
    #[serde(default = "window")]
    #[cfg_attr(feature = "schema", ts(as = "Option<u32>", optional))]
    pub window: u32,
}

/// What a guardrail looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentMetric"))]
pub enum Metric {
    /// The share of requests that failed in the server (statuses from 500).
    ErrorRate,
    /// A quantile of the time that answers took, in milliseconds.
    Latency,
    /// How far the data is from the baseline. Where nobody measures it, it holds.
    Drift,
}

/// What the maximum of a guardrail is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentCompared"))]
pub enum Compared {
    /// A value.
    #[default]
    Absolute,
    /// A factor of the primary's value in the same time.
    Primary,
}

/// How far a release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentStatus"))]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// The step of a canary, from 0.
    pub step: u32,
    /// When the phase or step began, in milliseconds since 1970.
    pub since: u64,
}

/// Where a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentPhase"))]
pub enum Phase {
    /// Under way.
    Progressing,
    /// Under way, and goes no further by itself; a guardrail still rolls it back.
    Paused,
    /// At its end: the primary has everything.
    Promoted,
    /// Given up, where there was no former document to go back to: the primary has everything.
    RolledBack,
}

impl Phase {
    /// Whether the release is under way.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Progressing | Self::Paused)
    }

    /// The word of the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl Strategy {
    /// What must hold; nothing for strategies without.
    pub fn guardrails(&self) -> &[Guardrail] {
        match self {
            Self::Canary { guardrails, .. } | Self::AbTest { guardrails } => guardrails,
            Self::AllAtOnce {} | Self::BlueGreen {} => &[],
        }
    }

    /// The steps; none for strategies without.
    pub fn steps(&self) -> &[Step] {
        match self {
            Self::Canary { steps, .. } => steps,
            _ => &[],
        }
    }

    /// The word of the document.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AllAtOnce {} => "all_at_once",
            Self::Canary { .. } => "canary",
            Self::AbTest { .. } => "ab_test",
            Self::BlueGreen {} => "blue_green",
        }
    }
}

impl Deployment {
    /// Reads a document and checks it.
    ///
    /// # Errors
    /// `invalid_deployment` for whatever is wrong with it; `unknown_field`, `invalid_digest`;
    /// `unsupported_format_version` for a document of a newer Twinfer.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let deployment: Self = crate::json::read("the deployment", json)?;
        deployment.check()?;
        Ok(deployment)
    }

    /// Reads the document that was found at the place of this model, and checks it.
    ///
    /// # Errors
    /// Those of [`Deployment::from_json`]; `invalid_deployment` for the one of another model.
    pub fn of(name: &str, json: &[u8]) -> Result<Self> {
        let deployment = Self::from_json(json)?;
        deployment.check_is_of(name)?;
        Ok(deployment)
    }

    /// Whether it is the document of this model.
    ///
    /// # Errors
    /// `invalid_deployment` where it is that of another one.
    pub fn check_is_of(&self, name: &str) -> Result<()> {
        if self.name != name {
            return Err(err!(
                InvalidDeployment,
                "the deployment of `{name}` says that it is that of `{}`",
                self.name
            ));
        }
        Ok(())
    }

    /// The document as JSON, compact.
    ///
    /// # Errors
    /// `internal`: all of these have a form in JSON.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| err!(Internal, "the deployment cannot be written as JSON: {e}"))
    }

    /// The primary. There is one in every document that was checked.
    pub fn primary(&self) -> Option<&Variant> {
        self.variants.iter().find(|v| v.role == Role::Primary)
    }

    /// A variant by its name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The variants that may take the primary's place.
    pub fn candidates(&self) -> impl Iterator<Item = &Variant> {
        let is_candidate = |variant: &&Variant| variant.role == Role::Candidate;
        self.variants.iter().filter(is_candidate)
    }
}

pub(crate) fn min_requests() -> u64 {
    100
}

pub(crate) fn window() -> u32 {
    60
}
