//! inspect of model files, and whether models can run.

use std::fs;

use crate::support::{Place, core_model};

#[test]
fn a_model_file_is_shown_without_a_registry() {
    let place = Place::new();
    let text = place.good(&["inspect", &core_model("mlp_binary")]);
    for part in ["operators", "ai.onnx", "input", "output", "probabilit"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("runs"), "{text}");
}

#[test]
fn whether_a_file_can_run_is_said_for_each_target_with_what_it_takes() {
    let place = Place::new();
    let file = core_model("mlp_binary");
    let json = place.json(&["inspect", &file, "--can-run"]);
    let verdict = &json["can_run"];
    for target in ["native", "page", "node", "component"] {
        assert_eq!(verdict["targets"][target]["runs"], true, "{verdict:#}");
    }
    assert_eq!(verdict["missing_operators"].as_array().unwrap().len(), 0);
    let cost = &verdict["cost"];
    assert_eq!(cost["inputs"][0]["shape"][0], 1);
    // The layers of this network have as many multiply-adds as weights, without the biases.
    let weights = cost["weight_bytes"].as_u64().unwrap() / 4;
    let work = cost["multiply_adds"].as_u64().unwrap();
    assert!(
        work > 0 && work < weights && work > weights * 9 / 10,
        "{cost}"
    );
    let text = place.good(&["inspect", &file, "--can-run"]);
    assert!(text.contains("component   runs"), "{text}");
}

#[test]
fn a_model_that_cannot_run_is_described_and_ends_with_1() {
    let place = Place::new();
    let mut bytes = fs::read(core_model("mlp_binary")).unwrap();
    // The operator's name, with its length in front: not a node's name.
    let name = b"\x06MatMul";
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|&at| bytes[at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 1..at + name.len()].copy_from_slice(b"MatMad");
    }
    place.write("bad.onnx", bytes);
    let said = place.twinfer(&["inspect", "bad.onnx", "--can-run"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.out.contains("native") && said.out.contains("does not run"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("operator `MatMad` of ai.onnx"),
        "{}",
        said.out
    );
    // Once, and then what to do.
    assert!(said.out.contains("what to do"), "{}", said.out);
    let named = said.out.matches("operator `MatMad`").count();
    assert_eq!(named, 1, "{}", said.out);
    assert!(
        said.err.contains("error[unsupported_operator]"),
        "{}",
        said.err
    );
    // Packing refuses it with the same words.
    let said = place.twinfer(&["pack", "bad.onnx", "--name", "bad"]);
    assert!(
        said.err.contains("operator `MatMad` of ai.onnx"),
        "{}",
        said.err
    );
}

#[test]
fn pack_and_inspect_of_a_package_say_it_too() {
    let place = Place::new();
    let packed = place.json(&["pack", &core_model("mlp_binary"), "--name", "mlp"]);
    let work = &packed["can_run"]["cost"]["multiply_adds"];
    assert!(work.as_u64().unwrap() > 0, "{packed}");
    // To a script it says the reference, and nothing else.
    let text = place.good(&["pack", &core_model("mlp_binary"), "--name", "mlp"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let json = place.json(&["inspect", "mlp", "--can-run"]);
    assert_eq!(json["can_run"]["targets"]["page"]["runs"], true);
    assert_eq!(
        place.json(&["inspect", "mlp"])["can_run"],
        serde_json::Value::Null
    );
}
