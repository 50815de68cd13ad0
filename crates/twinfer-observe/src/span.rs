//! Spans: what took how long.

use crate::trace::{SpanId, TraceContext};

/// What a span stands for (`SpanKind` of `trace.proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work inside.
    Internal,
    /// Answering a request of another process.
    Server,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Where it is: its trace and its own identifier.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// Whether that one is of another process.
    pub parent_is_remote: bool,
    /// What it does, as few different names.
    pub name: String,
    /// What it stands for.
    pub kind: Kind,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// More of it, by the semantic conventions of OpenTelemetry where they have a name.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed for a reason that is not the client's.
    pub failed: bool,
}
