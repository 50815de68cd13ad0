//! What one request was.

use std::time::Duration;

use http::Method;

use crate::answered::Answered;
use crate::route::Matched;

/// A request, before it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Where its path leads.
    pub matched: Matched<'a>,
}

impl<'a> Asked<'a> {
    /// That of a method and a path without a query.
    pub fn new(method: &'a Method, path: &'a str) -> Self {
        let matched = Matched::of(path);
        Self { method, matched }
    }

    /// The method where it is one that there is, else `_OTHER`: a label with few values.
    pub fn method_label(&self) -> &'static str {
        crate::labels::method(self.method)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// With an answer of this status, from this package if from one.
    Answer(u16, Option<&'a Answered>),
    /// The client went away before there was one.
    Canceled,
}

impl Outcome<'_> {
    /// The HTTP status; 499 where the client went away, as nginx has it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            Self::Canceled => 499,
        }
    }
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// What was asked.
    pub asked: Asked<'a>,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// How long it waited for an instance, where somebody knows.
    pub queue: Option<Duration>,
    /// From its head to its answer.
    pub total: Duration,
}
