//! A registry that changes, or is damaged, while the application runs.

use serde_json::json;
use twinfer_package::{Descriptor, Digest, Manifest, Role, Store, resolve};

use crate::support::Fixture;

fn manifest_of(fixture: &Fixture, reference: &str) -> (Digest, Manifest) {
    let descriptor = resolve(&fixture.store.index().unwrap(), &reference.parse().unwrap()).unwrap();
    let manifest = Manifest::from_json(&fixture.store.blob(&descriptor).unwrap()).unwrap();
    (descriptor.digest, manifest)
}

fn layer(manifest: &Manifest, role: Role) -> Descriptor {
    manifest.layers_of(role).next().unwrap().clone()
}

#[test]
fn a_new_version_answers_at_once() {
    let fixture = Fixture::new(&["types"]);
    let version =
        |fixture: &Fixture| fixture.get("/v2/models/types").ok()["properties"]["version"].clone();
    assert_eq!(version(&fixture), "1.0.0");
    fixture.get("/v2/models/types/ready").ok();
    fixture.pack_version("types", "1.1.0");
    assert_eq!(version(&fixture), "1.1.0");
    assert_eq!(
        fixture.get("/v2/models/types").ok()["versions"],
        json!(["1.1.0", "1.0.0"])
    );
    assert_eq!(
        fixture.get("/v2/models/types/versions/1.0.0").ok()["properties"]["version"],
        "1.0.0"
    );
}

#[test]
fn a_moved_alias_counts_at_once() {
    let fixture = Fixture::new(&["types"]);
    fixture.pack_version("types", "2.0.0");
    let stable = |fixture: &Fixture| {
        fixture.get("/v2/models/types/versions/stable").ok()["properties"]["version"].clone()
    };
    fixture.alias("types", "stable", "1.0.0");
    assert_eq!(stable(&fixture), "1.0.0");
    fixture.alias("types", "stable", "2.0.0");
    assert_eq!(stable(&fixture), "2.0.0");
}

#[test]
fn a_damaged_model_fails_alone_and_can_be_repaired() {
    let fixture = Fixture::new(&["types", "untidy"]);
    let (_, manifest) = manifest_of(&fixture, "types");
    let model = layer(&manifest, Role::Model);
    let good = fixture.store.blob(&model).unwrap();
    let mut flipped = good.clone();
    flipped[10] ^= 1;
    for (damage, code) in [
        (Some(flipped), "digest_mismatch"),
        (Some(good[..good.len() - 1].to_vec()), "size_mismatch"),
        (Some([good.clone(), vec![0]].concat()), "size_mismatch"),
        (Some(vec![]), "size_mismatch"),
        (None, "missing_blob"),
    ] {
        fixture.store.corrupt(model.digest, damage);
        let message = fixture
            .get("/v2/models/types/ready")
            .expect_error(422, code);
        assert!(message.contains("types"), "{message}");
        fixture
            .post_json("/v2/models/types/infer", &json!({}))
            .expect_error(422, code);
        // Its description is in another layer, the other model in another package.
        fixture.get("/v2/models/types").ok();
        fixture.get("/v2/models/untidy/ready").ok();
    }
    fixture.store.corrupt(model.digest, Some(good));
    fixture.get("/v2/models/types/ready").ok();
}

#[test]
fn a_damaged_description_or_manifest_fails_alone() {
    let fixture = Fixture::new(&["types", "untidy"]);
    let (digest, manifest) = manifest_of(&fixture, "types");
    let config = layer(&manifest, Role::Config).digest;
    for damaged in [config, digest] {
        let fixture = Fixture::new(&["types", "untidy"]);
        fixture.store.corrupt(damaged, None);
        fixture
            .get("/v2/models/types")
            .expect_error(422, "missing_blob");
        fixture
            .get("/v2/models/types/ready")
            .expect_error(422, "missing_blob");
        fixture.store.corrupt(damaged, Some(b"{}".to_vec()));
        fixture
            .get("/v2/models/types")
            .expect_error(422, "size_mismatch");
        fixture.get("/v2/models/untidy/ready").ok();
        let models = fixture.get("/v2/models").ok();
        assert_eq!(models["models"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_loaded_model_survives_damage_until_it_is_dropped() {
    let fixture = Fixture::with(&["types", "untidy"], |options| options.max_models = 1);
    fixture.get("/v2/models/types/ready").ok();
    let (_, manifest) = manifest_of(&fixture, "types");
    fixture
        .store
        .corrupt(layer(&manifest, Role::Model).digest, None);
    fixture.get("/v2/models/types/ready").ok();
    fixture.get("/v2/models/untidy/ready").ok();
    fixture
        .get("/v2/models/types/ready")
        .expect_error(422, "missing_blob");
}

#[test]
fn a_name_that_points_to_another_models_package_is_refused() {
    let fixture = Fixture::new(&["types", "untidy"]);
    fixture.get("/v2/models/types/ready").ok();
    fixture.edit_index(|index| {
        let manifests = index["manifests"].as_array_mut().unwrap();
        let mut stolen = manifests
            .iter()
            .find(|e| e.to_string().contains("types:1.0.0"))
            .unwrap()
            .clone();
        stolen["annotations"]["org.opencontainers.image.ref.name"] = "other:1.0.0".into();
        manifests.push(stolen);
    });
    fixture
        .get("/v2/models/other")
        .expect_error(422, "invalid_package");
    fixture
        .get("/v2/models/other/ready")
        .expect_error(422, "invalid_package");
    fixture.get("/v2/models/types/ready").ok();
}

#[test]
fn times_are_given_when_there_is_a_clock() {
    let fixture = Fixture::with(&["types"], |options| options.clock = Some(|| 5.0));
    let inputs = json!([
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [1]},
    ]);
    let answer = fixture
        .post_json("/v2/models/types/infer", &json!({"inputs": inputs}))
        .ok();
    assert_eq!(answer["parameters"]["predict_ms"], 0.0);
}
