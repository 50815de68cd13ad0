//! provenance.json, metrics.json, baseline.json.

use std::fs;
use std::path::Path;
use std::process::Command;

use twinfer::ErrorCode;
use twinfer_package::{Digest, GitState, MemoryStore, Package};

use crate::fixture::{Forge, Recipe, reference};

fn packed(recipe: &Recipe) -> Package {
    let store = MemoryStore::new();
    recipe.pack(&store).unwrap();
    Package::open(&store, &reference()).unwrap()
}

#[test]
fn every_input_is_named_with_its_digest() {
    let recipe = Recipe::new();
    recipe.write("metrics.json", r#"{"test": {"accuracy": 0.5}}"#);
    recipe.write("baseline.json", r#"{"format_version": 1}"#);
    recipe.write("train.py", "print()");
    recipe.write("dvc.lock", "schema: '2.0'\n");
    recipe.edit(
        "card = ",
        "metrics = \"metrics.json\"\nbaseline = \"./baseline.json\"\ncard = ",
    );
    let data = Digest::of(b"data");
    let toml = fs::read_to_string(recipe.path().join("twinfer.toml")).unwrap();
    recipe.write(
        "twinfer.toml",
        format!(
            "{toml}\n[training]\nscript = \"train.py\"\n\
             data = [{{ name = \"rows\", url = \"https://example.org/rows\", digest = \"{data}\" }}]\n\
             tools = {{ python = \"3.11\" }}\n"
        ),
    );
    let package = packed(&recipe);
    let provenance = package.provenance().unwrap();
    let names: Vec<&str> = provenance.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "LICENSE.txt",
            "baseline.json",
            "card.md",
            "dvc.lock",
            "golden.json",
            "metrics.json",
            "risk.onnx",
            "train.py",
            "twinfer.toml"
        ]
    );
    for input in &provenance.inputs {
        let bytes = fs::read(recipe.path().join(&input.name)).unwrap();
        assert_eq!(input.digest, Digest::of(&bytes), "{}", input.name);
        assert_eq!(input.size, bytes.len() as u64);
    }
    assert_eq!(provenance.git, None);
    assert_eq!(
        provenance.source.as_ref().unwrap().commit.as_deref(),
        Some("0123abc")
    );
    let training = provenance.training.as_ref().unwrap();
    assert_eq!(training.data[0].digest, data);
    assert_eq!(training.tools["python"], "3.11");
    let lock = provenance.dvc_lock.as_ref().unwrap();
    assert_eq!(lock.content, "schema: '2.0'\n");
    assert_eq!(lock.digest, Digest::of(lock.content.as_bytes()));
    assert_eq!(provenance.tools["twinfer"], env!("CARGO_PKG_VERSION"));
    assert!(provenance.tools.contains_key("skl2onnx"), "{provenance:?}");
    assert_eq!(package.metrics().unwrap()["test"]["accuracy"], 0.5);
    assert!(package.file("baseline.json").is_some());
    assert_eq!(
        package.model_pack().descriptor.datasets_url,
        ["https://example.org/rows"]
    );
    // Nothing of this machine.
    let text = package.file("provenance.json").unwrap();
    let place = recipe.path().to_str().unwrap();
    assert!(!String::from_utf8_lossy(text).contains(place));
}

