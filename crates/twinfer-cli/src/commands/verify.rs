//! `twinfer verify`

use serde::Serialize;
use twinfer::{Error, Result, bail};
use twinfer_package::{Package, Reference, SelfTestReport, Store};

use crate::args::VerifyArgs;
use crate::output::Output;
use crate::registry::Registry;

#[derive(Serialize)]
struct Checked {
    reference: String,
    ok: bool,
    digest: Option<String>,
    self_test: Option<SelfTestReport>,
    error: Option<Failure>,
}

#[derive(Serialize)]
struct Failure {
    code: &'static str,
    message: String,
}

pub fn run(args: &VerifyArgs, registry: &Registry, output: &Output) -> Result<()> {
    let references = match args.references.is_empty() {
        false => args.references.clone(),
        true => all(registry)?,
    };
    let mut first = None;
    let mut checked = Vec::new();
    for reference in &references {
        let mut result = Checked {
            reference: reference.to_string(),
            ok: true,
            digest: None,
            self_test: None,
            error: None,
        };
        if let Err(error) = check(
            reference,
            registry.store()?,
            !args.no_self_test,
            &mut result,
        ) {
            result.ok = false;
            result.error = Some(Failure {
                code: error.code().as_str(),
                message: error.to_string(),
            });
            first.get_or_insert(error);
        }
        checked.push(result);
    }
    output.print(&checked, || {
        checked.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    match (first, &references[..]) {
        (None, _) => Ok(()),
        // What was asked for cannot even be found: that is the error, not a failed check.
        (Some(error), [_]) => Err(error),
        (Some(error), _) => {
            let failed = checked.iter().filter(|c| !c.ok).count();
            Err(Error::new(
                error.code(),
                format!(
                    "{failed} of {} packages are not as they should be; the first: {error}",
                    checked.len()
                ),
            ))
        }
    }
}

fn all(registry: &Registry) -> Result<Vec<Reference>> {
    let tags = registry.index(None)?.tags();
    if tags.is_empty() {
        bail!(UnknownModel, "the registry {registry} has no packages");
    }
    tags.iter()
        .map(|tag| Reference::new(&tag.name, &tag.tag))
        .collect()
}

fn check(
    reference: &Reference,
    store: &dyn Store,
    self_test: bool,
    result: &mut Checked,
) -> Result<()> {
    let package = Package::open(store, reference)?;
    result.digest = Some(package.digest().to_string());
    if self_test {
        let report = package.self_test(&package.load()?)?;
        let verdict = report.check();
        result.self_test = Some(report);
        return verdict.map_err(|e| e.context(reference));
    }
    Ok(())
}

fn line(checked: &Checked) -> String {
    let Checked {
        reference,
        digest,
        self_test,
        ..
    } = checked;
    if let Some(error) = &checked.error {
        return format!("FAILED  {reference}  {}", error.code);
    }
    let examples = match self_test {
        Some(report) if report.cases.is_empty() => "no golden examples".into(),
        Some(report) => format!("{} golden examples", report.passed),
        None => "golden examples not run".into(),
    };
    format!(
        "ok      {reference}  {}  {examples}",
        digest.as_deref().unwrap_or_default()
    )
}
