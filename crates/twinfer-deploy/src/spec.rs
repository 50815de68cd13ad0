//! What somebody wants: a deployment without what follows from the rest.

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail};
use twinfer_package::{Digest, check_name};

use crate::document::{ALIAS, FORMAT, HEADER};
use crate::{ALL, Deployment, Phase, Role, Shadow, Status, Sticky, Strategy, Variant};

/// A deployment as it is written by people, for `twinfer deploy apply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DeploymentSpec {
    /// Always 1.
    #[serde(default = "format_version")]
    #[cfg_attr(feature = "schema", ts(as = "Option<u32>", optional))]
    pub format_version: u32,
    /// The model.
    pub name: String,
    /// The tag for which the deployment answers, as it does for the bare name.
    #[serde(default = "alias")]
    #[cfg_attr(feature = "schema", ts(as = "Option<String>", optional))]
    pub alias: String,
    /// The versions. The first is the primary, unless a role says so of another.
    pub variants: Vec<VariantSpec>,
    /// How callers are assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub sticky: Option<StickySpec>,
    /// A variant that is asked too, after the answer is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub shadow: Option<Shadow>,
    /// How the release goes on.
    #[serde(default = "all_at_once")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Strategy>", optional))]
    pub strategy: Strategy,
}

/// A version of the model, and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentVariantSpec"))]
pub struct VariantSpec {
    /// Its name in answers and metrics. Default: the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub name: Option<String>,
    /// A tag of the model.
    pub version: String,
    /// The digest of the package's manifest, where the tag must mean this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub digest: Option<Digest>,
    /// The share in basis points. Only an A/B test needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub weight: Option<u16>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub role: Option<Role>,
}

/// How callers are assigned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "DeploymentStickySpec"))]
pub struct StickySpec {
    /// The request header with the caller's key. Default: `X-Twinfer-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub header: Option<String>,
    /// Mixes the assignment. Default: the name of the model, so that the same callers come first
    /// in all of its releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub salt: Option<String>,
}

impl DeploymentSpec {
    /// Of one model that answers alone.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            format_version: FORMAT,
            name: name.into(),
            alias: ALIAS.into(),
            variants: vec![VariantSpec::new(version)],
            sticky: None,
            shadow: None,
            strategy: Strategy::AllAtOnce {},
        }
    }

    /// Reads a specification. What it says is checked when it becomes a deployment.
    ///
    /// # Errors
    /// `invalid_deployment`, `unknown_field`, `invalid_digest`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        crate::json::read("the deployment", json)
    }

    /// The deployment that this becomes. `resolve` gives the digest of a tag of the model.
    ///
    /// # Errors
    /// Those of `resolve`; `invalid_deployment` for what cannot be; `digest_mismatch` where a tag
    /// means something else than the specification says.
    pub fn resolve(
        &self,
        revision: u64,
        now: u64,
        mut resolve: impl FnMut(&str) -> Result<Digest>,
    ) -> Result<Deployment> {
        check_name(&self.name)?;
        let mut variants = Vec::new();
        for (at, spec) in self.variants.iter().enumerate() {
            let role = spec.role.unwrap_or(self.default_role(at));
            let digest = resolve(&spec.version)?;
            if spec.digest.is_some_and(|wanted| wanted != digest) {
                bail!(
                    DigestMismatch,
                    "`{}:{}` is {digest}, which is not what the deployment says",
                    self.name,
                    spec.version
                );
            }
            variants.push(Variant {
                name: spec.name.clone().unwrap_or_else(|| spec.version.clone()),
                version: spec.version.clone(),
                digest,
                weight: spec.weight.unwrap_or_else(|| self.default_weight(role)),
                role,
            });
        }
        let sticky = self.sticky.clone().unwrap_or_default();
        let deployment = Deployment {
            format_version: self.format_version,
            name: self.name.clone(),
            alias: self.alias.clone(),
            revision,
            variants,
            sticky: Sticky {
                header: sticky.header.unwrap_or_else(|| HEADER.into()),
                salt: sticky.salt.unwrap_or_else(|| self.name.clone()),
            },
            shadow: self.shadow.clone(),
            strategy: self.strategy.clone(),
            status: Status {
                phase: match self.strategy {
                    Strategy::AllAtOnce {} => Phase::Promoted,
                    _ => Phase::Progressing,
                },
                step: 0,
                since: now,
            },
        };
        deployment.check()?;
        Ok(deployment)
    }

    /// The first is the primary, unless another says that it is.
    fn default_role(&self, at: usize) -> Role {
        let is_primary = |spec: &VariantSpec| spec.role == Some(Role::Primary);
        match at == 0 && !self.variants.iter().any(is_primary) {
            true => Role::Primary,
            false => Role::Candidate,
        }
    }

    /// That of the first step for the candidate of a canary; otherwise the primary has everything.
    fn default_weight(&self, role: Role) -> u16 {
        let first = self.strategy.steps().first().map_or(0, |step| step.weight);
        match role {
            Role::Primary => ALL.saturating_sub(first),
            Role::Candidate => first,
            Role::Standby => 0,
        }
    }
}

impl VariantSpec {
    /// Of a tag.
    pub fn new(version: &str) -> Self {
        Self {
            name: None,
            version: version.into(),
            digest: None,
            weight: None,
            role: None,
        }
    }
}

fn format_version() -> u32 {
    FORMAT
}

fn alias() -> String {
    ALIAS.into()
}

fn all_at_once() -> Strategy {
    Strategy::AllAtOnce {}
}
