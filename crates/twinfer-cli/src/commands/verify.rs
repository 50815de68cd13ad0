//! `twinfer verify`

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use twinfer::{Error, ErrorCode, Result, bail};
use twinfer_package::{
    DerivedEngine, Parts, Reference, SelfTestReport, Store, Verdict, engine_signatures,
    verify_engines,
};

use crate::keys;
use crate::output::Output;
use crate::registry::Registry;
use crate::trust::Trust;

/// Check packages: every digest and size, the golden examples, derived engines, the trust policy
///
/// Ends with exit code 3 when any is not as it should be.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer verify
  twinfer verify face-detector:1.0.0 file-type
  twinfer verify face-detector --key release.key.pub
  twinfer verify --trust policy.json
  twinfer verify --no-self-test --json")]
pub struct VerifyArgs {
    /// name, name:version, or name@sha256:…; without any, all packages of the registry
    pub references: Vec<Reference>,

    /// Demand a package signature by this public key (PEM), instead of the trust policy
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Only digests, sizes and signatures
    #[arg(long)]
    pub no_self_test: bool,
}

#[derive(Serialize)]
struct Checked {
    reference: String,
    ok: bool,
    digest: Option<String>,
    /// The keys of the trust policy that signed it, where there is a policy.
    keys: Option<Vec<String>>,
    warning: Option<String>,
    self_test: Option<SelfTestReport>,
    /// Engines that were made for it.
    engines: Vec<CheckedEngine>,
    error: Option<Failure>,
}

#[derive(Serialize)]
struct CheckedEngine {
    #[serde(flatten)]
    engine: DerivedEngine,
    /// The keys of the trust policy that signed it, where there is a policy.
    keys: Option<Vec<String>>,
    /// Why pages under this policy leave it alone.
    warning: Option<String>,
}

#[derive(Serialize)]
struct Failure {
    code: &'static str,
    message: String,
}

pub fn run(args: &VerifyArgs, registry: &Registry, trust: Trust, output: &Output) -> Result<()> {
    let trust = match &args.key {
        Some(file) => trust.with_key(&keys::public(file)?)?,
        None => trust,
    };
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
            keys: None,
            warning: None,
            self_test: None,
            engines: Vec::new(),
            error: None,
        };
        if let Err(error) = check(
            reference,
            registry.store()?,
            &trust,
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
    trust: &Trust,
    self_test: bool,
    result: &mut Checked,
) -> Result<()> {
    // Without the examples nothing needs the layers in memory.
    let parts = match self_test {
        true => Parts::All,
        false => Parts::Description,
    };
    let (mut package, decision) = trust.decide(store, reference, parts)?;
    result.digest = Some(package.digest().to_string());
    match decision.map(|decision| decision.verdict) {
        Some(Verdict::Allowed { keys }) => result.keys = Some(keys),
        Some(Verdict::Warned { reason }) => result.warning = Some(reason),
        None => {}
    }
    for engine in verify_engines(store, reference).map_err(|e| e.context(reference))? {
        let checked = check_engine(store, reference, trust, engine);
        result
            .engines
            .push(checked.map_err(|e| e.context(reference))?);
    }
    if self_test {
        let model = package.take_model()?;
        let report = package.self_test(&model)?;
        let verdict = report.check();
        result.self_test = Some(report);
        return verdict.map_err(|e| e.context(reference));
    }
    package
        .verify_layers(store)
        .map_err(|e| e.context(reference))
}

/// An engine that nobody signed whom the policy knows is left alone by those who follow it: the
/// package is as it should be all the same.
fn check_engine(
    store: &dyn Store,
    reference: &Reference,
    trust: &Trust,
    engine: DerivedEngine,
) -> Result<CheckedEngine> {
    let mut checked = CheckedEngine {
        engine,
        keys: None,
        warning: None,
    };
    let Some(policy) = trust.policy() else {
        return Ok(checked);
    };
    let signatures = engine_signatures(store, reference, &checked.engine)?;
    match policy.engine_signers(reference.name(), &checked.engine, &signatures) {
        Ok(keys) => checked.keys = Some(keys),
        Err(error) if is_unsigned(&error) => checked.warning = Some(error.message().to_owned()),
        Err(error) => return Err(error),
    }
    Ok(checked)
}

fn is_unsigned(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::UnsignedPackage | ErrorCode::UntrustedKey
    )
}

fn line(checked: &Checked) -> String {
    let Checked {
        reference,
        digest,
        self_test,
        keys,
        warning,
        engines,
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
    let signed = match (warning, keys) {
        (Some(warning), _) => format!("  warning: {warning}"),
        (None, Some(keys)) if keys.is_empty() => "  no signature is demanded".into(),
        (None, Some(keys)) => format!("  signed by {}", keys.join(", ")),
        (None, None) => String::new(),
    };
    let engines: String = engines.iter().map(of_engine).collect();
    format!(
        "ok      {reference}  {}  {examples}{signed}{engines}",
        digest.as_deref().unwrap_or_default()
    )
}

fn of_engine(checked: &CheckedEngine) -> String {
    let (kind, target) = (checked.engine.kind, checked.engine.target);
    let signed = match (&checked.warning, checked.keys.as_deref()) {
        (Some(warning), _) => format!(" ({warning})"),
        (None, None) => String::new(),
        (None, Some(keys)) => format!(" signed by {}", keys.join(", ")),
    };
    format!("  {kind} for {target}{signed}")
}
