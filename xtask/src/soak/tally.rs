//! What came of the requests, counted by all clients together.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// No more than this many unexpected things are kept in full; all are counted.
const KEPT: usize = 25;

/// Counts of one kind of request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Answers that are as the golden example says.
    pub right: u64,
    /// Errors that were asked for, by status and code.
    pub expected: BTreeMap<String, u64>,
    /// Everything else.
    pub unexpected: u64,
}

/// All counts.
#[derive(Debug, Default)]
pub struct Tally {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<&'static str, Count>,
    messages: Vec<String>,
}

impl Tally {
    /// A right answer.
    pub fn right(&self, kind: &'static str) {
        self.inner().counts.entry(kind).or_default().right += 1;
    }

    /// An error that was asked for.
    pub fn expected(&self, kind: &'static str, what: String) {
        let mut inner = self.inner();
        let count = inner.counts.entry(kind).or_default();
        *count.expected.entry(what).or_default() += 1;
    }

    /// A wrong answer, another error, no answer.
    pub fn unexpected(&self, kind: &'static str, message: String) {
        let mut inner = self.inner();
        inner.counts.entry(kind).or_default().unexpected += 1;
        if inner.messages.len() < KEPT {
            inner.messages.push(format!("{kind}: {message}"));
        }
    }

    /// Counts by kind, and the first of the unexpected things in words.
    pub fn result(&self) -> (BTreeMap<&'static str, Count>, Vec<String>) {
        let inner = self.inner();
        (inner.counts.clone(), inner.messages.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_the_first_unexpected_things_are_told() {
        let tally = Tally::default();
        tally.right("a");
        tally.expected("b", "404 unknown_model".into());
        for n in 0..100 {
            tally.unexpected("a", format!("{n}"));
        }
        let (counts, messages) = tally.result();
        assert_eq!((counts["a"].right, counts["a"].unexpected), (1, 100));
        assert_eq!(counts["b"].expected["404 unknown_model"], 1);
        assert_eq!((messages.len(), messages[0].as_str()), (KEPT, "a: 0"));
    }
}
