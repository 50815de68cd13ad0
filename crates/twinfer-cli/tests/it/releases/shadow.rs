//! Shadows: copies of requests, whose answers are compared.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::world::World;
use crate::server::PATIENCE;

#[test]
fn differences_of_a_shadow_are_counted_and_nobody_notices() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.deploy(&["apply", "risk:2.0.0", "--shadow", "100%"]);
    world.until_in_force(2);
    let begin = Instant::now();
    let shadow = loop {
        let answer = world.predict("");
        assert_eq!((answer.status, answer.version()), (200, Some("1.0.0")));
        let told = world.status()["here"]["shadow"].clone();
        if told["compared"].as_u64().unwrap_or(0) >= 5 {
            break told;
        }
        assert!(begin.elapsed() < PATIENCE, "{told:#}");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(shadow["digest"], world.digest("2.0.0"));
    assert_eq!(
        (&shadow["failed"], &shadow["different"]),
        (&json!(0), &shadow["compared"])
    );
    let expected = |model| crate::follow::server::expected(model);
    let far = (expected("mlp") - expected("forest")).abs();
    let found = shadow["outputs"]["probabilities"]["largest_absolute"].as_f64();
    assert!((found.unwrap() - far).abs() < 1e-4, "{shadow:#}");
    assert!(!shadow["last"].as_array().unwrap().is_empty());
    let counted = |outcome| {
        let labels = format!(r#"{{model="risk",outcome="{outcome}",version="2.0.0"}}"#);
        world.metric(&format!("twinfer_shadow_requests_total{labels}"))
    };
    assert!(counted("different") >= shadow["different"].as_f64());
    assert_eq!(
        (counted("equal"), counted("failed")),
        (Some(0.0), Some(0.0))
    );
    // The one that is copied to is not asked twice.
    let answer = world.predict("/versions/2.0.0");
    assert_eq!(answer.version(), Some("2.0.0"));
    // What was a shadow can be released.
    world.deploy(&["promote", "risk"]);
    world.until_in_force(3);
    assert_eq!(world.predict("").version(), Some("2.0.0"));
}
