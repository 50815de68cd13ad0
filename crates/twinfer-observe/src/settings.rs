//! The standard variables of OpenTelemetry that say where traces go:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::sampler::Sampler;

/// Where traces go, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The address that batches are posted to.
    pub endpoint: String,
    /// Headers of each request, such as a key.
    pub headers: HeaderMap,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// What is known of this process: `service.name` and others.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// Spans that wait to be sent at most.
    pub queue: usize,
    /// Spans in a batch at most.
    pub batch: usize,
    /// The longest that a span waits for a batch.
    pub delay: Duration,
    /// What was asked for and is done in another way.
    pub warnings: Vec<String>,
}

/// A variable that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

impl TraceSettings {
    /// What the variables say, each as `variable` gives it. `None` where no collector is named, or
    /// traces are switched off.
    ///
    /// # Errors
    /// A value that cannot be followed, with the name of the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, value: &str| get(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let Some(endpoint) = endpoint(&get)? else {
            return Ok(None);
        };
        let mut warnings = Vec::new();
        protocol(&get, &mut warnings)?;
        let headers =
            get("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| get("OTEL_EXPORTER_OTLP_HEADERS"));
        let timeout = first(
            &get,
            [
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
            ],
            10_000,
        )?;
        let (sampler, argument) = (get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"));
        let queue: usize = first(&get, ["OTEL_BSP_MAX_QUEUE_SIZE"], 2048)?;
        let batch: usize = first(&get, ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], 512)?;
        let delay = first(&get, ["OTEL_BSP_SCHEDULE_DELAY"], 5000)?;
        Ok(Some(Self {
            endpoint,
            headers: read_headers(&headers.unwrap_or_default())?,
            timeout: Duration::from_millis(timeout),
            resource: resource(&get)?,
            sampler: Sampler::parse(sampler.as_deref(), argument.as_deref())
                .map_err(|why| SettingsError(format!("OTEL_TRACES_SAMPLER: {why}")))?,
            queue: queue.clamp(1, 1 << 20),
            batch: batch.clamp(1, queue.max(1)),
            delay: Duration::from_millis(delay),
            warnings,
        }))
    }
}

/// One for traces is taken as it is; to one for everything `v1/traces` is added.
fn endpoint(get: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, SettingsError> {
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (name, endpoint) = match (get(OWN), get(ALL)) {
        (Some(own), _) => (OWN, own),
        (None, Some(all)) => (ALL, format!("{}/v1/traces", all.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let uri = endpoint.parse::<Uri>().ok();
    let good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|h| !h.is_empty())
    });
    match good {
        true => Ok(Some(endpoint)),
        false => Err(SettingsError(format!(
            "{name}: {endpoint:?} is no address of a collector: write one such as http://127.0.0.1:4318"
        ))),
    }
}

fn protocol(
    get: &impl Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> Result<(), SettingsError> {
    let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
    let asked = get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| get(name));
    match asked.as_deref() {
        None | Some("http/json") => Ok(()),
        // The same address takes both.
        Some("http/protobuf") => {
            warnings.push(format!(
                "{name}=http/protobuf: spans are sent as http/json, which the same address takes"
            ));
            Ok(())
        }
        Some(other) => Err(SettingsError(format!(
            "{name}: {other:?} is not spoken: use http/json, usually on port 4318"
        ))),
    }
}

/// The first of these variables that is set, as a number.
fn first<T: FromStr, const N: usize>(
    get: &impl Fn(&str) -> Option<String>,
    names: [&str; N],
    default: T,
) -> Result<T, SettingsError> {
    let found = names.into_iter().find_map(|name| Some((name, get(name)?)));
    let Some((name, text)) = found else {
        return Ok(default);
    };
    let wrong = |_| {
        SettingsError(format!(
            "{name}: {text:?} is not a whole number that it can be"
        ))
    };
    text.trim().parse().map_err(wrong)
}

/// `key=value` with commas between, the values percent-encoded, as in a `baggage` header.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned())).filter(|(key, _)| !key.is_empty())
    };
    // The text may have a key in it: it is not repeated.
    let wrong = || {
        SettingsError(format!(
            "{name}: write KEY=VALUE, with commas between several, and escape what is special as %2C"
        ))
    };
    parts.map(|part| pair(part).ok_or_else(wrong)).collect()
}

fn read_headers(text: &str) -> Result<HeaderMap, SettingsError> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let mut headers = HeaderMap::new();
    for (key, value) in pairs(NAME, text)? {
        let name = HeaderName::from_bytes(key.as_bytes());
        let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(&value)) else {
            return Err(SettingsError(format!(
                "{NAME}: {key:?} is no header, or its value is none"
            )));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn resource(get: &impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, SettingsError> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut all = pairs(NAME, &get(NAME).unwrap_or_default())?;
    let mut set = |key: &str, value: String| {
        all.retain(|(known, _)| known != key);
        all.push((key.to_owned(), value));
    };
    set("telemetry.sdk.name", "twinfer".into());
    set("telemetry.sdk.language", "rust".into());
    set("telemetry.sdk.version", env!("CARGO_PKG_VERSION").into());
    if let Some(name) = get("OTEL_SERVICE_NAME") {
        set("service.name", name);
    }
    let has = |all: &[(String, String)], key: &str| all.iter().any(|(known, _)| known == key);
    if !has(&all, "service.name") {
        all.push(("service.name".into(), "twinfer".into()));
    }
    if !has(&all, "service.version") {
        all.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[(&str, &str)]) -> Result<Option<TraceSettings>, SettingsError> {
        TraceSettings::read(|name| {
            let found = all.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(
            read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]),
            Ok(None)
        );
    }

    #[test]
    fn variables_become_settings() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x = y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_SERVICE_NAME", "faces"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=other,deployment.environment=test",
            ),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://collector:4318/v1/traces");
        assert_eq!(
            (&settings.headers["api-key"], &settings.headers["x"]),
            (&"a,b".parse().unwrap(), &"y".parse().unwrap())
        );
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!((settings.queue, settings.batch), (10, 10));
        assert_eq!(settings.delay, Duration::from_millis(20));
        assert_eq!(
            settings.sampler,
            Sampler::parse(None, Some("0.25")).unwrap()
        );
        let resource = |key: &str| {
            let all: Vec<_> = settings.resource.iter().filter(|(k, _)| k == key).collect();
            assert_eq!(all.len(), 1, "{key}");
            all[0].1.clone()
        };
        assert_eq!(resource("service.name"), "faces");
        assert_eq!(resource("deployment.environment"), "test");
        assert_eq!(settings.warnings.len(), 1);
        let own = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t.example/x"),
        ]);
        assert_eq!(own.unwrap().unwrap().endpoint, "https://t.example/x");
    }

    #[test]
    fn what_cannot_be_followed_is_an_error_that_names_it() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0d"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
        ] {
            let error = read(&[ENDPOINT, (name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
