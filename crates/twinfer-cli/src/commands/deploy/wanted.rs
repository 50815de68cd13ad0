//! `twinfer deploy apply`: what is wanted, from a file or from flags.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;
use twinfer::{ErrorCode, Result, bail, err};
use twinfer_deploy::{
    ALL, Compared, DeploymentSpec, Guardrail, Metric, Role, Shadow, Step, StickySpec, Strategy,
    VariantSpec,
};
use twinfer_package::Reference;

use super::place::{How, Place};

/// What is to be released.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// NAME:VERSION; or a file (JSON) with the whole deployment
    #[arg(value_name = "NAME:VERSION|FILE")]
    what: String,

    /// Steps of a canary: the candidate's share and how long it has that, with commas between,
    /// like 5%:10m,25%:10m
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = step, group = "strategy")]
    canary: Vec<Step>,

    /// An A/B test in which the version has this share, like 50%
    #[arg(long, value_name = "SHARE", value_parser = share, group = "strategy")]
    ab: Option<u16>,

    /// Keep the version ready, and give it everything when it is promoted
    #[arg(long, group = "strategy")]
    blue_green: bool,

    /// Give the version no traffic, but copies of this share of the requests, like 10%: their
    /// answers are compared
    #[arg(long, value_name = "SHARE", value_parser = share, group = "strategy")]
    shadow: Option<u16>,

    /// What must hold, else it is rolled back (repeatable): error_rate<1%, p99<250 (milliseconds),
    /// p99<1.5x (of the version before), drift<0.2
    #[arg(long = "guard", value_name = "RULE")]
    guards: Vec<Guard>,

    /// Requests of the version that a guardrail needs before it says anything
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    min_requests: u64,

    /// How far guardrails look back
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    window: u32,

    /// The version before [default: what is the primary now]
    #[arg(long, value_name = "VERSION")]
    from: Option<String>,

    /// The alias that the deployment answers for, beside the bare name
    #[arg(long, value_name = "ALIAS", default_value = "stable")]
    alias: String,

    /// Mixes the assignment of callers: with another salt, other callers come first [default: the
    /// name of the model]
    #[arg(long, value_name = "TEXT")]
    salt: Option<String>,

    /// The request header with the key of a caller
    #[arg(long, value_name = "NAME")]
    key_header: Option<String>,

    /// Why, for the log and for `status`
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,

    /// Release it even if it breaks callers of what is served now
    #[arg(long)]
    breaking: bool,

    /// Only where the deployment still has this revision; 0: where there is none
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
}

impl ApplyArgs {
    /// Begins the release.
    ///
    /// # Errors
    /// As [`Place::apply`]; `storage` for a file that cannot be read.
    pub fn run(&self, place: &Place<'_>) -> Result<Json> {
        let spec = match self.file() {
            Some(file) => {
                let json = std::fs::read(file)
                    .map_err(|e| err!(Storage, "the deployment {}: {e}", file.display()))?;
                DeploymentSpec::from_json(&json)?
            }
            None => self.spec(place)?,
        };
        let how = How {
            if_revision: self.if_revision,
            breaking: self.breaking,
            reason: &self.reason,
        };
        place.apply(&spec, how)
    }

    fn file(&self) -> Option<&Path> {
        let path = Path::new(&self.what);
        let is_file = path.is_file() || self.what.ends_with(".json");
        is_file.then_some(path)
    }

    fn spec(&self, place: &Place<'_>) -> Result<DeploymentSpec> {
        let reference: Reference = self.what.parse()?;
        let (Some(version), None) = (reference.tag(), reference.digest()) else {
            bail!(
                InvalidReference,
                "`{}` names no version: write NAME:VERSION",
                self.what
            );
        };
        let name = reference.name();
        let mut spec = DeploymentSpec::new(name, version);
        spec.alias.clone_from(&self.alias);
        if self.salt.is_some() || self.key_header.is_some() {
            spec.sticky = Some(StickySpec {
                header: self.key_header.clone(),
                salt: self.salt.clone(),
            });
        }
        let alone = self.canary.is_empty()
            && self.ab.is_none()
            && !self.blue_green
            && self.shadow.is_none();
        if alone {
            if !self.guards.is_empty() {
                bail!(
                    InvalidParameter,
                    "--guard is for --canary and --ab: a version that has everything at once has nothing to be held against"
                );
            }
            return Ok(spec);
        }
        let from = match &self.from {
            Some(from) => from.clone(),
            None => primary(place, name)?,
        };
        if from == version {
            bail!(
                InvalidDeployment,
                "{name}:{version} is what is released now; --from names the version before"
            );
        }
        let candidate = VariantSpec {
            role: Some(Role::Candidate),
            ..VariantSpec::new(version)
        };
        spec.variants = vec![VariantSpec::new(&from), candidate];
        if let Some(sample) = self.shadow {
            spec.shadow = Some(Shadow {
                variant: version.to_owned(),
                sample,
            });
        }
        let guardrails = self.guards.iter().map(|guard| self.guardrail(guard));
        let guardrails: Vec<Guardrail> = guardrails.collect();
        if let Some(share) = self.ab {
            spec.variants[0].weight = Some(ALL - share);
            spec.variants[1].weight = Some(share);
            spec.strategy = Strategy::AbTest { guardrails };
        } else if self.blue_green {
            spec.strategy = Strategy::BlueGreen {};
        } else if !self.canary.is_empty() {
            spec.strategy = Strategy::Canary {
                steps: self.canary.clone(),
                guardrails,
            };
        }
        Ok(spec)
    }

