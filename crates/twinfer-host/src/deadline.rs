//! How long a client waits for its answer, as it says itself.
//!
//! Two headers say so. `X-Request-Timeout` is for people and clients: seconds (`2`, `0.25`), or a
//! number with its unit (`250ms`, `2s`). `x-envoy-expected-rq-timeout-ms` is what Envoy, and with
//! it Istio and Knative, sends to the servers behind it: milliseconds until it gives up by itself.
//! Both are durations and not points in time, because no two clocks are the same. Where both are
//! there, the shorter one counts: neither of the two waits longer than that.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::reply::{Failure, ReplyCode};

/// The header of clients, and of the host towards the component.
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
/// Envoy's.
const EXPECTED_MS: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// Longer is no limit: the host's own are shorter, and a point in time is never out of range.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// When the client stops waiting, if it says so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Who asks waits as long as it takes.
    pub(crate) const NONE: Self = Self(None);

    /// As the headers of a request say that arrived at `arrived`.
    ///
    /// # Errors
    /// `invalid_request` for a header that is no duration: a client that says something else than
    /// it means would be cut off, or be waited for in vain, without knowing why.
    pub(crate) fn of(headers: &HeaderMap, arrived: Instant) -> Result<Self, Failure> {
        let own = headers.get_all(REQUEST_TIMEOUT).iter().map(|value| {
            let help = "it is seconds (2, 0.25) or has a unit (250ms, 2s), and is more than 0";
            let wrong = || wrong(&REQUEST_TIMEOUT, value, help);
            value.to_str().ok().and_then(duration).ok_or_else(wrong)
        });
        let envoys = headers.get_all(EXPECTED_MS).iter().map(|value| {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            let number = number.ok_or_else(|| wrong(&EXPECTED_MS, value, "it is milliseconds"))?;
            // Envoy's word for "as long as it takes".
            Ok(if number == 0 {
                LONGEST
            } else {
                Duration::from_millis(number)
            })
        });
        let mut shortest: Option<Duration> = None;
        for wait in own.chain(envoys) {
            let wait = wait?.min(LONGEST);
            shortest = Some(shortest.map_or(wait, |known| known.min(wait)));
        }
        Ok(Self(shortest.map(|wait| arrived + wait)))
    }

    /// The earlier one of this and another point in time.
    pub(crate) fn or_at(self, other: Instant) -> Instant {
        self.0.map_or(other, |own| own.min(other))
    }

    /// Whether nobody waits any more.
    pub(crate) fn passed(self, now: Instant) -> bool {
        self.0.is_some_and(|own| own <= now)
    }

    /// What a client gets, or rather does not get, after it.
    pub(crate) fn failure(doing: &str) -> Failure {
        Failure::new(
            ReplyCode::Timeout,
            format!("the time that the request gave itself passed while {doing}"),
        )
    }
}

/// Tells the component how long it has: one header in one form, and none of the client's.
pub(crate) fn hand_on(headers: &mut HeaderMap, left: Duration) {
    headers.remove(EXPECTED_MS);
    if let Ok(value) = HeaderValue::from_str(&format!("{:.3}", left.as_secs_f64())) {
        headers.insert(REQUEST_TIMEOUT, value);
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    // Neither signs nor exponents, nor the words that a float may be.
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| plain)? * unit;
    let wait = Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok()?;
    (!wait.is_zero()).then_some(wait)
}

fn wrong(name: &HeaderName, value: &HeaderValue, help: &str) -> Failure {
    let value = String::from_utf8_lossy(value.as_bytes());
    let shown: String = value.chars().take(40).collect();
    Failure::new(
        ReplyCode::InvalidRequest,
        format!("the header {name} is {shown:?}: {help}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(headers: &[(&HeaderName, &str)]) -> Result<Option<u128>, ReplyCode> {
        let arrived = Instant::now();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let deadline = Deadline::of(&map, arrived).map_err(|failure| failure.code())?;
        Ok(deadline.0.map(|at| (at - arrived).as_millis()))
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("2", Some(2000)),
            ("0.25", Some(250)),
            ("250ms", Some(250)),
            ("2s", Some(2000)),
            ("1.5ms", Some(1)),
            ("99999999999999999999", Some(LONGEST.as_millis())),
            ("0", None),
            ("0ms", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("inf", None),
            ("NaN", None),
            ("", None),
            ("s", None),
            (".", None),
            ("1m", None),
            ("1 s", None),
            ("1, 2", None),
        ] {
            let read = milliseconds(&[(&REQUEST_TIMEOUT, text)]);
            let expected = expected.map(Some).ok_or(ReplyCode::InvalidRequest);
            assert_eq!(read, expected, "{text:?}");
        }
    }

    #[test]
    fn the_shortest_counts() {
        assert_eq!(milliseconds(&[]), Ok(None));
        let (own, envoys) = (&REQUEST_TIMEOUT, &EXPECTED_MS);
        assert_eq!(milliseconds(&[(own, "2"), (envoys, "500")]), Ok(Some(500)));
        assert_eq!(
            milliseconds(&[(own, "1"), (envoys, "1500")]),
            Ok(Some(1000))
        );
        assert_eq!(milliseconds(&[(own, "3"), (own, "1")]), Ok(Some(1000)));
        assert_eq!(milliseconds(&[(own, "3"), (envoys, "0")]), Ok(Some(3000)));
        let wrong = milliseconds(&[(envoys, "0.5")]);
        assert_eq!(wrong, Err(ReplyCode::InvalidRequest));
    }

    #[test]
    fn the_component_is_told_in_one_form() {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_MS, HeaderValue::from_static("1"));
        headers.append(REQUEST_TIMEOUT, HeaderValue::from_static("1"));
        headers.append(REQUEST_TIMEOUT, HeaderValue::from_static("2"));
        hand_on(&mut headers, Duration::from_millis(1250));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[REQUEST_TIMEOUT], "1.250");
    }
}
