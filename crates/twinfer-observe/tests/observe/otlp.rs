//! The bytes of an export, held to the definition of OTLP.

use serde_json::{Value as Json, json};
use twinfer_observe::{Kind, Span, SpanId, TraceContext, TraceId, Value, otlp};

use crate::proto::Schema;

fn span() -> Span {
    let trace = TraceId::new([7; 16]).unwrap();
    let mut context = TraceContext::root(trace, SpanId::new([9; 8]).unwrap(), true);
    context.state = Some("a=b".into());
    Span {
        context,
        parent: SpanId::new([8; 8]),
        parent_is_remote: true,
        name: "POST /v2/models/{model}/infer".into(),
        kind: Kind::Server,
        start: 1_764_000_000_000_000_001,
        end: 1_764_000_000_000_000_002,
        attributes: vec![
            ("http.request.method", "POST".into()),
            ("http.response.status_code", 500.into()),
            ("share", 0.5.into()),
            ("most", Value::Int(i64::MAX)),
        ],
        failed: true,
    }
}

#[test]
fn an_export_is_what_the_definition_says() {
    let resource = [("service.name".to_owned(), "faces \"1\"".to_owned())];
    let inner = Span {
        kind: Kind::Internal,
        parent_is_remote: false,
        failed: false,
        ..span()
    };
    let bytes = otlp::encode(&resource, &[span(), inner]).unwrap();
    let json: Json = serde_json::from_slice(&bytes).unwrap();
    Schema::read()
        .check("ExportTraceServiceRequest", &json)
        .unwrap();
    let spans = &json["resourceSpans"][0];
    assert_eq!(
        spans["resource"]["attributes"],
        json!([{"key": "service.name", "value": {"stringValue": "faces \"1\""}}])
    );
    let spans = &spans["scopeSpans"][0];
    assert_eq!(spans["scope"]["name"], "twinfer");
    let (server, inner) = (&spans["spans"][0], &spans["spans"][1]);
    assert_eq!(
        *server,
        json!({
            "traceId": "07".repeat(16), "spanId": "09".repeat(8), "parentSpanId": "08".repeat(8),
            "traceState": "a=b", "flags": 0x301, "name": "POST /v2/models/{model}/infer", "kind": 2,
            "startTimeUnixNano": "1764000000000000001", "endTimeUnixNano": "1764000000000000002",
            "attributes": [
                {"key": "http.request.method", "value": {"stringValue": "POST"}},
                {"key": "http.response.status_code", "value": {"intValue": "500"}},
                {"key": "share", "value": {"doubleValue": 0.5}},
                {"key": "most", "value": {"intValue": "9223372036854775807"}},
            ],
            "status": {"code": 2},
        })
    );
    assert_eq!(
        (&inner["kind"], &inner["flags"], &inner["status"]),
        (&json!(1), &json!(0x101), &json!({}))
    );
}
