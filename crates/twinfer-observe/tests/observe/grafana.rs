//! The dashboard asks for nothing that there is not.

use std::collections::BTreeSet;

use serde_json::Value;
use twinfer_observe::catalogue::{ALL, Kind, Metric};

fn dashboard() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All strings under this name, at whatever depth.
fn strings<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if let (true, Some(text)) = (key == name, value.as_str()) {
                    found.push(text);
                }
                strings(value, name, found);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| strings(value, name, found)),
        _ => {}
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

/// The metric of a series.
fn metric(series: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| series.strip_suffix(part) == Some(metric.name)),
        _ => series == metric.name,
    })
}

#[test]
fn the_dashboard_names_metrics_and_labels_that_there_are() {
    let dashboard = dashboard();
    let (mut queries, mut variables) = (Vec::new(), Vec::new());
    strings(&dashboard, "expr", &mut queries);
    strings(&dashboard["templating"], "query", &mut variables);
    assert!(queries.len() >= 15 && !variables.is_empty());
    let mut named = BTreeSet::new();
    for query in queries.into_iter().chain(variables) {
        let ours = words(query).filter(|word| {
            ["twinfer_", "request_", "nv_", "process_"]
                .iter()
                .any(|start| word.starts_with(start))
        });
        let mut labels: BTreeSet<&str> = ["le", "job", "instance"].into();
        for word in ours {
            let found = metric(word).unwrap_or_else(|| panic!("{word} in {query} is no metric"));
            labels.extend(found.labels);
            named.insert(found.name);
        }
        // What stands in `by (…)`, and before `=` in braces, are labels.
        for part in query.split("by (").skip(1) {
            for label in words(part.split(')').next().unwrap()) {
                assert!(labels.contains(label), "{label} in {query} is no label");
            }
        }
        for part in query.split('{').skip(1) {
            let inside = part.split('}').next().unwrap();
            for matcher in inside.split(',').filter(|matcher| matcher.contains('=')) {
                let label = words(matcher).next().unwrap();
                assert!(labels.contains(label), "{label} in {query} is no label");
            }
        }
    }
    assert!(named.len() >= 15, "{named:?}");
}
