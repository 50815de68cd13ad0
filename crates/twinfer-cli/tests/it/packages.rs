//! pack, ls, inspect, verify.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Place, core_model, sample};

#[test]
fn all_sample_models_pack_and_verify() {
    let place = Place::new();
    for model in [
        "face-detector",
        "file-type",
        "tumour-risk",
        "tumour-risk-mlp",
        "tumour-risk-forest",
    ] {
        let printed = place.good(&["pack", &sample(model)]);
        assert!(
            printed.starts_with(&format!("{model}:1.0.0@sha256:")) && printed.lines().count() == 1,
            "{printed}"
        );
        // Again: the same, without a change.
        assert_eq!(place.good(&["pack", &sample(model)]), printed);
    }
    let packages = place.json(&["ls"]);
    assert_eq!(packages["packages"].as_array().unwrap().len(), 5);
    assert_eq!(
        place.json(&["ls", "file-type"])["packages"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    place.bad(&["ls", "nobody"], "unknown_model", 1);
    assert_eq!(place.good(&["verify"]).matches("ok  ").count(), 5);
    let report = place.json(&["verify", "file-type"]);
    assert!(
        report[0]["self_test"]["passed"].as_u64().unwrap() >= 141,
        "{report}"
    );
    assert_eq!(report[0]["self_test"]["failed"], 0);
}

#[test]
fn inspect_shows_signature_layers_sizes_digests_and_licence() {
    let place = Place::new();
    let digest = place.pack("face-detector");
    let text = place.good(&["inspect", "face-detector"]);
    for part in [
        &digest,
        "MIT",
        "input  FP32 [1, 3, 240, 320]",
        "model.onnx",
        "505.0 kB",
        "weights/6abb0b5580e74bcc.bin",
        "picture",
        "boxes",
        "golden examples",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let json = place.json(&["inspect", &format!("face-detector@{digest}")]);
    assert_eq!(json["digest"], digest);
    assert_eq!(
        json["config"]["signature"]["inputs"][0]["shape"],
        json!([1, 3, 240, 320])
    );
    assert_eq!(json["model_pack"]["descriptor"]["licenses"], json!(["MIT"]));
}

#[test]
fn a_version_is_exchanged_only_by_force() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    let first = place.good(&["pack", "recipe"]);
    place.write("recipe/README.md", "other");
    let error = place.bad(&["pack", "recipe"], "version_exists", 1);
    assert!(error.contains("raise the version"), "{error}");
    let second = place.good(&["pack", "recipe", "--force"]);
    assert_ne!(first, second);
    // The old one is still there, under its digest.
    place.good(&["inspect", first.trim()]);
}

#[test]
fn references_that_lead_nowhere() {
    let place = Place::new();
    place.bad(&["inspect", "face-detector"], "storage", 4);
    let digest = place.pack("tumour-risk-mlp");
    assert!(
        place
            .bad(&["inspect", "nobody"], "unknown_model", 1)
            .contains("tumour-risk-mlp")
    );
    assert!(
        place
            .bad(&["inspect", "tumour-risk-mlp:2.0.0"], "unknown_version", 1)
            .contains("1.0.0")
    );
    place.bad(&["inspect", "tumour-risk-mlp:stable"], "unknown_version", 1);
    place.bad(
        &["inspect", &format!("other@{digest}")],
        "unknown_version",
        1,
    );
    let zeros = "0".repeat(64);
    place.bad(
        &[
            "predict",
            &format!("tumour-risk-mlp@sha256:{zeros}"),
            "--input",
            "a=b",
        ],
        "unknown_version",
        1,
    );
}

#[test]
fn a_changed_cut_or_missing_layer() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    place.pack("tumour-risk");
    let predict = ["predict", "tumour-risk-mlp", "--input", "record={}"];
    for layer in ["model.onnx", "twinfer.json", "golden.json"] {
        let path = place.blob(&place.layer("tumour-risk-mlp", layer));
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 3] ^= 1;
        for (content, code) in [
            (Some(flipped), "digest_mismatch"),
            (Some(good[..good.len() - 1].to_vec()), "size_mismatch"),
            (None, "missing_blob"),
        ] {
            match &content {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let said = place.twinfer(&["verify"]);
            assert_eq!(said.code, Some(3), "{}", said.err);
            assert!(
                said.err
                    .starts_with(&format!("error[{code}]: 1 of 2 packages")),
                "{}",
                said.err
            );
            assert!(said.err.contains(layer), "{}", said.err);
            assert!(
                said.out.contains("ok      tumour-risk:1.0.0")
                    && said
                        .out
                        .contains(&format!("FAILED  tumour-risk-mlp:1.0.0  {code}")),
                "{}",
                said.out
            );
            place.bad(&["inspect", "tumour-risk-mlp"], code, 3);
            // The golden examples are not read to predict.
            if layer != "golden.json" {
                place.bad(&predict, code, 3);
                place.bad(&["run", "tumour-risk-mlp", "--output-dir", "out"], code, 3);
            }
        }
        fs::write(&path, good).unwrap();
        place.good(&["verify"]);
    }
}

/// Puts another manifest in the place of that of tumour-risk-mlp, with a correct digest.
fn forge(place: &Place, change: impl FnOnce(&mut Json)) {
    let index_path = place.path("registry/index.json");
    let mut index: Json = serde_json::from_slice(&fs::read(&index_path).unwrap()).unwrap();
    let blob = place.blob(index["manifests"][0]["digest"].as_str().unwrap());
    let mut manifest: Json = serde_json::from_slice(&fs::read(blob).unwrap()).unwrap();
    change(&mut manifest);
    let bytes = manifest.to_string().into_bytes();
    let digest = twinfer_package::Digest::of(&bytes).to_string();
    fs::write(place.blob(&digest), &bytes).unwrap();
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    fs::write(&index_path, index.to_string()).unwrap();
}

#[test]
fn manifests_that_are_forged_or_from_the_future() {
    type Change = fn(&mut Json);
    let cases: [(Change, &str); 4] = [
        (|m| m["mystery"] = json!(1), "unknown_field"),
        (
            |m| m["schemaVersion"] = json!(3),
            "unsupported_format_version",
        ),
        (
            |m| {
                m["layers"][0]["annotations"]["org.opencontainers.image.title"] =
                    json!("../../etc/passwd")
            },
            "invalid_manifest",
        ),
        (
            |m| drop(m["layers"].as_array_mut().unwrap().remove(1)),
            "invalid_package",
        ),
    ];
    for (change, code) in cases {
        let place = Place::new();
        place.pack("tumour-risk-mlp");
        forge(&place, change);
        place.bad(&["inspect", "tumour-risk-mlp"], code, 1);
        place.bad(
            &["predict", "tumour-risk-mlp", "--input", "record={}"],
            code,
            1,
        );
        assert_eq!(place.twinfer(&["verify"]).code, Some(1));
    }
}

#[test]
fn model_files_that_are_none() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    let good = fs::read(core_model("mlp_binary")).unwrap();
    for bytes in [
        &b""[..],
        &good[..good.len() / 2],
        b"\x89PNG\r\n\x1a\n",
        b"<html></html>",
        &[0xff; 1000],
    ] {
        place.write("recipe/model.onnx", bytes);
        place.bad(&["pack", "recipe"], "invalid_model", 1);
        place.bad(
            &["run", "recipe/model.onnx", "--output-dir", "out"],
            "invalid_model",
            1,
        );
        assert!(!place.path("out").exists());
    }
    // Sparse: it takes no room.
    let file = fs::File::create(place.path("recipe/model.onnx")).unwrap();
    file.set_len((2 << 30) + 1).unwrap();
    place.bad(&["pack", "recipe"], "model_too_large", 1);
    place.bad(
        &["run", "recipe/model.onnx", "--output-dir", "out"],
        "model_too_large",
        1,
    );
    assert!(!place.path("registry").exists());
}

