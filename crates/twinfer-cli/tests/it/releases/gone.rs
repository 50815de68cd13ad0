//! A version that is in force, and that the registry no longer has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::world::{World, ask, until};
use crate::follow::server::pack;
use crate::server::get;

#[test]
fn what_is_in_force_is_served_on_when_the_registry_loses_it() {
    let mut world = World::new(&[]);
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = world.predict(["", "/versions/stable"][answered % 2]);
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert_eq!(answer.version(), Some("1.0.0"));
                answered += 1;
            }
            answered
        });
        world.place.good(&["rm", "risk:1.0.0"]);
        let waiting = || world.status()["here"]["waiting"]["code"] == "unknown_version";
        until(|| client.is_finished() || waiting());
        thread::sleep(std::time::Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        assert!(client.join().unwrap() > 0);
    });
    // It is said once, and everywhere where somebody looks.
    let broken = world.server.wait_for("deployment_broken", |_| true);
    assert_eq!(
        (&broken["name"], &broken["revision"], &broken["level"]),
        (&json!("risk"), &json!(1), &json!("error"))
    );
    assert_eq!(world.server.events("deployment_broken").len(), 1);
    let status = world.status();
    assert_eq!(status["here"]["revision"], 1, "{status:#}");
    let text = world.text(&["status", "risk"]);
    assert!(
        text.contains("broken on this server (unknown_version): `1.0.0`"),
        "{text}"
    );
    let ready = r#"twinfer_deployment_ready{model="risk"}"#;
    assert_eq!(world.metric(ready), Some(0.0));
    // It serves, so it is ready; by the name that it has lost it is not there.
    for path in ["/readyz", "/v2/health/ready", "/v2/models/risk/ready"] {
        assert_eq!(get(world.port(), path).status, 200, "{path}");
    }
    assert_eq!(world.predict("/versions/1.0.0").status, 404);
    // The next server begins with it, and says so too.
    world.restart();
    assert_eq!(world.predict("").version(), Some("1.0.0"));
    world.server.wait_for("deployment_broken", |_| true);
    assert_eq!(world.predict("").version(), Some("1.0.0"));
    // An instance that has it loaded does not need its files.
    world.place.good(&["gc"]);
    assert_eq!(world.predict("").version(), Some("1.0.0"));

    // It is back.
    assert_eq!(
        pack(&world.place, "1.0.0", "mlp", "mlp"),
        world.digest("1.0.0")
    );
    world.server.wait_for("deployment_whole", |_| true);
    assert_eq!(world.status()["here"]["waiting"], json!(null));
    assert_eq!(world.metric(ready), Some(1.0));
    assert_eq!(world.predict("/versions/1.0.0").version(), Some("1.0.0"));
    assert_eq!(world.predict("").version(), Some("1.0.0"));

    // Gone again, another version takes its place; then nobody has it any more.
    world.place.good(&["rm", "risk:1.0.0"]);
    until(|| world.server.events("deployment_broken").len() == 2);
    world.deploy(&["apply", "risk:2.0.0"]);
    world.until_in_force(2);
    assert_eq!(world.predict("").version(), Some("2.0.0"));
    let digest = format!("/versions/{}", world.digest("1.0.0"));
    until(|| world.predict(&digest).status == 404);
    // A rollback to it is not in force before it is there: the other one answers.
    world.deploy(&["rollback", "risk"]);
    let waits = |line: &serde_json::Value| line["code"] == "unknown_version";
    world.server.wait_for("deployment_waiting", waits);
    assert_eq!(world.predict("").version(), Some("2.0.0"));
    let path = "/registry/deployments/risk.json";
    assert_eq!(ask(world.port(), "GET", path, "", "").json["revision"], 2);
}
