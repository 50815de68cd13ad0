//! `cargo xtask demo`: everything from nothing to an answer in each place.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::browser;
use crate::build;
use crate::compare::{Tolerance, brief, differences};
use crate::counts::Counts;
use crate::failure::{Context, Failure, Result};
use crate::golden::{Sample, query, samples};
use crate::http;
use crate::paths;
use crate::run::{self, Run};
use crate::serve::{Server, Serving, check_free, free_address};
use crate::steps::{Output, step};
use crate::table::table;

/// Runs the demo; with `once` it ends after the table.
pub fn demo(once: bool, listen: &str) -> Result<()> {
    // Known at once, not after ten minutes of building.
    check_free(listen)?;
    build::everything()?;
    let (server, rows) = show(listen)?;
    if once {
        return match rows.failed {
            0 => Ok(()),
            n => Err(Failure::new(format!("{n} of the answers differ"))),
        };
    }
    println!(
        "\nThe page:  http://{}/\nThe API:   http://{}/v2/models\nCtrl-C ends it.",
        server.address(),
        server.address()
    );
    run::ending_is_fine();
    server.wait()
}

/// The suite of the tests: the table, each row counted; everything is built already.
pub fn suite() -> Result<Counts> {
    show(&free_address()?).map(|(_, rows)| rows)
}

/// Packs the sample models, serves them, and compares all places: the server, and how many rows are equal.
fn show(listen: &str) -> Result<(Server, Counts)> {
    let folder = paths::target().join("demo");
    let registry = folder.join("registry");
    pack_models(&paths::command(), &["models"], &registry)?;
    let component = paths::component("wasm-dev");
    let server = step(
        "start twinfer serve with the component and the page",
        |_| {
            Server::start(&Serving {
                program: &paths::command(),
                registry: &registry,
                component: &component,
                listen,
            })
        },
    )?;
    let rows = compare_places(&server, &registry, &folder)?;
    Ok((server, rows))
}

/// Packs every recipe of these folders into a fresh registry.
pub fn pack_models(program: &Path, folders: &[&str], registry: &Path) -> Result<()> {
    step(
        &format!("pack the models into {}", paths::show(registry)),
        |output| {
            // Versions are immutable: a changed recipe must not meet its former self.
            if registry.exists() {
                std::fs::remove_dir_all(registry).context(|| registry.display().to_string())?;
            }
            for recipe in recipes(folders)? {
                pack(program, &recipe, registry, output)?;
            }
            Ok(())
        },
    )
}

/// Packs one recipe.
pub fn pack(program: &Path, recipe: &Path, registry: &Path, output: &Output) -> Result<()> {
    Run::new(program)
        .args([Path::new("pack"), recipe, Path::new("--registry"), registry])
        .to(output)
        .run()
}

/// The folders with a recipe in these folders of the workspace.
fn recipes(folders: &[&str]) -> Result<Vec<PathBuf>> {
    let mut recipes = Vec::new();
    for folder in folders.iter().map(|folder| paths::root().join(folder)) {
        let entries = std::fs::read_dir(&folder).context(|| folder.display().to_string())?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let before = recipes.len();
        recipes.extend(paths.filter(|path| path.join("twinfer.toml").is_file()));
        if recipes.len() == before {
            return Err(Failure::new(format!(
                "{} holds no recipe (a folder with a twinfer.toml)",
                paths::show(&folder)
            )));
        }
    }
    recipes.sort();
    Ok(recipes)
}

