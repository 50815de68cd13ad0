//! YAML as JSON: what PyYAML writes for MLflow.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value as Json};
use twinfer::{Result, bail, err};

/// How deep it may nest. MLflow needs 4; what authors add as metadata is their own.
const MAX_DEPTH: usize = 64;

/// Reads one document.
///
/// # Errors
/// `invalid_model` with the place.
pub fn parse(place: &str, text: &str) -> Result<Json> {
    check_depth(place, text)?;
    // Aliases are limited by the library: 100,000 nodes.
    let documents = Yaml::load_from_str(text).map_err(|e| malformed(place, &e))?;
    match documents.as_slice() {
        [one] => to_json(place, one),
        _ => bail!(
            InvalidModel,
            "{place} is no YAML of MLflow: it has {} documents, expected one",
            documents.len()
        ),
    }
}

fn malformed(place: &str, error: &dyn std::fmt::Display) -> twinfer::Error {
    err!(InvalidModel, "{place} is no YAML: {error}")
}

/// Before anything is built of it: what nests a million times would overflow the stack.
fn check_depth(place: &str, text: &str) -> Result<()> {
    let mut depth = 0usize;
    for event in Parser::new_from_str(text) {
        match event.map_err(|e| malformed(place, &e))?.0 {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            bail!(InvalidModel, "{place} nests more than {MAX_DEPTH} deep");
        }
    }
    Ok(())
}

fn to_json(place: &str, node: &Yaml) -> Result<Json> {
    Ok(match node {
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Json::Null,
            Scalar::Boolean(value) => Json::Bool(*value),
            Scalar::Integer(value) => Json::from(*value),
            Scalar::FloatingPoint(value) => twinfer::number_to_json(value.into_inner()),
            Scalar::String(text) => Json::String(text.to_string()),
        },
        Yaml::Sequence(items) => items
            .iter()
            .map(|item| to_json(place, item))
            .collect::<Result<_>>()?,
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match to_json(place, key)? {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                map.insert(key, to_json(place, value)?);
            }
            Json::Object(map)
        }
        // A tag is a Python object or the like: what is in it counts as text at the most.
        Yaml::Tagged(_, inner) => to_json(place, inner)?,
        Yaml::Representation(text, ..) => Json::String(text.to_string()),
        Yaml::Alias(_) | Yaml::BadValue => {
            bail!(InvalidModel, "{place} has a value that cannot be read")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_becomes_json() {
        let text = "a: '1'\nb: 2\nc: null\nd: [x, 1.5, true]\ne: &i {f: g}\nh: *i\nlong: '[{\"n\":\n  1}]'\n";
        assert_eq!(
            parse("MLmodel", text).unwrap(),
            json!({"a": "1", "b": 2, "c": null, "d": ["x", 1.5, true], "e": {"f": "g"},
                   "h": {"f": "g"}, "long": "[{\"n\": 1}]"})
        );
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let mut laughs = "a0: &a0 [x]\n".to_owned();
        for i in 1..40 {
            laughs += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1);
        }
        for text in [
            "[".repeat(100_000),
            "- ".repeat(50_000),
            "a: b: c".into(),
            "a: 1\n---\nb: 2".into(),
            String::new(),
            "a: *nothing".into(),
            laughs,
        ] {
            let error = parse("MLmodel", &text).unwrap_err();
            assert_eq!(error.code(), twinfer::ErrorCode::InvalidModel);
        }
    }
}
