//! pack of a bare model file, unpack, diff.

use std::fs;

use serde_json::json;

use crate::support::{Place, core_model, floats, npy, sample};

/// The model file of the face detector.
fn detector() -> Vec<u8> {
    fs::read(format!("{}/version-RFB-320.onnx", sample("face-detector"))).unwrap()
}

#[test]
fn a_bare_model_file_becomes_a_package() {
    let place = Place::new();
    place.write(
        "My Model_v2.onnx",
        fs::read(core_model("mlp_binary")).unwrap(),
    );
    let printed = place.good(&["pack", "My Model_v2.onnx"]);
    assert!(
        printed.starts_with("my-model-v2:0.1.0@sha256:"),
        "{printed}"
    );
    let printed = place.good(&[
        "pack",
        "My Model_v2.onnx",
        "--name",
        "risk",
        "--model-version",
        "1.0.0",
    ]);
    assert!(printed.starts_with("risk:1.0.0@sha256:"), "{printed}");
    let inspected = place.json(&["inspect", "risk"]);
    assert_eq!(
        inspected["config"]["signature"]["inputs"][0]["dtype"],
        "FP32"
    );
    assert_eq!(
        inspected["provenance"]["inputs"][0]["name"],
        "My Model_v2.onnx"
    );
    place.bad(&["pack", "nothing.onnx"], "invalid_recipe", 1);
    place.write("日本.onnx", fs::read(core_model("mlp_binary")).unwrap());
    place.bad(&["pack", "日本.onnx"], "invalid_reference", 1);
    place.bad(
        &["pack", &sample("tumour-risk-mlp"), "--name", "x"],
        "invalid_recipe",
        1,
    );
}

#[test]
fn a_starter_recipe_can_be_packed() {
    let place = Place::new();
    place.write("net.onnx", fs::read(core_model("mlp_binary")).unwrap());
    place.good(&["pack", "net.onnx", "--write-recipe", "recipes/net"]);
    assert!(!place.path("registry").exists());
    let text = fs::read_to_string(place.path("recipes/net/twinfer.toml")).unwrap();
    assert!(text.contains("#   input  X FP32 [?, 30]"), "{text}");
    let printed = place.good(&["pack", "recipes/net"]);
    assert!(printed.starts_with("net:0.1.0@sha256:"), "{printed}");
    // Nothing is overwritten.
    place.bad(
        &["pack", "net.onnx", "--write-recipe", "recipes/net"],
        "storage",
        4,
    );
    assert_eq!(fs::read_dir(place.path("recipes")).unwrap().count(), 1);
}

#[test]
fn what_was_packed_is_unpacked() {
    let place = Place::new();
    place.pack("face-detector");
    place.good(&["unpack", "face-detector:1.0.0", "out"]);
    let inspected = place.json(&["inspect", "face-detector"]);
    let layers = inspected["manifest"]["layers"].as_array().unwrap();
    assert!(layers.len() > 10, "{layers:?}");
    for layer in layers {
        let name = layer["annotations"]["org.cncf.model.filepath"]
            .as_str()
            .unwrap();
        let blob = place.blob(layer["digest"].as_str().unwrap());
        assert_eq!(
            fs::read(place.path("out").join(name)).unwrap(),
            fs::read(blob).unwrap()
        );
    }
    // The unpacked model runs, and joined it is the file that was packed.
    place.write(
        "x.npy",
        npy("<f4", "(1, 3, 240, 320)", &floats(3 * 240 * 320)),
    );
    for (model, to) in [("out/model.onnx", "a"), ("face-detector", "b")] {
        place.good(&["run", model, "--input", "input=x.npy", "--output-dir", to]);
    }
    let scores = |folder: &str| fs::read(place.path(folder).join("scores.npy")).unwrap();
    assert_eq!(scores("a"), scores("b"));
    let said = place.json(&["unpack", "face-detector", "joined", "--join"]);
    assert!(!said["files"].to_string().contains("weights/"), "{said}");
    assert!(!place.path("joined/weights").exists());
    assert_eq!(
        fs::read(place.path("joined/model.onnx")).unwrap(),
        detector()
    );
    place.bad(&["unpack", "face-detector", "out"], "storage", 4);
}

#[test]
fn diff_says_what_is_loaded_and_what_breaks() {
    let place = Place::new();
    place.pack("tumour-risk");
    place.pack("tumour-risk-mlp");
    let same = place.json(&["diff", "tumour-risk", "tumour-risk:1.0.0"]);
    assert_eq!(same["layers"], json!([]));
    assert_eq!(same["to_load"], json!({"parts": 0, "bytes": 0}));
    assert_eq!(same["breaking"], false);
    let other = place.json(&["diff", "tumour-risk", "tumour-risk-mlp"]);
    assert_eq!(other["breaking"], true);
    let metric = |path: &str| {
        let metrics = other["metrics"].as_array().unwrap().iter();
        metrics.clone().find(|m| m["path"] == path).unwrap()["old"].clone()
    };
    assert_eq!(metric("test.accuracy"), 0.965);
    let text = place.good(&["diff", "tumour-risk", "tumour-risk-mlp"]);
    for part in [
        "to load",
        "breaking",
        "changed  model.onnx",
        "test.accuracy ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