/// Asks every place, prints the table, and counts the rows: those that are equal have passed.
fn compare_places(server: &Server, registry: &Path, folder: &Path) -> Result<Counts> {
    let samples = samples(registry)?;
    let mut answers: Vec<[Option<Value>; 3]> = Vec::new();
    step("ask the component, and predict the same natively", |_| {
        for sample in &samples {
            let component = ask_component(server, sample)?;
            let native = predict_natively(sample, registry, &folder.join("inputs"))?;
            answers.push([Some(native), Some(component), None]);
        }
        Ok(())
    })?;
    match browser::find()? {
        None => println!(
            "==> no Chromium-family browser found: the page's column stays empty (install one, or set {})",
            browser::VARIABLE
        ),
        Some(browser) => step("predict the same in the page", |output| {
            let outputs = predict_in_page(server, &samples, &browser, folder, output)?;
            for (row, output) in answers.iter_mut().zip(outputs) {
                row[2] = Some(output);
            }
            Ok(())
        })?,
    }
    let verdicts: Vec<Result<&str, String>> = answers
        .iter()
        .map(|[native, component, page]| verdict(native, component, page))
        .collect();
    let rows: Vec<Vec<String>> = samples
        .iter()
        .zip(&answers)
        .zip(&verdicts)
        .map(|((sample, places), verdict)| {
            let mut row = vec![
                sample.reference(),
                format!("{} ({})", sample.case, size(sample.body.len())),
            ];
            row.extend(
                places
                    .iter()
                    .map(|place| place.as_ref().map_or("-".into(), summary)),
            );
            row.push(verdict.as_ref().map_or("NO".into(), |same| (*same).into()));
            row
        })
        .collect();
    println!(
        "\n{}",
        table(
            &["model", "input", "native", "component", "page", "equal?"],
            &rows
        )
    );
    for (sample, verdict) in samples.iter().zip(&verdicts) {
        if let Err(differences) = verdict {
            println!("{}: {differences}", sample.reference());
        }
    }
    let passed = verdicts.iter().filter(|verdict| verdict.is_ok()).count() as u64;
    Ok(Counts {
        passed,
        failed: verdicts.len() as u64 - passed,
    })
}

/// `Ok` with what is equal, `Err` with what is not.
fn verdict(
    native: &Option<Value>,
    component: &Option<Value>,
    page: &Option<Value>,
) -> Result<&'static str, String> {
    let (Some(native), Some(component)) = (native, component) else {
        return Err("an answer is missing".into());
    };
    if let Some(page) = page {
        let found = differences(page, component, Tolerance::EXACT);
        if !found.is_empty() {
            return Err(format!("page against component: {}", found.join("; ")));
        }
    }
    let found = differences(native, component, Tolerance::NATIVE);
    if !found.is_empty() {
        return Err(format!("native against component: {}", found.join("; ")));
    }
    Ok(
        match differences(native, component, Tolerance::EXACT).is_empty() {
            true => "yes, same bits",
            false => "yes (native within 1e-5)",
        },
    )
}

fn ask_component(server: &Server, sample: &Sample) -> Result<Value> {
    let path = format!(
        "/v2/models/{}/versions/{}/predict{}",
        sample.model,
        sample.version,
        query(&sample.parameters)
    );
    let answer = http::request(
        server.address(),
        "POST",
        &path,
        &[("content-type", &sample.content_type)],
        &sample.body,
    )
    .context(|| format!("POST {path}"))?;
    if answer.status != 200 {
        return Err(Failure::new(format!(
            "POST {path}: status {}: {}",
            answer.status,
            answer.text()
        )));
    }
    let mut json: Value =
        serde_json::from_slice(&answer.body).context(|| format!("POST {path}"))?;
    Ok(json["outputs"].take())
}

fn predict_natively(sample: &Sample, registry: &Path, inputs: &Path) -> Result<Value> {
    let file = sample.write(inputs)?;
    let mut arguments = vec!["--input".to_string(), input(sample, &file)];
    for (key, value) in sample.parameters.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        arguments.extend(["--param".into(), format!("{key}={value}")]);
    }
    let printed = Run::new(paths::command())
        .args(["predict", &sample.reference(), "--json"])
        .args(arguments)
        .args([Path::new("--registry"), registry])
        .read()?;
    let mut json: Value =
        serde_json::from_str(&printed).context(|| "twinfer predict --json".into())?;
    Ok(json["outputs"].take())
}

/// A record is given as JSON and a text as it is, or from a file with @ before it; everything else is a file.
fn input(sample: &Sample, file: &Path) -> String {
    let at = match sample.content_type.as_str() {
        "application/json" | "text/plain" => "@",
        _ => "",
    };
    format!("{}={at}{}", sample.input_name, file.display())
}

