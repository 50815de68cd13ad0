//! Requests whose paths name no model.

use serde_json::{Value as Json, json};

use super::control;
use super::world::{World, ask};
use crate::reload::hang_up;
use crate::support::Place;

const PREDICT: &str = "/predict-here";

/// `risk` gets all of the traffic in a version that has no memory for large numbers.
fn world(settings: &str) -> World {
    let place = Place::new();
    place.write("twinfer.toml", settings);
    let file = place.path("twinfer.toml");
    // One instance: it is known which settings answer.
    let arguments = ["--config", file.to_str().unwrap(), "--instances", "1"];
    let mut world = control::world_in(place, &arguments);
    world.deploy(&["apply", "risk:2.0.0"]);
    world.until_in_force(1);
    world
}

fn invoke(world: &World, path: &str, number: u64) -> u16 {
    let body = json!({"instances": [number]}).to_string();
    ask(world.port(), "POST", path, "", &body).status
}

/// Requests and errors that were counted for the version.
fn counted(world: &World) -> (Json, Json) {
    let seen = &world.status()["here"]["last_5_minutes"]["2.0.0"];
    (seen["requests"].clone(), seen["errors"].clone())
}

#[test]
fn a_default_model_that_is_read_again_is_counted() {
    let mut world = world("default-model = 'other'\n");
    assert_eq!(invoke(&world, "/invocations", 1), 404);
    assert_eq!(counted(&world), (json!(0), json!(0)));
    // More than an instance may have: the answer is the host's, and only the path tells of what.
    let settings = format!("default-model = 'risk'\npredict-route = '{PREDICT}'\n");
    world.place.write("twinfer.toml", settings);
    let reloaded = hang_up(&mut world.server, "settings_reloaded");
    assert_eq!(
        reloaded["changed"],
        json!(["default-model", "predict-route"])
    );
    world
        .server
        .wait_for("instance_ended", |line| line["why"] == "settings");
    let mut requests = 0;
    for path in ["/invocations", PREDICT] {
        assert_eq!(invoke(&world, path, 50_000_000), 507);
        requests += 1;
        assert_eq!(counted(&world), (json!(requests), json!(requests)));
    }
}

#[test]
fn without_a_default_model_the_answer_says_whose_it_is() {
    let world = world("");
    assert_eq!(invoke(&world, "/invocations", 1), 200);
    assert_eq!(counted(&world), (json!(1), json!(0)));
    // And where there is none, nobody is known.
    assert_eq!(invoke(&world, "/invocations", 50_000_000), 507);
    assert_eq!(counted(&world), (json!(1), json!(0)));
}
