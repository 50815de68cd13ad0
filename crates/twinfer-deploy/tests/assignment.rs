//! Who gets what: held against values of tests/python/deployment_assignment.py.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use twinfer_deploy::{Deployment, assign, bucket};

fn cases() -> Value {
    serde_json::from_str(include_str!(
        "../../../tests/data/deployment-assignment.json"
    ))
    .unwrap()
}

#[test]
fn buckets_are_those_of_the_reference() {
    let cases = cases();
    let cases = cases["buckets"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let (salt, key) = (
            case["salt"].as_str().unwrap(),
            case["key"].as_str().unwrap(),
        );
        assert_eq!(
            u64::from(bucket(salt, key)),
            case["bucket"].as_u64().unwrap(),
            "{salt:?} {key:?}"
        );
    }
}

#[test]
fn callers_are_assigned_as_in_the_reference() {
    let cases = cases();
    let cases = cases["assignments"].as_array().unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let deployment = Deployment::from_json(case["deployment"].to_string().as_bytes()).unwrap();
        for (key, variant) in case["variants"].as_object().unwrap() {
            let found = assign(&deployment, key).unwrap();
            assert_eq!(found.name, variant.as_str().unwrap(), "{key:?}");
        }
    }
}

#[test]
fn shares_are_what_the_weights_say_and_a_growing_candidate_keeps_its_callers() {
    let cases = cases();
    let mut canaries: Vec<Deployment> = cases["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| Deployment::from_json(case["deployment"].to_string().as_bytes()).unwrap())
        .filter(|deployment| !deployment.strategy.steps().is_empty())
        .collect();
    canaries.sort_by_key(|deployment| deployment.status.step);
    let mut before: Vec<String> = Vec::new();
    for canary in &canaries {
        let has = |key: &String| assign(canary, key).unwrap().name != "primary";
        let keys = (0..20_000).map(|number| format!("key {number}"));
        let with: Vec<String> = keys.filter(has).collect();
        let share = f64::from(canary.candidates().next().unwrap().weight) / 10_000.0;
        let found = with.len() as f64 / 20_000.0;
        // Four standard deviations.
        let far = 4.0 * (share * (1.0 - share) / 20_000.0).sqrt();
        assert!((found - share).abs() <= far, "{found} for {share}");
        assert!(before.iter().all(has), "at {share}");
        before = with;
    }
    assert_eq!(before.len(), 20_000);
}
