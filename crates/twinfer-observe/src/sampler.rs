//! Which traces are recorded.

use crate::trace::TraceId;

/// Decides by the trace alone, so that all who take part decide alike (`TraceIdRatioBased` of the
/// OpenTelemetry specification), and follows whoever began the trace unless told not to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of the traces that begin here.
    ratio: f64,
    /// Whether the flag of a trace that began elsewhere counts.
    follows_parent: bool,
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Self {
            ratio: 1.0,
            follows_parent: true,
        }
    }
}

impl Sampler {
    /// That of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`. An argument without a sampler
    /// is a ratio.
    ///
    /// # Errors
    /// A sampler that there is not, or a ratio that is not from 0 to 1: a sentence that says so.
    pub fn parse(name: Option<&str>, argument: Option<&str>) -> Result<Self, String> {
        let name = name.unwrap_or(match argument {
            Some(_) => "parentbased_traceidratio",
            None => "parentbased_always_on",
        });
        let (rest, follows_parent) = match name.strip_prefix("parentbased_") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let ratio = match rest {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio(argument.unwrap_or("1"))?,
            _ => {
                return Err(format!(
                    "the sampler {name:?} is none of always_on, always_off, traceidratio, and these after `parentbased_`"
                ));
            }
        };
        Ok(Self {
            ratio,
            follows_parent,
        })
    }

    /// Whether a trace is recorded. `parent`: the flag of whoever began it, if that was not us.
    pub fn takes(&self, trace: TraceId, parent: Option<bool>) -> bool {
        if let (Some(parent), true) = (parent, self.follows_parent) {
            return parent;
        }
        // Of 63 bits, as the SDKs have it.
        let limit = self.ratio * (1u64 << 63) as f64;
        self.ratio >= 1.0 || ((trace.chance() >> 1) as f64) < limit
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.trim().parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("{text:?} is no sampling ratio: write a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(last: u64) -> TraceId {
        let mut bytes = [1; 16];
        bytes[8..].copy_from_slice(&last.to_be_bytes());
        TraceId::new(bytes).unwrap()
    }

    #[test]
    fn ratios_split_the_traces() {
        let half = Sampler::parse(None, Some("0.5")).unwrap();
        let step = u64::MAX / 1000;
        let taken = (0..1000)
            .filter(|n| half.takes(trace(n * step), None))
            .count();
        assert_eq!(taken, 500);
        for (argument, expected) in [("0", 0), ("1", 1000), ("0.25", 250)] {
            let sampler = Sampler::parse(Some("traceidratio"), Some(argument)).unwrap();
            let taken = (0..1000)
                .filter(|n| sampler.takes(trace(n * step), None))
                .count();
            assert_eq!(taken, expected, "{argument}");
        }
    }

    #[test]
    fn whoever_began_a_trace_decides_unless_told_otherwise() {
        let none = Sampler::parse(Some("parentbased_always_off"), None).unwrap();
        assert!(none.takes(trace(1), Some(true)));
        assert!(!none.takes(trace(1), None));
        let all = Sampler::default();
        assert!(!all.takes(trace(1), Some(false)));
        assert!(all.takes(trace(u64::MAX), None));
        let own = Sampler::parse(Some("always_on"), None).unwrap();
        assert!(own.takes(trace(1), Some(false)));
    }

    #[test]
    fn what_is_no_sampler_is_said() {
        for (name, argument) in [
            (Some("sometimes"), None),
            (Some("parentbased_jaeger_remote"), None),
            (None, Some("1.5")),
            (None, Some("-0.1")),
            (None, Some("NaN")),
            (Some("traceidratio"), Some("half")),
        ] {
            assert!(
                Sampler::parse(name, argument).is_err(),
                "{name:?} {argument:?}"
            );
        }
    }
}