#[test]
fn a_package_that_fails_its_examples_is_refused_or_found_out() {
    let place = Place::new();
    for file in [
        "twinfer.toml",
        "model.onnx",
        "metrics.json",
        "train.py",
        "README.md",
        "LICENSE",
    ] {
        place.write(
            &format!("recipe/{file}"),
            fs::read(format!("{}/{file}", sample("tumour-risk-mlp"))).unwrap(),
        );
    }
    let mut golden: Json = serde_json::from_slice(
        &fs::read(format!("{}/golden.json", sample("tumour-risk-mlp"))).unwrap(),
    )
    .unwrap();
    golden["cases"][0]["expect"]["outputs"]["label"] = json!(7);
    place.write("recipe/golden.json", golden.to_string());
    let error = place.bad(&["pack", "recipe"], "self_test_failed", 3);
    assert!(error.contains("label: expected 7, got"), "{error}");
    assert!(!place.path("registry").exists());
    place.good(&["pack", "recipe", "--no-self-test"]);
    let said = place.twinfer(&["verify"]);
    assert_eq!(said.code, Some(3));
    assert!(
        said.err.starts_with("error[self_test_failed]: "),
        "{}",
        said.err
    );
    place.good(&["verify", "--no-self-test"]);
}

#[test]
fn several_processes_pack_at_the_same_time() {
    let place = Place::new();
    let recipes: Vec<String> = (0..6)
        .map(|n| {
            // Three versions, each packed by two processes at once.
            place.recipe(&format!("{}.0.0", n % 3), 100_000);
            let name = format!("recipe-{n}");
            fs::rename(place.path("recipe"), place.path(&name)).unwrap();
            name
        })
        .collect();
    for recipe in &recipes {
        place.good(&["pack", recipe]);
    }
    let running: Vec<_> = recipes
        .iter()
        .map(|recipe| {
            place
                .command(&["pack", recipe, "--registry", "second"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    // The order of packing leaves no trace.
    assert_eq!(
        fs::read(place.path("registry/index.json")).unwrap(),
        fs::read(place.path("second/index.json")).unwrap()
    );
    assert_eq!(
        place.json(&["ls", "--registry", "second"])["packages"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    place.good(&["verify", "--registry", "second"]);
}
