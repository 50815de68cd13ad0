//! The OpenTelemetry protocol over HTTP, in its JSON form.
//!
//! The fields are those of `ExportTraceServiceRequest` in
//! <https://github.com/open-telemetry/opentelemetry-proto> (1.x, `trace.proto`, `common.proto`,
//! `resource.proto`, `trace_service.proto`), written as
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding> says: names in
//! lowerCamelCase, identifiers in hexadecimal, enumerations as numbers, 64-bit integers as strings.

use serde::{Deserialize, Serialize};

use crate::span::{Kind, Span, Value};

/// The content type of a request.
pub const CONTENT_TYPE: &str = "application/json";
/// The name of what makes the spans.
const SCOPE: &str = "twinfer";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    /// 0: unset, 2: error.
    #[serde(skip_serializing_if = "is_unset")]
    code: u8,
}

fn is_unset(code: &u8) -> bool {
    *code == 0
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "intValue")]
    Int(String),
    #[serde(rename = "doubleValue")]
    Double(f64),
}

/// The body of an export of spans.
///
/// # Errors
/// A number that JSON has no form for.
pub fn encode(resource: &[(String, String)], spans: &[Span]) -> Result<Vec<u8>, serde_json::Error> {
    let attributes = resource.iter().map(|(key, value)| Attribute {
        key,
        value: AnyValue::Text(value),
    });
    serde_json::to_vec(&Request {
        resource_spans: [ResourceSpans {
            resource: Resource {
                attributes: attributes.collect(),
            },
            scope_spans: [ScopeSpans {
                scope: Scope {
                    name: SCOPE,
                    version: env!("CARGO_PKG_VERSION"),
                },
                spans: spans.iter().map(JsonSpan::of).collect(),
            }],
        }],
    })
}

impl<'a> JsonSpan<'a> {
    fn of(span: &'a Span) -> Self {
        let attributes = span.attributes.iter().map(|(key, value)| Attribute {
            key,
            value: match value {
                Value::Text(text) => AnyValue::Text(text),
                Value::Int(number) => AnyValue::Int(number.to_string()),
                Value::Float(number) => AnyValue::Double(*number),
            },
        });
        Self {
            trace_id: span.context.trace.to_string(),
            span_id: span.context.span.to_string(),
            trace_state: span.context.state.as_deref(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            flags: flags(span),
            name: &span.name,
            kind: match span.kind {
                Kind::Internal => 1,
                Kind::Server => 2,
            },
            start_time_unix_nano: span.start.to_string(),
            end_time_unix_nano: span.end.to_string(),
            attributes: attributes.collect(),
            status: Status {
                code: if span.failed { 2 } else { 0 },
            },
        }
    }
}

/// `SpanFlags`: those of the trace, and whether the parent is remote, which is known.
fn flags(span: &Span) -> u32 {
    const HAS_IS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
    u32::from(span.context.sampled()) | HAS_IS_REMOTE | remote
}

/// What a collector says of an export that it took in part: `ExportTracePartialSuccess`.
#[derive(Debug, Default, PartialEq)]
pub struct Rejected {
    /// Spans that it did not take.
    pub spans: u64,
    /// Why.
    pub message: String,
}

/// Reads the answer of a collector. What is none is taken as no complaint.
pub fn rejected(answer: &[u8]) -> Rejected {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Answer {
        partial_success: Option<Partial>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Partial {
        rejected_spans: serde_json::Value,
        error_message: String,
    }
    let answer: Answer = serde_json::from_slice(answer).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    // A string by the rules; some write a number.
    let spans = match &partial.rejected_spans {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    Rejected {
        spans: spans.unwrap_or_default(),
        message: partial.error_message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_a_collector_are_read() {
        let both = br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#;
        let expected = Rejected {
            spans: 3,
            message: "too old".into(),
        };
        assert_eq!(rejected(both), expected);
        assert_eq!(
            rejected(br#"{"partialSuccess": {"rejectedSpans": 2}}"#).spans,
            2
        );
        for none in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"partialSuccess": null}"#,
            br#"{"partialSuccess": {}}"#,
        ] {
            assert_eq!(rejected(none), Rejected::default());
        }
    }
}
