//! Messages of protocol buffers, read from their definitions, and JSON held to them.

use std::collections::BTreeMap;

use serde_json::Value;

/// The definitions of OTLP traces.
const FILES: [&str; 4] = [
    include_str!("opentelemetry-proto/trace_service.proto"),
    include_str!("opentelemetry-proto/trace.proto"),
    include_str!("opentelemetry-proto/common.proto"),
    include_str!("opentelemetry-proto/resource.proto"),
];

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    kind: String,
    repeated: bool,
}

/// The fields of each message by their names in JSON, and the values of each enumeration.
pub struct Schema {
    messages: BTreeMap<String, BTreeMap<String, Field>>,
    enums: BTreeMap<String, Vec<i64>>,
}

impl Schema {
    /// Of all definitions. Types are known by their last name: these files have no two of one name.
    pub fn read() -> Self {
        let mut schema = Self {
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in FILES {
            schema.add(file);
        }
        schema
    }

    fn add(&mut self, file: &str) {
        let mut open: Vec<(&str, String)> = Vec::new();
        for line in file.lines() {
            let line = line.split("//").next().unwrap().trim();
            let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            match words[..] {
                ["message" | "enum" | "oneof" | "service", name, "{"] => {
                    let kind = words[0];
                    if kind == "message" {
                        self.messages.insert(name.into(), BTreeMap::new());
                    }
                    open.push((kind, name.to_owned()));
                }
                // `message Empty {}`
                ["message", name, "{}"] => drop(self.messages.insert(name.into(), BTreeMap::new())),
                [.., "}"] | ["{}", ..] => drop(open.pop()),
                [
                    "reserved" | "option" | "import" | "package" | "syntax" | "rpc",
                    ..,
                ]
                | [] => {}
                ["repeated", kind, name, "=", ..] => self.field(&open, kind, name, true),
                [value, "=", number] if open.last().is_some_and(|(kind, _)| *kind == "enum") => {
                    let _ = value;
                    let number = match number.strip_prefix("0x") {
                        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
                        None => number.parse().unwrap(),
                    };
                    let name = open.last().unwrap().1.clone();
                    self.enums.entry(name).or_default().push(number);
                }
                [kind, name, "=", ..] => self.field(&open, kind, name, false),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn field(&mut self, open: &[(&str, String)], kind: &str, name: &str, repeated: bool) {
        let message = open.iter().rev().find(|(kind, _)| *kind == "message");
        let Some((_, message)) = message else { return };
        let kind = kind.rsplit('.').next().unwrap().to_owned();
        let fields = self.messages.get_mut(message).unwrap();
        fields.insert(camel(name), Field { kind, repeated });
    }

    /// Holds a JSON value to a message: every name is a field of it, every value of its type, in
    /// the form of OTLP's JSON.
    pub fn check(&self, message: &str, value: &Value) -> Result<(), String> {
        let fields = self
            .messages
            .get(message)
            .ok_or(format!("no message {message}"))?;
        let object = value
            .as_object()
            .ok_or(format!("{message}: {value} is no object"))?;
        for (name, value) in object {
            let field = fields
                .get(name)
                .ok_or(format!("{message} has no field {name}"))?;
            let values = match (field.repeated, value) {
                (true, Value::Array(values)) => values.iter().collect(),
                (true, _) => return Err(format!("{message}.{name} is no list")),
                (false, value) => vec![value],
            };
            for value in values {
                self.check_value(&format!("{message}.{name}"), &field.kind, value)?;
            }
        }
        Ok(())
    }

    fn check_value(&self, at: &str, kind: &str, value: &Value) -> Result<(), String> {
        let hex = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let good = match kind {
            // Identifiers are in hexadecimal, which is OTLP's own rule; the only other bytes are
            // values that we have not.
            "bytes" => value.as_str().is_some_and(|text| {
                let length = if at.ends_with(".traceId") { 32 } else { 16 };
                at.ends_with("Id") && text.len() == length && hex(text)
            }),
            "string" => value.is_string(),
            "bool" => value.is_boolean(),
            "double" => value.is_number(),
            "fixed32" | "uint32" | "int32" => {
                value.as_u64().is_some_and(|n| u32::try_from(n).is_ok())
            }
            "fixed64" | "uint64" => value
                .as_str()
                .is_some_and(|text| text.parse::<u64>().is_ok()),
            "int64" => value
                .as_str()
                .is_some_and(|text| text.parse::<i64>().is_ok()),
            other => match self.enums.get(other) {
                Some(numbers) => value
                    .as_i64()
                    .is_some_and(|number| numbers.contains(&number)),
                None => return self.check(other, value),
            },
        };
        good.then_some(())
            .ok_or(format!("{at}: {value} is no {kind}"))
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |text, word| {
        let (head, tail) = word.split_at(1);
        text + &head.to_uppercase() + tail
    })
}

#[test]
fn the_definitions_are_read() {
    let schema = Schema::read();
    let span = &schema.messages["Span"];
    assert_eq!(span["traceId"].kind, "bytes");
    assert_eq!(span["startTimeUnixNano"].kind, "fixed64");
    assert!(span["attributes"].repeated && span["kind"].kind == "SpanKind");
    assert_eq!(schema.enums["SpanKind"], [0, 1, 2, 3, 4, 5]);
    assert_eq!(schema.enums["StatusCode"], [0, 1, 2]);
    assert_eq!(schema.messages["AnyValue"]["intValue"].kind, "int64");
    assert_eq!(
        schema.messages["ExportTraceServiceRequest"]["resourceSpans"].kind,
        "ResourceSpans"
    );
}

#[test]
fn what_does_not_fit_is_found() {
    let schema = Schema::read();
    let span = |json: Value| schema.check("Span", &json);
    let id = "00f067aa0ba902b7";
    span(serde_json::json!({"spanId": id, "kind": 2, "startTimeUnixNano": "1"})).unwrap();
    for wrong in [
        serde_json::json!({"span_id": id}),
        serde_json::json!({"spanId": "AAAA"}),
        serde_json::json!({"spanId": id.to_uppercase()}),
        serde_json::json!({"kind": "SPAN_KIND_SERVER"}),
        serde_json::json!({"kind": 9}),
        serde_json::json!({"startTimeUnixNano": 1}),
        serde_json::json!({"attributes": {}}),
        serde_json::json!({"attributes": [{"key": "a", "value": {"text": "b"}}]}),
        serde_json::json!({"attributes": [{"key": "a", "value": {"intValue": 1}}]}),
    ] {
        assert!(span(wrong.clone()).is_err(), "{wrong}");
    }
}
