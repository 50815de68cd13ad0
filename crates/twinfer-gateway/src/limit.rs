//! Rate limits: token buckets, and what is told of them.
//!
//! The headers are those of draft-ietf-httpapi-ratelimit-headers-10 (`RateLimit`,
//! `RateLimit-Policy`), not the older `X-RateLimit-*`: those have no definition (their reset is
//! seconds for some and a date for others), and tell of one limit only, where we have two.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};
use twinfer_state::{Rate, Taken};

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The name of the policy: `address` or `principal`.
    pub(crate) policy: &'static str,
    pub(crate) rate: Rate,
    pub(crate) taken: Taken,
}

/// Adds what the buckets said.
pub(crate) fn describe(limits: &[Limit], headers: &mut HeaderMap) {
    let (mut policies, mut states) = (String::new(), String::new());
    for limit in limits {
        let comma = if policies.is_empty() { "" } else { ", " };
        let window = limit
            .rate
            .interval
            .saturating_mul(u64::from(limit.rate.burst));
        // Writing to text cannot fail.
        let _ = write!(
            policies,
            "{comma}\"{}\";q={};w={}",
            limit.policy,
            limit.rate.burst,
            seconds(window)
        );
        let _ = write!(
            states,
            "{comma}\"{}\";r={};t={}",
            limit.policy,
            limit.taken.remaining,
            limit.taken.reset_after.div_ceil(1000)
        );
    }
    let named = [("ratelimit-policy", policies), ("ratelimit", states)];
    for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Milliseconds as seconds, rounded up, and at least one.
pub(crate) fn seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_of_both_limits() {
        let rate = Rate {
            interval: 500,
            burst: 4,
        };
        let (taken, _) = rate.take(0, 1_000);
        let limit = |policy| Limit {
            policy,
            rate,
            taken,
        };
        let mut headers = HeaderMap::new();
        describe(&[], &mut headers);
        assert!(headers.is_empty());
        describe(&[limit("address"), limit("principal")], &mut headers);
        assert_eq!(
            headers["ratelimit-policy"],
            r#""address";q=4;w=2, "principal";q=4;w=2"#
        );
        assert_eq!(
            headers["ratelimit"],
            r#""address";r=3;t=1, "principal";r=3;t=1"#
        );
    }
}