fn predict_in_page(
    server: &Server,
    samples: &[Sample],
    browser: &Path,
    folder: &Path,
    output: &Output,
) -> Result<Vec<Value>> {
    let cases: Vec<Value> = samples
        .iter()
        .map(|sample| {
            json!({"id": sample.reference(), "reference": sample.reference(), "kind": "predict", "input": sample.input, "parameters": sample.parameters})
        })
        .collect();
    let file = folder.join("cases.json");
    std::fs::write(&file, json!({ "cases": cases }).to_string())
        .context(|| file.display().to_string())?;
    let results = run_cases(
        "page",
        server.address(),
        &file,
        folder,
        Some(browser),
        output,
    )?;
    let text = std::fs::read_to_string(&results).context(|| results.display().to_string())?;
    let json: Value = serde_json::from_str(&text).context(|| results.display().to_string())?;
    samples
        .iter()
        .map(|sample| {
            let results = json["results"].as_array().cloned().unwrap_or_default();
            let result = results
                .into_iter()
                .find(|result| result["id"] == sample.reference().as_str());
            let run = result
                .map(|result| result["runs"][0].clone())
                .unwrap_or_default();
            match run.get("outputs") {
                Some(outputs) => Ok(outputs.clone()),
                None => Err(Failure::new(format!(
                    "{} in the page: {}",
                    sample.reference(),
                    brief(&run)
                ))),
            }
        })
        .collect()
}

/// Runs a list of cases in Node (`node`) or in a browser (`page`); gives the file of results.
pub fn run_cases(
    place: &str,
    address: &str,
    cases: &Path,
    folder: &Path,
    browser: Option<&Path>,
    output: &Output,
) -> Result<PathBuf> {
    let results = folder.join(format!("{place}.json"));
    let mut run = Run::new("node")
        .args([paths::web().join("test/run-cases.mjs").as_path()])
        .args(["--place", place, "--base", &format!("http://{address}")])
        .args([Path::new("--cases"), cases, Path::new("--out"), &results])
        .to(output);
    if let Some(browser) = browser {
        run = run.env(browser::VARIABLE, browser);
    }
    run.run()?;
    Ok(results)
}

fn size(bytes: usize) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        format!("{:.1} KB", bytes as f64 / 1024.0)
    }
}

/// An answer in a few words.
fn summary(outputs: &Value) -> String {
    let parts = outputs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| part(name, value));
    parts.collect::<Vec<_>>().join(", ")
}

fn part(name: &str, value: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or("?".into(), |n| format!("{n:.6}"));
    match value {
        Value::Array(list) => match list.first().map(|first| &first["score"]) {
            Some(score) if score.is_number() => {
                format!("{} {name}, best {}", list.len(), number(score))
            }
            _ => format!("{} {name}", list.len()),
        },
        Value::Object(object) => match (
            object.get("label").and_then(Value::as_str),
            object.get("score"),
        ) {
            (Some(label), Some(score)) => format!("{label} {}", number(score)),
            _ => {
                let best = object
                    .iter()
                    .filter_map(|(k, v)| Some((k, v.as_f64()?)))
                    .max_by(|a, b| a.1.total_cmp(&b.1));
                best.map_or_else(|| brief(value), |(key, p)| format!("{key}: {p:.6}"))
            }
        },
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {}", brief(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_summed_up() {
        let outputs = json!({"boxes": [{"score": 0.5}, {"score": 0.25}]});
        assert_eq!(summary(&outputs), "2 boxes, best 0.500000");
        assert_eq!(
            summary(&json!({"type": {"label": "html", "score": 1}})),
            "html 1.000000"
        );
        assert_eq!(
            summary(&json!({"label": 1, "p": {"a": 0.25, "b": 0.75}})),
            "label 1, b: 0.750000"
        );
    }

    #[test]
    fn one_different_bit_between_page_and_component_is_a_difference() {
        let next = f64::from_bits(0.5f64.to_bits() + 1);
        let of = |n: f64| Some(json!({"p": n}));
        assert_eq!(verdict(&of(0.5), &of(0.5), &of(0.5)), Ok("yes, same bits"));
        assert_eq!(
            verdict(&of(next), &of(0.5), &None),
            Ok("yes (native within 1e-5)")
        );
        assert!(
            verdict(&of(0.5), &of(0.5), &of(next))
                .unwrap_err()
                .starts_with("page")
        );
        assert!(
            verdict(&of(0.6), &of(0.5), &of(0.5))
                .unwrap_err()
                .starts_with("native")
        );
    }
}
