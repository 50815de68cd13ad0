//! Canaries that move by themselves: forward, and back.

use std::time::Instant;

use serde_json::Value as Json;

use super::world::{Answer, World, ask, until};
use crate::onnx_file::{Type, file, identity};
use crate::server::PATIENCE;
use crate::support::Place;

const INT64: u64 = 7;
const FLOAT: u64 = 1;

/// `risk` in two versions: one gives back what it is sent, the other makes as many numbers as it is
/// told. With small numbers both are fine; with larger ones the second is slow, or has no memory.
pub fn world() -> World {
    world_in(Place::new(), &[])
}

/// The same in a place where there is something already.
pub fn world_in(place: Place, arguments: &[&str]) -> World {
    let tensor = Type::Tensor(INT64);
    let fill = file("", "ConstantOfShape", None, &tensor, &Type::Unshaped(FLOAT));
    let digests = [("1.0.0", identity(&tensor)), ("2.0.0", fill)].map(|(version, model)| {
        place.write("risk/model.onnx", model);
        let recipe = format!(
            "[package]\nname = \"risk\"\nversion = \"{version}\"\n\
             created = \"2026-11-25T00:00:00Z\"\n[model]\nfile = \"model.onnx\"\n"
        );
        place.write("risk/twinfer.toml", recipe);
        let packed = place.json(&["pack", "risk", "--no-self-test"]);
        (
            version.to_owned(),
            packed["digest"].as_str().unwrap().to_owned(),
        )
    });
    let arguments = [&["--memory", "128"], arguments].concat();
    World::of(place, digests.to_vec(), &arguments)
}

fn infer(world: &World, number: u64) -> Answer {
    let body = format!(
        r#"{{"inputs": [{{"name": "x", "datatype": "INT64", "shape": [1], "data": [{number}]}}]}}"#
    );
    ask(world.port(), "POST", "/v2/models/risk/infer", "", &body)
}

/// Asks until the release is at its end, and gives what is said of it then.
fn until_over(world: &World, number: u64) -> Json {
    let begin = Instant::now();
    loop {
        for _ in 0..10 {
            infer(world, number);
        }
        let status = world.status();
        if status["phase"] == "promoted" {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "{status:#}");
    }
}

#[test]
fn a_canary_that_holds_promotes_itself() {
    let mut world = world();
    world.deploy(&["apply", "risk:1.0.0"]);
    world.deploy(&[
        "apply",
        "risk:2.0.0",
        "--breaking",
        "--canary",
        "20%:1s,60%:1s",
        "--guard",
        "error_rate<50%",
        "--guard",
        "p90<60000",
        "--min-requests",
        "3",
    ]);
    let status = until_over(&world, 2);
    let variants = status["deployment"]["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 1);
    assert_eq!(
        (&variants[0]["version"], &variants[0]["weight"]),
        (&"2.0.0".into(), &10_000.into())
    );
    let events = status["events"].as_array().unwrap();
    let actions: Vec<&str> = events.iter().filter_map(|e| e["action"].as_str()).collect();
    assert_eq!(actions, ["apply", "apply", "advance", "promote"]);
    assert_eq!(events[3]["by"], "controller");
    assert!(
        events[3]["reason"]
            .as_str()
            .unwrap()
            .contains("every guardrail held")
    );
    let revision = status["deployment"]["revision"].as_u64().unwrap();
    world.until_in_force(revision);
    assert_eq!(infer(&world, 2).header("x-twinfer-version"), Some("2.0.0"));
}

/// Half of the callers for an hour, while this holds.
fn begin_canary(world: &mut World, guard: &str) {
    world.deploy(&[
        "apply",
        "risk:2.0.0",
        "--breaking",
        "--canary",
        "50%:1h",
        "--guard",
        guard,
        "--min-requests",
        "3",
    ]);
    world.until_in_force(2);
}

#[test]
fn a_canary_that_fails_is_rolled_back() {
    let mut world = world();
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    let path = "/registry/deployments/risk.json";
    let before = ask(world.port(), "GET", path, "", "").body;
    begin_canary(&mut world, "error_rate<20%");
    let share = |version| {
        let labels = format!(r#"{{model="risk",variant="{version}",version="{version}"}}"#);
        world.metric(&format!("twinfer_deployment_traffic_ratio{labels}"))
    };
    until(|| share("2.0.0") == Some(0.5));
    assert_eq!(share("1.0.0"), Some(0.5));
    let rolled_back =
        r#"twinfer_deployment_changes_total{action="rollback",by="controller",model="risk"}"#;
    assert_eq!(world.metric(rolled_back), Some(0.0));
    // More than an instance may have.
    let status = until_over(&world, 50_000_000);
    let events = status["events"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["action"], &last["by"]),
        (&"rollback".into(), &"controller".into())
    );
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.contains("the error rate of `2.0.0`"), "{reason}");
    world.until_in_force(1);
    assert_eq!(ask(world.port(), "GET", path, "", "").body, before);
    assert_eq!(infer(&world, 50_000_000).status, 200);
    assert_eq!(world.metric(rolled_back), Some(1.0));
    let looked = |outcome| {
        let labels = format!(r#"{{model="risk",outcome="{outcome}"}}"#);
        world.metric(&format!("twinfer_deployment_evaluations_total{labels}"))
    };
    assert_eq!(looked("rollback"), Some(1.0));
    until(|| world.metric(r#"twinfer_deployment_revision{model="risk"}"#) == Some(1.0));
    // What is no more has no series.
    let series =
        r#"twinfer_deployment_traffic_ratio{model="risk",variant="2.0.0",version="2.0.0"}"#;
    assert_eq!(world.metric(series), None);
}

#[test]
fn a_canary_that_is_slow_is_rolled_back() {
    let mut world = world();
    world.deploy(&["apply", "risk:1.0.0"]);
    begin_canary(&mut world, "p50<3x");
    let status = until_over(&world, 300_000);
    let events = status["events"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(last["action"], "rollback");
    let reason = last["reason"].as_str().unwrap();
    assert!(
        reason.contains("quantile of the latency (ms) of `2.0.0`"),
        "{reason}"
    );
}

#[test]
fn a_paused_canary_waits_for_somebody() {
    let mut world = world();
    world.deploy(&["apply", "risk:1.0.0"]);
    world.deploy(&[
        "apply",
        "risk:2.0.0",
        "--breaking",
        "--canary",
        "20%:0s,40%:1h",
    ]);
    world
        .server
        .wait_for("deployment", |line| line["action"] == "advance");
    let told = world.deploy(&["pause", "risk", "--reason", "lunch"]);
    assert_eq!(told["phase"], "paused");
    let told = world.deploy(&["resume", "risk"]);
    assert_eq!(
        (&told["phase"], &told["deployment"]["status"]["step"]),
        (&"progressing".into(), &1.into())
    );
    let text = world.text(&["status", "risk"]);
    assert!(
        text.contains("step 2 of 2") && text.contains("lunch"),
        "{text}"
    );
}
