//! What the component says in headers about its answer.

use http::HeaderMap;

/// The header with the name of the model that an answer is of.
pub const MODEL: &str = "x-twinfer-model";

/// The package that answered, and where its time went.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The name of the model (`x-twinfer-model`).
    pub model: String,
    /// Its version (`x-twinfer-version`).
    pub version: String,
    /// The digest of the package (`x-twinfer-digest`).
    pub digest: Option<String>,
    /// Milliseconds for finding and, the first time, loading it.
    pub load_ms: Option<f64>,
    /// Milliseconds from there to the answer.
    pub predict_ms: Option<f64>,
    /// Of these: before the model ran, while it ran, and after it, where the component says so.
    pub preprocess_ms: Option<f64>,
    /// See [`Answered::preprocess_ms`].
    pub run_ms: Option<f64>,
    /// See [`Answered::preprocess_ms`].
    pub postprocess_ms: Option<f64>,
    /// Whether the cache of predictions had the answer (`x-twinfer-cache`), where it was asked.
    pub cache_hit: Option<bool>,
    /// Rows that the model was run for, or runs where it takes no batch (`x-twinfer-inferences`).
    pub inferences: Option<u64>,
    /// Executions of the model; those that requests share are said by one of them (`x-twinfer-executions`).
    pub executions: Option<u64>,
}

impl Answered {
    /// Reads the headers of an answer. `None` for one that is of no model.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let number = |name: &str| text(name)?.parse().ok();
        let timing = text("server-timing").unwrap_or_default();
        Some(Self {
            model: text(MODEL)?,
            version: text("x-twinfer-version")?,
            digest: text("x-twinfer-digest"),
            load_ms: duration(&timing, "load"),
            predict_ms: duration(&timing, "predict"),
            preprocess_ms: duration(&timing, "preprocess"),
            run_ms: duration(&timing, "run"),
            postprocess_ms: duration(&timing, "postprocess"),
            cache_hit: match text("x-twinfer-cache").as_deref() {
                Some("hit") => Some(true),
                Some("miss") => Some(false),
                _ => None,
            },
            inferences: number("x-twinfer-inferences"),
            executions: number("x-twinfer-executions"),
        })
    }
}

/// The duration of a metric in a `Server-Timing` header (W3C Server Timing, section 3), in
/// milliseconds.
fn duration(timing: &str, name: &str) -> Option<f64> {
    let mut metrics = timing
        .split(',')
        .map(|metric| metric.split(';').map(str::trim));
    let mut parameters =
        metrics.find_map(|mut parts| (parts.next() == Some(name)).then_some(parts))?;
    let text = parameters.find_map(|parameter| parameter.strip_prefix("dur="))?;
    let milliseconds: f64 = text.trim_matches('"').parse().ok()?;
    (milliseconds.is_finite() && milliseconds >= 0.0).then_some(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn headers_say_who_answered() {
        let mut headers = HeaderMap::new();
        assert_eq!(Answered::of(&headers), None);
        for (name, value) in [
            ("x-twinfer-model", "m"),
            ("x-twinfer-version", "1.0.0"),
            ("x-twinfer-digest", "sha256:00"),
            (
                "server-timing",
                "load;dur=0.5, predict;desc=\"x\";dur=12.25, preprocess;dur=1, run;dur=11",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let answered = Answered::of(&headers).unwrap();
        assert_eq!(
            (answered.model.as_str(), answered.version.as_str()),
            ("m", "1.0.0")
        );
        assert_eq!(answered.digest.as_deref(), Some("sha256:00"));
        assert_eq!(
            (answered.preprocess_ms, answered.run_ms),
            (Some(1.0), Some(11.0))
        );
        assert_eq!((answered.postprocess_ms, answered.cache_hit), (None, None));
        assert_eq!((answered.inferences, answered.executions), (None, None));
        headers.insert("x-twinfer-inferences", HeaderValue::from_static("5"));
        headers.insert("x-twinfer-executions", HeaderValue::from_static("-1"));
        let counted = Answered::of(&headers).unwrap();
        assert_eq!((counted.inferences, counted.executions), (Some(5), None));
        headers.insert("x-twinfer-cache", HeaderValue::from_static("hit"));
        assert_eq!(Answered::of(&headers).unwrap().cache_hit, Some(true));
        assert_eq!(
            (answered.load_ms, answered.predict_ms),
            (Some(0.5), Some(12.25))
        );
    }

    #[test]
    fn times_that_are_none_are_not_taken() {
        for timing in [
            "",
            "load",
            "load;dur",
            "load;dur=",
            "load;dur=x",
            "load;dur=NaN",
            "load;dur=-1",
            "reload;dur=1",
        ] {
            assert_eq!(duration(timing, "load"), None, "{timing}");
        }
        assert_eq!(duration("a, load;dur=1", "load"), Some(1.0));
    }
}
