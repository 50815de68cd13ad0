//! Times in the native process: loading, a run of the model, the whole pipeline; and how much memory
//! a load takes at its peak.
//!
//! `twinfer-bench --registry DIR --cases FILE --out FILE [--only REFERENCE] [--quick]`
//! `twinfer-bench --registry DIR --peak REFERENCE`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinfer::{Input, Parameters, Tensors};
use twinfer_package::{FolderStore, Package, Reference};
use twinfer_tests::case::{Call, Cases};

type Error = Box<dyn std::error::Error>;

/// What is asked for.
#[derive(Default)]
struct Asked {
    registry: Option<PathBuf>,
    cases: Option<PathBuf>,
    out: Option<PathBuf>,
    only: Option<String>,
    peak: Option<String>,
    quick: bool,
}

fn asked() -> Result<Asked, Error> {
    let mut given = std::env::args().skip(1);
    let mut asked = Asked::default();
    while let Some(name) = given.next() {
        match name.as_str() {
            "--quick" => asked.quick = true,
            "--registry" => asked.registry = given.next().map(PathBuf::from),
            "--cases" => asked.cases = given.next().map(PathBuf::from),
            "--out" => asked.out = given.next().map(PathBuf::from),
            "--only" => asked.only = given.next(),
            "--peak" => asked.peak = given.next(),
            other => return Err(format!("there is no option `{other}`").into()),
        }
    }
    Ok(asked)
}

fn main() -> Result<(), Error> {
    let asked = asked()?;
    let registry = asked.registry.ok_or("--registry is missing")?;
    match &asked.peak {
        Some(reference) => peak(&registry, reference),
        None => times(
            &registry,
            &Cases::read(&asked.cases.ok_or("--cases is missing")?)?,
            &asked.out.ok_or("--out is missing")?,
            asked.only.as_deref(),
            asked.quick,
        ),
    }
}

/// Prints the resident bytes before a load, those at its peak, and those with the loaded model: the
/// process's own memory, without the pages of its program, which are read as code is run.
fn peak(registry: &Path, reference: &str) -> Result<(), Error> {
    let before = status("RssAnon")?;
    let package = Package::open(
        &FolderStore::new(registry),
        &reference.parse::<Reference>()?,
    )?;
    let model = package.load()?;
    // The kernel keeps a peak of all pages only; those of the program never become fewer.
    let peak = status("VmHWM")?.saturating_sub(status("RssFile")?);
    let after = status("RssAnon")?;
    drop((package, model));
    println!(
        "{}",
        json!({ "before": before, "peak": peak, "after": after, "dropped": status("RssAnon")? })
    );
    Ok(())
}

/// Bytes of a line of `/proc/self/status`.
fn status(name: &str) -> Result<u64, Error> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .ok_or_else(|| format!("/proc/self/status has no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn times(
    registry: &Path,
    cases: &Cases,
    out: &Path,
    only: Option<&str>,
    quick: bool,
) -> Result<(), Error> {
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
        let unwanted = only.is_some_and(|only| only != case.reference);
        if unwanted || seen.contains(&case.reference.as_str()) {
            continue;
        }
        seen.push(&case.reference);
        let tensors = tensors
            .iter()
            .map(|t| Ok((t.name.clone(), t.to_tensor()?)))
            .collect::<twinfer::Result<Tensors>>()?;
        results.push(measure(
            registry,
            &case.reference,
            &input.to_input()?,
            parameters,
            &tensors,
            limit,
        )?);
    }
    std::fs::write(out, format!("{:#}\n", json!({ "results": results })))?;
    Ok(())
}

fn measure(
    registry: &Path,
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
