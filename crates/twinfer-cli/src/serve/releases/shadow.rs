//! What copies of requests came to: how far the shadow's answers are from those that were given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value as Json, json};
use twinfer_host::Copied;

/// Differences that are kept to be looked at.
const LAST: usize = 10;
/// Outputs of a model that are told apart.
const OUTPUTS: usize = 64;

/// Of all models.
#[derive(Default)]
pub struct Shadows {
    models: Mutex<BTreeMap<String, Seen>>,
}

/// Of one model with one shadow.
#[derive(Default)]
struct Seen {
    /// The digest of the shadow.
    version: String,
    compared: u64,
    different: u64,
    failed: u64,
    skipped: u64,
    outputs: BTreeMap<String, Differences>,
    last: VecDeque<Json>,
}

/// Of one output.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Differences {
    /// Answers in which it was different.
    different: u64,
    /// Answers in which it was another text, another length or another kind.
    changed: u64,
    largest_absolute: f64,
    largest_relative: f64,
}

/// How far two values are from each other.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Distance {
    changed: bool,
    absolute: f64,
    relative: f64,
}

impl Shadows {
    /// Counts a copy, and gives what came of it in a word: `equal`, `different`, `failed`, `skipped`.
    pub fn add(&self, name: &str, version: &str, copied: &Copied<'_>, at: u64) -> &'static str {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = models.entry(name.to_owned()).or_default();
        if seen.version != version {
            *seen = Seen {
                version: version.to_owned(),
                ..Seen::default()
            };
        }
        let (body, copy) = match copied.copy {
            Ok(copy) if copy.status() == copied.answer.status() => {
                (copied.answer.body(), copy.body())
            }
            Err(why) if why == twinfer_host::COPY_SKIPPED => {
                seen.skipped += 1;
                return "skipped";
            }
            Ok(_) | Err(_) => {
                seen.failed += 1;
                return "failed";
            }
        };
        seen.compared += 1;
        let found = compare(body, copy);
        if found.is_empty() {
            return "equal";
        }
        seen.different += 1;
        let mut told = serde_json::Map::new();
        for (output, distance) in found {
            told.insert(output.clone(), distance.told());
            if seen.outputs.len() >= OUTPUTS && !seen.outputs.contains_key(&output) {
                continue;
            }
            let all = seen.outputs.entry(output).or_default();
            all.different += 1;
            all.changed += u64::from(distance.changed);
            all.largest_absolute = all.largest_absolute.max(distance.absolute);
            all.largest_relative = all.largest_relative.max(distance.relative);
        }
        seen.last.push_back(json!({"at": at, "outputs": told}));
        if seen.last.len() > LAST {
            seen.last.pop_front();
        }
        "different"
    }

    /// What there is to say of a model.
    pub fn told(&self, name: &str) -> Json {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = models.get(name) else {
            return Json::Null;
        };
        let outputs: BTreeMap<&String, Json> = seen
            .outputs
            .iter()
            .map(|(name, all)| {
                let told = json!({
                    "different": all.different, "changed": all.changed,
                    "largest_absolute": all.largest_absolute, "largest_relative": all.largest_relative,
                });
                (name, told)
            })
            .collect();
        json!({
            "digest": seen.version, "compared": seen.compared, "different": seen.different,
            "failed": seen.failed, "skipped": seen.skipped, "outputs": outputs, "last": seen.last,
        })
    }
}

impl Distance {
    fn told(self) -> Json {
        match self.changed {
            true => json!({"changed": true}),
            false => json!({"absolute": self.absolute, "relative": self.relative}),
        }
    }
}

/// The outputs in which two answers are different.
fn compare(answer: &[u8], copy: &[u8]) -> BTreeMap<String, Distance> {
    let changed = Distance {
        changed: true,
        ..Distance::default()
    };
    let parsed = (serde_json::from_slice(answer), serde_json::from_slice(copy));
    let (Ok(answer), Ok(copy)): (Result<Json, _>, Result<Json, _>) = parsed else {
        // Bytes are the same or not.
        let different = answer != copy;
        return different
            .then(|| ("body".to_owned(), changed))
            .into_iter()
            .collect();
    };
    let (ours, theirs) = (outputs(&answer), outputs(&copy));
    let names = ours.keys().chain(theirs.keys());
    let mut found = BTreeMap::new();
    for name in names {
        let mut distance = Distance::default();
        match (ours.get(name), theirs.get(name)) {
            (Some(a), Some(b)) => measure(a, b, &mut distance),
            _ => distance = changed,
        }
        if distance != Distance::default() {
            found.insert(name.clone(), distance);
        }
    }
    found
}

/// The outputs of an answer, by the names of its protocol: the rest of it names the version, and is
/// different in any case.
fn outputs(answer: &Json) -> BTreeMap<String, &Json> {
    let one = |name: &str, value| BTreeMap::from([(name.to_owned(), value)]);
    match (&answer["outputs"], &answer["predictions"]) {
        (Json::Array(outputs), _) => {
            let named = outputs.iter().enumerate().map(|(at, output)| {
                let name = output["name"].as_str().map(str::to_owned);
                (name.unwrap_or_else(|| at.to_string()), &output["data"])
            });
            named.collect()
        }
        (Json::Object(outputs), _) => outputs.iter().map(|(k, v)| (k.clone(), v)).collect(),
        (Json::Null, Json::Null) => one("answer", answer),
        (Json::Null, predictions) => one("predictions", predictions),
        (outputs, _) => one("outputs", outputs),
    }
}

fn measure(a: &Json, b: &Json, distance: &mut Distance) {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            let absolute = (a - b).abs();
            if absolute > 0.0 {
                distance.absolute = distance.absolute.max(absolute);
                let relative = absolute / a.abs().max(b.abs());
                distance.relative = distance.relative.max(relative);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| measure(a, b, distance));
        }
        (Json::Object(a), Json::Object(b)) if a.len() == b.len() => {
            for (name, a) in a {
                match b.get(name) {
                    Some(b) => measure(a, b, distance),
                    None => distance.changed = true,
                }
            }
        }
        (a, b) => distance.changed |= a != b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: &str, b: &str) -> BTreeMap<String, Distance> {
        compare(a.as_bytes(), b.as_bytes())
    }

    #[test]
    fn outputs_are_compared_and_nothing_else() {
        let same = between(
            r#"{"model_version": "1", "outputs": [{"name": "y", "data": [1, 2]}]}"#,
            r#"{"model_version": "2", "outputs": [{"name": "y", "data": [1, 2.0]}]}"#,
        );
        assert!(same.is_empty(), "{same:?}");
        let far = between(
            r#"{"outputs": [{"name": "y", "data": [1, 2]}, {"name": "z", "data": ["a"]}]}"#,
            r#"{"outputs": [{"name": "y", "data": [1, 4]}, {"name": "z", "data": ["b"]}]}"#,
        );
        let y = Distance {
            changed: false,
            absolute: 2.0,
            relative: 0.5,
        };
        assert_eq!(far["y"], y);
        assert!(far["z"].changed);
        assert!(between(r#"{"outputs": {"label": "cat"}}"#, r#"{"outputs": {}}"#)["label"].changed);
        assert_eq!(
            between(r#"{"predictions": [1]}"#, r#"{"predictions": [2]}"#)["predictions"].absolute,
            1.0
        );
        assert!(between("bytes", "other")["body"].changed);
        assert!(between("bytes", "bytes").is_empty());
        assert!(between("[1]", "[1, 2]")["answer"].changed);
    }
}
