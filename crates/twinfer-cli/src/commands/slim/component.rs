//! Slim components: the full one answers requests in the host of `twinfer serve`, and what it did
//! not enter for them is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;
use twinfer::{Result, bail, err};
use twinfer_artifact::Profile;
use twinfer_artifact::component::{Label, label, with_label};
use twinfer_artifact::slim::component::{self as slimming, Watched};
use twinfer_host::Trial;
use twinfer_package::{
    DerivedEngine, Digest, EngineKind, EngineTarget, Package, Parts, Reference, Store,
    attach_engine,
};

use super::check::{self, Checked};
use super::instance::{Situation, ask_all, compare, served};
use super::requests::{Ask, of_input, of_package};
use super::{SlimArgs, gather, given, write};
use crate::component::find;
use crate::host_error::host_error;
use crate::output::{Output, bytes};
use crate::registry::Registry;
use crate::trust::Trust;

/// So many instances in a row must enter nothing new, and so many are asked at most.
const QUIET: usize = 4;
const ROUNDS: u64 = 24;
/// The seed of an instance that nothing was learnt from.
const UNSEEN: u64 = u64::MAX;
/// A policy that admits nothing: with it the component enters what refuses.
const DENY: &str = r#"{"default": "deny", "rules": [], "keys": {}}"#;

/// A package, and what is asked for it.
pub struct Asked {
    package: Digest,
    asks: Vec<Ask>,
    /// What the caller gave, by itself: it may have to be new to the component.
    given: Vec<Ask>,
}

impl Asked {
    /// Brings the package into a registry folder that the component sees.
    ///
    /// # Errors
    /// Those of opening and copying the package.
    pub fn gather(store: &dyn Store, reference: &Reference, folder: &Path) -> Result<Self> {
        let package = Package::open_parts(store, reference, Parts::Tested)?;
        gather(store, &package, folder)?;
        let asks = of_package(
            package.name(),
            package.version(),
            &package.digest().to_string(),
            package.golden(),
            package.config().signature.as_ref(),
        )?;
        Ok(Self {
            package: *package.digest(),
            asks,
            given: Vec::new(),
        })
    }

    /// What a component learns from: what is checked must not have been learnt.
    fn learnt(&self, check: bool) -> Self {
        let given = if check { &[] } else { &self.given[..] };
        Self {
            package: self.package,
            asks: [&self.asks[..], given].concat(),
            given: Vec::new(),
        }
    }
}

/// What was made.
pub struct Slimmed {
    /// It has the label of the component that it was made of, if any.
    pub component: Vec<u8>,
    /// The `wasm-opt` that was used.
    pub wasm_opt: Option<PathBuf>,
    /// What was entered, all in all.
    pub profile: Profile,
    /// What was entered for each package.
    profiles: BTreeMap<Digest, Profile>,
    /// Golden examples that it answered like the component that it was made of.
    pub same: usize,
}

impl Slimmed {
    /// The packages, each with the digest of its profile.
    ///
    /// # Errors
    /// `internal`.
    pub fn packages(&self) -> Result<BTreeMap<Digest, Digest>> {
        let packages = self.profiles.iter();
        packages
            .map(|(package, profile)| Ok((*package, profile.digest()?)))
            .collect()
    }
}

/// Runs a component, full or fused, over what is asked for the packages, and drops the rest. What
/// comes out has given the same bits for every golden example.
///
/// # Errors
/// `self_test_failed` when it does not; those of the host; `internal`.
pub fn slim(component: &[u8], packages: &[Asked], registry: &Path) -> Result<Slimmed> {
    let counting = slimming::counting(component)?;
    let watched = Watched::new(&counting)?;
    let served = served(registry)?;
    let file = registry.join("counting.wasm");
    write(&file, &watched.wasm)?;
    let mut profiles = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for asked in packages {
        let asks = |seed, env, served: Option<&Path>| {
            let situation = Situation { seed, env, served };
            ask_all(&file, registry, situation, &asked.asks)
        };
        let plain = asks(0, None, None)?;
        let mut profile = entered(&watched, component, plain.trial)?;
        expected.extend(plain.answers);
        // With other random numbers hash maps have another order, and what is entered differs a
        // little. It is asked until nothing new comes for a while, as `twinfer serve` does it and
        // as other hosts do.
        let (mut rounds, mut quiet) = (0, 0);
        while quiet < QUIET && rounds < ROUNDS {
            rounds += 1;
            let index = (rounds % 2 == 1).then_some(&*served);
            let again = asks(rounds, None, index)?;
            let before = profile.entered();
            profile.add(&entered(&watched, component, again.trial)?)?;
            quiet = if profile.entered() == before {
                quiet + 1
            } else {
                0
            };
        }
        let small = ("TWINFER_MAX_BODY".to_owned(), "16".to_owned());
        let deny = ("TWINFER_TRUST_POLICY".to_owned(), DENY.to_owned());
        for env in [small, deny] {
            let other = asks(0, Some(env), Some(&served))?;
            profile.add(&entered(&watched, component, other.trial)?)?;
        }
        profiles.insert(asked.package, profile);
    }
    let mut union = profiles.values();
    let Some(mut profile) = union.next().cloned() else {
        bail!(InvalidRequest, "an engine is made for packages: name some");
    };
    union.try_for_each(|other| profile.add(other))?;
    let optimised = slimming::slim(component, &profile)?;
    let file = registry.join("slim.wasm");
    write(&file, &optimised.module)?;
    let mut same = 0;
    for asked in packages {
        for served in [None, Some(&*served)] {
            // Random numbers that it has not seen.
            let (seed, env) = (UNSEEN, None);
            let situation = Situation { seed, env, served };
            for (name, answer) in ask_all(&file, registry, situation, &asked.asks)?.answers {
                if expected.get(&name) != Some(&answer) {
                    bail!(
                        SelfTestFailed,
                        "the slim component does not give the answer of the full one to `{name}`"
                    );
                }
                same += usize::from(served.is_none());
            }
        }
    }
    if same == 0 {
        bail!(
            SelfTestFailed,
            "there is no golden example to compare the slim component with"
        );
    }
    Ok(Slimmed {
        component: optimised.module,
        wasm_opt: optimised.with,
        profile,
        profiles,
        same,
    })
}