    fn guardrail(&self, guard: &Guard) -> Guardrail {
        Guardrail {
            metric: guard.metric,
            quantile: guard.quantile,
            max: guard.max,
            compared: guard.compared,
            min_requests: self.min_requests,
            window: self.window,
        }
    }
}

/// The version that is released now.
fn primary(place: &Place<'_>, name: &str) -> Result<String> {
    let told = match place.status(name) {
        Err(error) if error.code() == ErrorCode::UnknownDeployment => bail!(
            UnknownDeployment,
            "`{name}` has no deployment yet: say with --from which version it is served with now"
        ),
        told => told?,
    };
    let variants = told["deployment"]["variants"]
        .as_array()
        .into_iter()
        .flatten();
    let primary = variants.into_iter().find(|v| v["role"] == "primary");
    primary
        .and_then(|variant| Some(variant["version"].as_str()?.to_owned()))
        .ok_or_else(|| err!(Internal, "the deployment of `{name}` has no primary"))
}

/// A rule of `--guard`.
#[derive(Debug, Clone, PartialEq)]
struct Guard {
    metric: Metric,
    quantile: Option<f64>,
    max: f64,
    compared: Compared,
}

impl FromStr for Guard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "write error_rate<1%, p99<250, p99<1.5x or drift<0.2".to_owned();
        let (metric, max) = text.split_once('<').ok_or_else(wrong)?;
        let (metric, quantile) = match metric.trim() {
            "error_rate" => (Metric::ErrorRate, None),
            "drift" => (Metric::Drift, None),
            latency => {
                let digits = latency.strip_prefix('p').ok_or_else(wrong)?;
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                // p50, p99, p999: digits after the point.
                let quantile = format!("0.{digits}").parse().map_err(|_| wrong())?;
                (Metric::Latency, Some(quantile))
            }
        };
        let max = max.trim();
        let (number, compared, divided) = match (max.strip_suffix('x'), max.strip_suffix('%')) {
            (Some(factor), _) => (factor, Compared::Primary, 1.0),
            (_, Some(share)) => (share, Compared::Absolute, 100.0),
            _ => (max, Compared::Absolute, 1.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Ok(Self {
            metric,
            quantile,
            max: number / divided,
            compared,
        })
    }
}

/// A share as basis points.
fn share(text: &str) -> std::result::Result<u16, String> {
    let wrong = || "write a share like 5% or 0.5%".to_owned();
    let number: f64 = text
        .strip_suffix('%')
        .ok_or_else(wrong)?
        .trim()
        .parse()
        .map_err(|_| wrong())?;
    let points = (number * 100.0).round();
    match (1.0..=f64::from(ALL)).contains(&points) {
        true => Ok(points as u16),
        false => Err("a share is 0.01% to 100%".into()),
    }
}

/// `SHARE:TIME`
fn step(text: &str) -> std::result::Result<Step, String> {
    let (weight, hold) = text
        .split_once(':')
        .ok_or("write steps like 5%:10m,25%:10m")?;
    Ok(Step {
        weight: share(weight)?,
        hold: time(hold)?,
    })
}

/// Seconds.
fn time(text: &str) -> std::result::Result<u32, String> {
    let wrong = || "write a time like 90s, 10m or 1h".to_owned();
    let time: Duration = humantime::parse_duration(text).map_err(|_| wrong())?;
    u32::try_from(time.as_secs()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_steps_and_rules() {
        assert_eq!(share("0.5%"), Ok(50));
        assert_eq!(share("100%"), Ok(10_000));
        for text in ["5", "0%", "101%", "x%", "nan%"] {
            assert!(share(text).is_err(), "{text}");
        }
        let expected = Step {
            weight: 2_500,
            hold: 600,
        };
        assert_eq!(step("25%:10m"), Ok(expected));
        assert!(step("25%").is_err() && step("25%:soon").is_err());
        let rule = |text: &str| {
            text.parse::<Guard>()
                .map(|g| (g.quantile, g.max, g.compared))
        };
        assert_eq!(rule("error_rate<1%"), Ok((None, 0.01, Compared::Absolute)));
        assert_eq!(rule("p99 < 1.5x"), Ok((Some(0.99), 1.5, Compared::Primary)));
        assert_eq!(
            rule("p999<250"),
            Ok((Some(0.999), 250.0, Compared::Absolute))
        );
        for text in ["", "p99", "p<1", "load<1", "p99<"] {
            assert!(rule(text).is_err(), "{text}");
        }
    }
}
