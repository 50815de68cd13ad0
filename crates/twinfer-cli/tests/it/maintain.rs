//! Moving, removing and collecting.

use std::fs;

use crate::support::{Place, core_model};

fn blobs(place: &Place) -> usize {
    fs::read_dir(place.path("registry/blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn an_alias_moves_and_says_from_where() {
    let place = Place::new();
    place.recipe("1.0.0", 10);
    place.good(&["pack", "recipe"]);
    place.recipe("1.1.0", 10);
    place.good(&["pack", "recipe"]);
    let first = place.json(&["tag", "big:1.0.0", "stable"]);
    assert!(first["from"].is_null(), "{first}");
    let second = place.json(&["tag", "big:1.1.0", "stable"]);
    assert_eq!(second["from"], first["to"]);
    assert_eq!(
        place.json(&["inspect", "big:stable"])["digest"],
        second["to"]
    );
    assert!(
        place
            .good(&["tag", "big:1.1.0", "stable"])
            .contains("already")
    );
    let error = place.bad(&["tag", "big:1.1.0", "2.0.0"], "invalid_reference", 1);
    assert!(error.contains("is a version"), "{error}");
    let reserved = format!("sha256-{}", "0".repeat(64));
    for alias in ["twinfer-tags", &reserved] {
        place.bad(&["tag", "big:1.1.0", alias], "invalid_reference", 1);
    }
    place.bad(&["tag", "big:9.9.9", "stable"], "unknown_version", 1);
    let listed = place.json(&["ls", "big"]);
    assert_eq!(listed["packages"].as_array().unwrap().len(), 3, "{listed}");
}

#[test]
fn what_is_removed_is_collected_and_the_rest_stays_whole() {
    let place = Place::new();
    for version in ["1.0.0", "1.1.0"] {
        place.recipe(version, 100);
        place.good(&["pack", "recipe"]);
    }
    place.good(&["tag", "big:1.0.0", "stable"]);
    let all = blobs(&place);
    assert!(place.good(&["gc"]).starts_with("removed 0 blobs"));
    let error = place.bad(&["rm", "big:1.0.0"], "invalid_request", 1);
    assert!(error.contains("big:stable points to"), "{error}");
    place.good(&["rm", "big:stable", "big:1.0.0"]);
    place.bad(&["rm", "big:1.0.0"], "unknown_version", 1);
    place.bad(&["rm", "big"], "invalid_request", 1);
    assert_eq!(blobs(&place), all);
    let would = place.json(&["gc", "--dry-run"]);
    assert_eq!(blobs(&place), all);
    let did = place.json(&["gc"]);
    assert_eq!(would, did);
    let gone = did["blobs"].as_array().unwrap().len();
    // The manifest, both configurations, the document and the provenance; the model is shared.
    assert_eq!((gone, blobs(&place)), (5, all - 5));
    place.good(&["verify", "big:1.1.0"]);
}

#[test]
fn a_package_that_lost_its_tag_is_collected_only_when_asked() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    place.good(&["pack", "recipe"]);
    place.recipe("1.0.0", 2);
    place.good(&["pack", "recipe", "--force"]);
    assert_eq!(
        place.json(&["gc"])["blobs"].as_array().unwrap().len(),
        0,
        "it can still be asked for by its digest"
    );
    let did = place.json(&["gc", "--untagged"]);
    assert_eq!(did["untagged"].as_array().unwrap().len(), 1, "{did}");
    assert!(!did["blobs"].as_array().unwrap().is_empty());
    place.good(&["verify"]);
}

#[test]
fn nothing_is_collected_when_a_manifest_is_damaged() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    place.good(&["pack", "recipe"]);
    let digest = place.json(&["inspect", "big:1.0.0"])["digest"].clone();
    let path = place.blob(digest.as_str().unwrap());
    let mut manifest = fs::read(&path).unwrap();
    manifest[10] ^= 1;
    fs::write(&path, manifest).unwrap();
    let before = blobs(&place);
    place.bad(&["gc"], "digest_mismatch", 3);
    assert_eq!(blobs(&place), before);
}

#[test]
fn an_alias_is_not_moved_to_what_breaks_its_callers_unless_told_so() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    place.good(&["pack", "recipe"]);
    place.good(&["tag", "big:1.0.0", "stable"]);
    place.recipe("2.0.0", 1);
    // Another model: other inputs and outputs.
    fs::copy(core_model("boosted_iris"), place.path("recipe/model.onnx")).unwrap();
    let packed = place.json(&["pack", "recipe"]);
    let error = place.bad(&["tag", "big:2.0.0", "stable"], "incompatible_signature", 1);
    assert!(error.contains("input"), "{error}");
    assert_eq!(place.json(&["inspect", "big:stable"])["version"], "1.0.0");
    // Another alias has no callers yet.
    place.good(&["tag", "big:2.0.0", "canary"]);
    let moved = place.json(&["tag", "big:2.0.0", "stable", "--breaking"]);
    assert!(!moved["breaking"].as_array().unwrap().is_empty(), "{moved}");
    assert_eq!(moved["to"], packed["digest"]);
    assert_eq!(place.json(&["inspect", "big:stable"])["version"], "2.0.0");
}
