//! Values of labels, which must be few: each combination is a series that stays.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Models and versions that have labels of their own. Each brings some 70 series.
pub(crate) const MAX_VERSIONS: usize = 500;
/// A model that is asked for and has never answered: any name that a client makes up.
pub(crate) const UNKNOWN: &str = "_unknown";
/// Those beyond [`MAX_VERSIONS`].
pub(crate) const OTHER: &str = "_other";

/// The models that have answered. A client cannot add to them: only what a registry has answers.
#[derive(Default)]
pub(crate) struct Models(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Models {
    /// The labels of a model that answered.
    pub(crate) fn answered<'a>(&self, model: &'a str, version: &'a str) -> (&'a str, &'a str) {
        let models = &mut *self.lock();
        if models
            .get(model)
            .is_some_and(|known| known.contains(version))
        {
            return (model, version);
        }
        if models.values().map(BTreeSet::len).sum::<usize>() >= MAX_VERSIONS {
            return (OTHER, OTHER);
        }
        let versions = models.entry(model.to_owned()).or_default();
        versions.insert(version.to_owned());
        (model, version)
    }

    /// The label of a name in a path.
    pub(crate) fn named<'a>(&self, model: &'a str) -> &'a str {
        match self.lock().contains_key(model) {
            true => model,
            false => UNKNOWN,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        // A panic while inserting leaves a map that is still valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Methods that there are; others are one.
pub(crate) fn method(method: &http::Method) -> &'static str {
    // The values of `http.request.method` in the semantic conventions of OpenTelemetry.
    const KNOWN: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_answered_has_a_label_of_its_own() {
        let models = Models::default();
        assert_eq!(models.named("made-up"), UNKNOWN);
        assert_eq!(models.answered("a", "1.0.0"), ("a", "1.0.0"));
        assert_eq!(models.named("a"), "a");
        assert_eq!(models.named("b"), UNKNOWN);
    }

    #[test]
    fn versions_are_bounded_and_known_ones_stay() {
        let models = Models::default();
        for number in 0..MAX_VERSIONS {
            let version = number.to_string();
            assert_eq!(models.answered("m", &version), ("m", version.as_str()));
        }
        assert_eq!(models.answered("m", "new"), (OTHER, OTHER));
        assert_eq!(models.answered("new", "1"), (OTHER, OTHER));
        assert_eq!(models.named("new"), UNKNOWN);
        assert_eq!(models.answered("m", "7"), ("m", "7"));
    }

    #[test]
    fn methods_are_bounded() {
        assert_eq!(method(&http::Method::POST), "POST");
        let made_up = http::Method::from_bytes(b"MADEUP").unwrap();
        assert_eq!(method(&made_up), "_OTHER");
    }
}