#[test]
fn malformed_documents_are_refused_when_packing_and_when_reading() {
    let cases = [
        ("metrics", "[1]", ErrorCode::InvalidManifest),
        ("metrics", "{", ErrorCode::InvalidManifest),
        ("baseline", "{}", ErrorCode::InvalidManifest),
        (
            "baseline",
            r#"{"format_version": 2}"#,
            ErrorCode::UnsupportedFormatVersion,
        ),
        (
            "baseline",
            r#"{"format_version": 1, "x": 1}"#,
            ErrorCode::UnknownField,
        ),
        ("provenance", "{}", ErrorCode::InvalidManifest),
        (
            "provenance",
            r#"{"format_version": 1, "inputs": [], "x": 1}"#,
            ErrorCode::UnknownField,
        ),
        (
            "provenance",
            r#"{"format_version": 9}"#,
            ErrorCode::UnsupportedFormatVersion,
        ),
        (
            "provenance",
            r#"{"format_version": 1, "inputs": [{"name": "x", "digest": "md5:0", "size": 1}]}"#,
            ErrorCode::InvalidDigest,
        ),
    ];
    for (name, text, code) in cases {
        let file = format!("{name}.json");
        let recipe = Recipe::new();
        recipe.write(
            &file,
            if name == "metrics" {
                "{}"
            } else {
                r#"{"format_version": 1}"#
            },
        );
        if name != "provenance" {
            recipe.edit("card = ", &format!("{name} = \"{file}\"\ncard = "));
        }
        let mut forge = Forge::of(recipe.path());
        forge.replace(&file, text.as_bytes());
        let error = Package::open(&forge.store(|_| {}), &reference()).unwrap_err();
        assert_eq!(error.code(), code, "{file} {text}: {error}");
        if name != "provenance" {
            recipe.write(&file, text);
            let error = recipe.pack(&MemoryStore::new()).unwrap_err();
            assert_eq!(error.code(), code, "{file} {text}: {error}");
        }
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_commit_is_the_last_one_of_the_recipe() {
    if Command::new("git").arg("--version").output().is_err() {
        crate::tools::skipped("the_commit_is_the_last_one_of_the_recipe", "git");
        return;
    }
    let recipe = Recipe::new();
    let root = recipe.path();
    fs::create_dir(root.join("net")).unwrap();
    for file in [
        "twinfer.toml",
        "risk.onnx",
        "golden.json",
        "card.md",
        "LICENSE.txt",
    ] {
        fs::rename(root.join(file), root.join("net").join(file)).unwrap();
    }
    let state = || {
        let store = MemoryStore::new();
        let options = twinfer_package::PackOptions::default();
        let packed = twinfer_package::pack(&root.join("net"), &store, options).unwrap();
        let package = Package::open(&store, &reference()).unwrap();
        (package.provenance().unwrap().git.clone(), packed.digest)
    };
    git(root, &["init", "-q"]);
    assert_eq!(state().0, None);
    git(root, &["add", "net"]);
    git(root, &["commit", "-qm", "recipe"]);
    let commit = git(root, &["rev-parse", "HEAD"]);
    let clean = Some(GitState {
        commit: commit.clone(),
        dirty: false,
    });
    let first = state();
    assert_eq!(first.0, clean);
    // A commit elsewhere changes nothing, nor does a file that is no input.
    fs::write(root.join("other"), "x").unwrap();
    fs::write(root.join("net/notes.txt"), "x").unwrap();
    git(root, &["add", "other"]);
    git(root, &["commit", "-qm", "other"]);
    assert_eq!(state(), first);
    // A clone gives the same package; one that ends before the commit of the recipe says
    // nothing of it.
    let clones = tempfile::tempdir().unwrap();
    let url = format!("file://{}", root.display());
    let pack_clone = |arguments: &[&str], name: &str| {
        git(
            clones.path(),
            &[&["clone", "-q"], arguments, &[&url, name]].concat(),
        );
        let store = MemoryStore::new();
        let options = twinfer_package::PackOptions::default();
        let folder = clones.path().join(name).join("net");
        let packed = twinfer_package::pack(&folder, &store, options).unwrap();
        let package = Package::open(&store, &reference()).unwrap();
        (package.provenance().unwrap().git.clone(), packed.digest)
    };
    assert_eq!(pack_clone(&[], "whole"), first);
    assert_eq!(pack_clone(&["--depth", "1"], "shallow").0, None);
    // An input that is not as in the commit.
    fs::write(root.join("net/card.md"), "# Other\n").unwrap();
    let dirty = Some(GitState {
        commit,
        dirty: true,
    });
    assert_eq!(state().0, dirty);
    // A pointer of Git LFS stands for its file.
    let digest = Digest::of(b"# Other\n");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid {digest}\nsize 8\n");
    fs::write(root.join("net/card.md"), pointer).unwrap();
    git(root, &["commit", "-qam", "pointer"]);
    fs::write(root.join("net/card.md"), "# Other\n").unwrap();
    assert!(!state().0.unwrap().dirty);
}
