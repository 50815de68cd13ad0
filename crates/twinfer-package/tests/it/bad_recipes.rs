//! Recipes and model files that cannot be packed.

use twinfer::ErrorCode::{self, *};
use twinfer_package::{Index, MemoryStore, Store};

use crate::fixture::{Recipe, golden, model_bytes};

fn refused(recipe: &Recipe, code: ErrorCode, says: &str) {
    let store = MemoryStore::new();
    let error = recipe.pack(&store).expect_err(says);
    assert_eq!(error.code(), code, "{says}: {error}");
    assert!(
        error.message().contains(says),
        "`{says}` is not in: {error}"
    );
    assert_eq!(
        Index::from_json(&store.index().unwrap()).unwrap().tags(),
        []
    );
}

fn edited(from: &str, to: &str, code: ErrorCode, says: &str) {
    let recipe = Recipe::new();
    recipe.edit(from, to);
    refused(&recipe, code, says);
}

#[test]
fn recipes() {
    edited("title =", "titel =", UnknownField, "line 5");
    edited("[files]", "[flies]", UnknownField, "flies");
    edited("[model]", "[model", InvalidRecipe, "line");
    edited("\"risk\"", "\"Risk!\"", InvalidReference, "Risk!");
    edited("\"1.0.0\"", "\"1.0\"", InvalidRecipe, "semantic version");
    edited(
        "\"1.0.0\"",
        "\"1.0.0+build\"",
        InvalidReference,
        "1.0.0+build",
    );
    edited(
        "2026-11-25T00:00:00Z",
        "yesterday",
        InvalidRecipe,
        "created",
    );
    edited(
        "created = \"2026-11-25T00:00:00Z\"\n",
        "",
        InvalidRecipe,
        "created",
    );
    edited("\"risk.onnx\"", "\"gone.onnx\"", InvalidRecipe, "gone.onnx");
    edited(
        "\"risk.onnx\"",
        "\"../risk.onnx\"",
        InvalidRecipe,
        "outside the folder",
    );
    edited(
        "\"risk.onnx\"",
        "\"/etc/passwd\"",
        InvalidRecipe,
        "outside the folder",
    );
    edited("\"risk.onnx\"", "\".\"", InvalidRecipe, "not a file");
    edited(
        "commit =",
        "sha256 = \"00\"\ncommit =",
        InvalidDigest,
        "source.sha256",
    );
    let zeros = format!("sha256 = \"{}\"\ncommit =", "0".repeat(64));
    edited("commit =", &zeros, DigestMismatch, "source.sha256");
    edited(
        "[files]",
        "[pipeline]\nfile = \"none.json\"\n[files]",
        InvalidRecipe,
        "none.json",
    );
    edited(
        "[files]",
        "[pipeline]\ninput = 1\noutputs = []\n[files]",
        InvalidRecipe,
        "pipeline",
    );
    edited(
        "[files]",
        "[limits]\nmax_pixel = 1\n[files]",
        UnknownField,
        "max_pixel",
    );
}

#[test]
fn a_folder_without_a_recipe() {
    let recipe = Recipe::new();
    std::fs::remove_file(recipe.path().join("twinfer.toml")).unwrap();
    refused(&recipe, InvalidRecipe, "twinfer.toml");
}

#[test]
fn model_files() {
    let good = model_bytes("mlp_binary");
    let mut flipped = good.clone();
    flipped[10] ^= 0xff;
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    let html = b"<!DOCTYPE html><html><body>404 Not Found</body></html>".to_vec();
    let cases = [
        ("empty", vec![]),
        ("one byte", vec![8]),
        ("cut to a half", good[..good.len() / 2].to_vec()),
        ("cut by one byte", good[..good.len() - 1].to_vec()),
        ("a picture", picture),
        ("a page", html),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        (
            "a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(),
        ),
    ];
    for (what, bytes) in cases {
        let recipe = Recipe::new();
        recipe.write("risk.onnx", bytes);
        let error = recipe.pack(&MemoryStore::new()).expect_err(what);
        assert_eq!(error.code(), InvalidModel, "{what}: {error}");
    }
}

#[test]
fn a_huge_model_file_is_not_read() {
    let recipe = Recipe::new();
    let file = std::fs::File::create(recipe.path().join("risk.onnx")).unwrap();
    // Sparse: no disk is used.
    file.set_len((2 << 30) + 1).unwrap();
    refused(&recipe, ModelTooLarge, "at most");
}

#[test]
fn golden_examples() {
    let with = |change: &dyn Fn(&mut serde_json::Value), code, says| {
        let recipe = Recipe::new();
        let mut golden = golden("mlp_binary", 1);
        change(&mut golden);
        recipe.write("golden.json", golden.to_string());
        refused(&recipe, code, says);
    };
    with(
        &|g| g["cases"][0]["expect"] = serde_json::json!({}),
        InvalidPackage,
        "expects neither",
    );
    with(
        &|g| g["cases"][0]["reason"] = "".into(),
        InvalidPackage,
        "say why",
    );
    with(
        &|g| g["cases"][0]["tolerance"]["relative"] = (-1).into(),
        InvalidPackage,
        "tolerance",
    );
    with(
        &|g| g["cases"][0]["extra"] = 1.into(),
        UnknownField,
        "extra",
    );
    with(
        &|g| g["cases"] = serde_json::json!([g["cases"][0], g["cases"][0]]),
        InvalidPackage,
        "twice",
    );
    with(
        &|g| g["cases"][0]["input"] = serde_json::json!({"bytes": {"file": "none.bin"}}),
        InvalidRecipe,
        "none.bin",
    );
    with(
        &|g| g["cases"][0]["input"] = serde_json::json!({"bytes": {"file": "../x"}}),
        InvalidRecipe,
        "outside",
    );
    with(
        &|g| g["cases"][0]["input"] = serde_json::json!({"bytes": {"base64": "?"}}),
        SelfTestFailed,
        "base64",
    );
    with(
        &|g| g["cases"][0]["input"]["tensors"][0]["name"] = "Y".into(),
        SelfTestFailed,
        "missing_input",
    );
    with(
        &|g| g["cases"][0]["input"]["tensors"][0]["shape"] = serde_json::json!([1, 30]),
        SelfTestFailed,
        "wrong_shape",
    );
}
