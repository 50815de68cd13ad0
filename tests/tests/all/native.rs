//! The list of cases, run natively: what needs no other place to compare with.

use std::path::{Path, PathBuf};

use twinfer_package::FolderStore;
use twinfer_tests::answer::Results;
use twinfer_tests::{forge, list, native, verdict};

/// The recipes of the samples and of the suite's own models.
fn recipes() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("../models"), here.join("models")];
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut recipes: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("twinfer.toml").is_file())
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn golden_cases_and_bad_input_come_out_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path());
    let recipes = recipes();
    assert!(recipes.len() >= 6, "{recipes:?}");
    for recipe in &recipes {
        twinfer_package::pack(recipe, &store, twinfer_package::PackOptions::default()).unwrap();
    }
    let mut cases = list::golden(folder.path()).unwrap();
    let forged = forge::forge(folder.path(), "types:1.0.0").unwrap();
    cases.cases.extend(list::bad(&cases, &forged).cases);
    assert!(cases.cases.len() > 300, "{} cases", cases.cases.len());

    let answers = native::run(folder.path(), &cases);
    // In the role of the component, with which it is then compared too.
    let twin = Results {
        place: "component".into(),
        results: answers.results.clone(),
    };
    let found = verdict::judge(&cases, &[answers, twin]);
    let failed: Vec<&String> = found
        .failed
        .iter()
        .filter(|text| text.starts_with("native"))
        .collect();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed
            .iter()
            .map(|f| f.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    );
}
