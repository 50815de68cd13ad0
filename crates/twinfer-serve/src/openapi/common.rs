//! Schemas, answers and parameters that several operations share.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use twinfer::{DType, ErrorCode};

/// A reference to a schema of the document.
pub(crate) fn reference_to(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object that has at least these fields.
pub(crate) fn object(fields: &[(&str, Value)], required: &[&str]) -> Value {
    let mut schema = json!({"type": "object"});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let fields = fields.iter().cloned();
    schema["properties"] = fields
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    schema
}

/// A text with a meaning.
pub(crate) fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// A number of an answer; JSON has none for three of them.
pub(crate) fn number() -> Value {
    reference_to("Number")
}

/// A variable of a path.
pub(crate) fn path_parameter(name: &str, description: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "minLength": 1}, "example": example,
    })
}

/// The elements of a tensor in a request: what JSON has no number for is a text.
pub(super) fn element(dtype: DType) -> Value {
    match dtype {
        DType::F32 | DType::F64 => json!({"anyOf": [cell(dtype), words()]}),
        _ => cell(dtype),
    }
}

fn words() -> Value {
    json!({"enum": ["NaN", "Infinity", "-Infinity"]})
}

/// The values of a column of a record.
pub(super) fn cell(dtype: DType) -> Value {
    let integer = |low: i128, high: i128| {
        // Beyond what every reader of JSON has, limits would be rounded; the server has its own.
        let exact = |limit: i128| {
            i64::try_from(limit)
                .ok()
                .filter(|n| n.unsigned_abs() <= 1 << 53)
        };
        let mut schema = json!({"type": "integer"});
        if let Some(low) = exact(low) {
            schema["minimum"] = low.into();
        }
        if let Some(high) = exact(high) {
            schema["maximum"] = high.into();
        }
        schema
    };
    let float = |largest: f64| json!({"type": "number", "minimum": -largest, "maximum": largest});
    match dtype {
        DType::Bool => json!({"type": "boolean"}),
        DType::U8 => integer(0, u8::MAX.into()),
        DType::U16 => integer(0, u16::MAX.into()),
        DType::U32 => integer(0, u32::MAX.into()),
        DType::U64 => integer(0, u64::MAX.into()),
        DType::I8 => integer(i8::MIN.into(), i8::MAX.into()),
        DType::I16 => integer(i16::MIN.into(), i16::MAX.into()),
        DType::I32 => integer(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => integer(i64::MIN.into(), i64::MAX.into()),
        DType::F64 => float(f64::MAX),
        DType::String => json!({"type": "string"}),
        _ => float(f32::MAX.into()),
    }
}

/// What every document has.
pub(super) fn add_schemas(schemas: &mut Map<String, Value>) {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let error = object(
        &[
            ("error", text("What was wrong, where, and what to do.")),
            (
                "code",
                json!({"description": "Stable, for programs.", "enum": codes}),
            ),
        ],
        &["error", "code"],
    );
    schemas.insert("Error".into(), error);
    schemas.insert(
        "Number".into(),
        json!({
            "description": "A number; what JSON has none for is a text.",
            "oneOf": [{"type": "number"}, words()],
        }),
    );
}

/// Errors by status, with their codes.
pub(super) fn responses() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in ErrorCode::ALL {
        let line = format!("`{code}`: {}", code.summary());
        by_status.entry(code.http_status()).or_default().push(line);
    }
    let content = json!({"application/json": {"schema": reference_to("Error")}});
    let any = json!({"description": "An error.", "content": content});
    let mut responses = Map::from_iter([("Error".to_owned(), any)]);
    for (status, lines) in by_status {
        responses.insert(
            format!("Error{status}"),
            json!({"description": lines.join("\n\n"), "content": content}),
        );
    }
    responses
}

/// How a server that wants credentials takes them.
pub(super) fn security_schemes() -> Value {
    json!({
        "token": {"type": "http", "scheme": "bearer", "description": "An API key, a JSON web token, or the admin token."},
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key."},
    })
}