fn entered(watched: &Watched<'_>, component: &[u8], mut trial: Trial) -> Result<Profile> {
    watched.entered(component, |instance, function| {
        trial.number(instance, function).map_err(host_error)
    })
}

/// What the command says.
#[derive(Serialize)]
struct Made {
    engine: DerivedEngine,
    functions: usize,
    kept: usize,
    full_size: u64,
    wasm_opt: Option<PathBuf>,
    attached: Vec<String>,
    /// Golden examples with the same bits, by name, version and digest.
    same: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Vec<Checked>>,
}

/// `twinfer slim --target component`
///
/// # Errors
/// Those of the packages and of [`slim`].
pub fn run(args: &SlimArgs, registry: &Registry, trust: &Trust, output: &Output) -> Result<()> {
    let path = find(args.engine.as_deref())?;
    let full = fs::read(&path).map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()))?;
    if label(&full)?.is_some() {
        bail!(
            InvalidRequest,
            "{} was derived already: name the full component",
            path.display()
        );
    }
    let folder = TempDir::new().map_err(|e| err!(Storage, "a temporary folder: {e}"))?;
    let store = registry.store()?;
    let (mut packages, mut pinned) = (Vec::new(), Vec::new());
    for reference in &args.references {
        let reference = trust.pinned(store, reference)?;
        let mut asked = Asked::gather(store, &reference, folder.path())?;
        if !args.input.is_empty() {
            let package = trust.open(store, &reference, Parts::Model)?;
            let input = serde_json::from_value(given(&package, &args.input)?)
                .map_err(|e| err!(Internal, "--input: {e}"))?;
            asked.given = of_input(package.name(), &input)?;
        }
        packages.push(asked);
        pinned.push(reference);
    }
    let check = |wasm: &[u8]| check_all(&full, wasm, &packages, &pinned, folder.path());
    if let Some(file) = &args.made {
        let wasm =
            fs::read(file).map_err(|e| err!(Storage, "cannot read {}: {e}", file.display()))?;
        let checked = check(&wasm)?;
        output.print(&json!({"check": checked}), || check::text(&checked))?;
        return check::verdict(&checked);
    }
    let learnt: Vec<Asked> = packages
        .iter()
        .map(|asked| asked.learnt(args.check))
        .collect();
    let slimmed = slim(&full, &learnt, folder.path())?;
    let described = Label {
        kind: EngineKind::Slim,
        slim: true,
        engine: Digest::of(&full),
        version: env!("CARGO_PKG_VERSION").into(),
        packages: slimmed.packages()?,
    };
    let wasm = with_label(&slimmed.component, &described)?;
    let mut made = Made {
        engine: DerivedEngine {
            kind: EngineKind::Slim,
            target: EngineTarget::Component,
            digest: Digest::of(&wasm),
            size: wasm.len() as u64,
            engine: described.engine,
            version: described.version,
            packages: described.packages,
            signatures: Vec::new(),
        },
        functions: slimmed.profile.functions(),
        kept: slimmed.profile.entered(),
        full_size: full.len() as u64,
        wasm_opt: slimmed.wasm_opt,
        attached: Vec::new(),
        same: slimmed.same,
        check: args.check.then(|| check(&wasm)).transpose()?,
    };
    if let Some(file) = &args.output {
        write(file, &wasm)?;
    }
    if let Some(file) = &args.profile_out {
        write(file, &slimmed.profile.to_json()?)?;
    }
    if args.attach {
        let store = registry.writable()?;
        for reference in &pinned {
            attach_engine(&*store, reference, &made.engine, &wasm)?;
            made.attached.push(reference.to_string());
        }
    }
    output.print(&made, || text(&made))?;
    check::verdict(made.check.as_deref().unwrap_or_default())
}

/// Golden examples and given inputs on both components.
fn check_all(
    full: &[u8],
    wasm: &[u8],
    packages: &[Asked],
    references: &[Reference],
    registry: &Path,
) -> Result<Vec<Checked>> {
    let (right, ours) = (registry.join("full.wasm"), registry.join("checked.wasm"));
    write(&right, full)?;
    write(&ours, wasm)?;
    let all = packages.iter().zip(references);
    all.map(|(asked, reference)| {
        let asks = [&asked.asks[..], &asked.given].concat();
        compare(&reference.to_string(), &right, &ours, registry, &asks)
    })
    .collect()
}

fn text(made: &Made) -> String {
    let mut text = format!(
        "{}  {} of {}, {} of {} functions\n{} answers with the same bits",
        made.engine.digest,
        bytes(made.engine.size),
        bytes(made.full_size),
        made.kept,
        made.functions,
        made.same
    );
    if made.wasm_opt.is_none() {
        text += "\nno wasm-opt was found (npm package binaryen): it would be smaller with one";
    }
    for reference in &made.attached {
        text += &format!("\nattached to {reference}");
    }
    if let Some(checked) = &made.check {
        text += "\n";
        text += &check::text(checked);
    }
    text
}
