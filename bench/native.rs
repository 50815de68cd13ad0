//! Times in the native process: loading, a run of the model, the whole pipeline.
//!
//! `twinfer-bench --registry DIR --cases FILE --out FILE [--quick]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinfer::{Input, Parameters, Tensors};
use twinfer_package::{FolderStore, Package, Reference};
use twinfer_tests::case::{Call, Cases};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut given = std::env::args().skip(1);
    let (mut registry, mut cases, mut out, mut quick) = (None, None, None, false);
    while let Some(name) = given.next() {
        match name.as_str() {
            "--quick" => quick = true,
            "--registry" => registry = given.next().map(PathBuf::from),
            "--cases" => cases = given.next().map(PathBuf::from),
            "--out" => out = given.next().map(PathBuf::from),
            other => return Err(format!("there is no option `{other}`").into()),
        }
    }
    let registry = registry.ok_or("--registry is missing")?;
    let cases = Cases::read(&cases.ok_or("--cases is missing")?)?;
    let limit = Duration::from_millis(if quick { 300 } else { 3_000 });
    let mut results = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for case in &cases.cases {
        // The same examples as in the page and the component: the first that runs the model.
        let Call::Run { tensors } = &case.call else {
            continue;
        };
        let twin = case
            .id
            .strip_suffix("/tensors")
            .and_then(|id| cases.cases.iter().find(|other| other.id == id));
        let Some(Call::Predict { input, parameters }) = twin.map(|twin| &twin.call) else {
            continue;
        };
        if seen.contains(&case.reference.as_str()) {
            continue;
        }
        seen.push(&case.reference);
        let tensors = tensors
            .iter()
            .map(|t| Ok((t.name.clone(), t.to_tensor()?)))
            .collect::<twinfer::Result<Tensors>>()?;
        results.push(measure(
            &registry,
            &case.reference,
            &input.to_input()?,
            parameters,
            &tensors,
            limit,
        )?);
    }
    std::fs::write(
        out.ok_or("--out is missing")?,
        format!("{:#}\n", json!({ "results": results })),
    )?;
    Ok(())
}

fn measure(
    registry: &std::path::Path,
    reference: &str,
    input: &Input,
    parameters: &Parameters,
    tensors: &Tensors,
    limit: Duration,
) -> Result<Value, Error> {
    let package = Package::open(
        &FolderStore::new(registry),
        &reference.parse::<Reference>()?,
    )?;
    let load = repeat(limit, || package.load().map(drop))?;
    let model = package.load()?;
    let run = repeat(limit, || model.run(tensors.clone()).map(drop))?;
    let predict = repeat(limit, || model.predict(input.clone(), parameters).map(drop))?;
    println!("{reference}: load {load}, run {run}, predict {predict}");
    Ok(json!({ "reference": reference, "load": load, "run": run, "predict": predict }))
}

/// Calls it until the time is up, at least ten times; gives milliseconds.
fn repeat(limit: Duration, mut call: impl FnMut() -> twinfer::Result<()>) -> Result<Value, Error> {
    const LEAST: usize = 10;
    let mut times = Vec::new();
    call()?;
    let start = Instant::now();
    while times.len() < LEAST || start.elapsed() < limit {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    Ok(
        json!({ "median": at(0.5), "p95": at(0.95), "min": times[0], "max": times[times.len() - 1], "count": times.len() }),
    )
}
