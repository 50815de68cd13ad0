//! Building the four artifacts: command, component, wasm of the page, npm package.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::npm;
use crate::paths;
use crate::profiles::{Profile, WasmPack};
use crate::run::Run;
use crate::setup::Setup;
use crate::steps::{Job, Output, step, together};

/// `--workspace` without the component, which is built for wasm only, and without these commands,
/// which are running. Always this selection: with another one cargo unites the features in
/// another way and builds the engine a second time.
pub fn native_selection() -> Vec<&'static str> {
    vec![
        "--workspace",
        "--exclude",
        "twinfer-worker",
        "--exclude",
        "twinfer-worker-key-value",
        "--exclude",
        "xtask",
    ]
}

/// Sets up and builds everything that `demo` serves.
pub fn everything() -> Result<()> {
    let setup = Setup::begin("dev")?;
    let mut jobs = setup.jobs();
    jobs.push(Job::new("build the twinfer command", only_command));
    jobs.push(Job::new(
        "build the component and the page's wasm",
        |output| {
            component("wasm-dev", output)?;
            web_wasm(&setup, "dev", output)
        },
    ));
    together(jobs)?;
    npm_package()
}

/// The native command, with what the tests share.
pub fn command(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args(["build"])
        .args(native_selection())
        .to(output)
        .run()
}

/// The native command without the tests' programs, of the same dependencies with the same features.
fn only_command(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args(["build", "--bin", "twinfer"])
        .args(native_selection())
        .to(output)
        .run()
}

/// The native command that ships. Alone: each program more would be optimised as a whole, for minutes.
pub fn release_command(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args([
            "build",
            "--release",
            "-p",
            "twinfer-cli",
            "--bin",
            "twinfer",
        ])
        .to(output)
        .run()
}

/// The component.
pub fn component(cargo_profile: &str, output: &Output) -> Result<()> {
    component_of("twinfer-worker", cargo_profile, output)
}

/// The component for hosts with key-value stores.
pub fn key_value_component(cargo_profile: &str, output: &Output) -> Result<()> {
    component_of("twinfer-worker-key-value", cargo_profile, output)
}

fn component_of(package: &str, cargo_profile: &str, output: &Output) -> Result<()> {
    Run::new("cargo")
        .args(["build", "-p", package, "--lib"])
        .args(["--target", "wasm32-wasip2", "--profile", cargo_profile])
        .to(output)
        .run()
}

/// The component that misbehaves on purpose, for the tests of the host.
pub fn misbehaving_guest(output: &Output) -> Result<()> {
    Run::new("cargo")
        .args([
            "build",
            "-p",
            "twinfer-worker",
            "--example",
            "misbehave",
            "--target",
            "wasm32-wasip2",
            "--profile",
            "wasm-dev",
        ])
        .to(output)
        .run()
}

/// Where that one is.
pub fn misbehaving_guest_path() -> PathBuf {
    paths::target().join("wasm32-wasip2/wasm-dev/examples/misbehave.wasm")
}

/// The TypeScript around the wasm.
pub fn npm_package() -> Result<()> {
    step("build the npm package", |output| {
        npm::script(&paths::web(), "build").to(output).run()
    })
}

/// The wasm of the page with its JavaScript, per profile of `wasm-pack.toml`.
/// Skipped when it was made from the same module with the same settings.
pub fn web_wasm(setup: &Setup, profile_name: &str, output: &Output) -> Result<()> {
    let file = WasmPack::read()?;
    let profile = file.profile(profile_name)?;
    let package = file
        .krate
        .path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    Run::new("cargo")
        .args([
            "build",
            "-p",
            package,
            "--lib",
            "--target",
            "wasm32-unknown-unknown",
            "--profile",
            &profile.cargo_profile,
        ])
        .to(output)
        .run()?;
    let module = paths::target()
        .join("wasm32-unknown-unknown")
        .join(cargo_folder(&profile.cargo_profile))
        .join(format!("{}.wasm", file.krate.out_name));
    let out = paths::root().join(&profile.out_dir);
    let stamp = out.join(".made-from");
    let made_from = describe(&module, profile_name, profile, &file)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == made_from) {
        return Ok(());
    }
    let _ = std::fs::remove_file(&stamp);
    let tools = setup.tools()?;
    match &tools.wasm_pack {
        Some(program) => {
            let path = path_with(&tools.wasm_bindgen)?;
            wasm_pack(program, &file, profile, &out, output, &path)?;
        }
        None => wasm_bindgen(&tools.wasm_bindgen, &module, profile, &out, output)?,
    }
    if let Some(flags) = profile.wasm_opt_flags() {
        wasm_opt(
            &out.join(format!("{}_bg.wasm", file.krate.out_name)),
            flags,
            output,
        )?;
    }
    std::fs::write(&stamp, made_from).context(|| stamp.display().to_string())
}

/// What wasm-pack does after cargo.
fn wasm_bindgen(
    program: &Path,
    module: &Path,
    profile: &Profile,
    out: &Path,
    output: &Output,
) -> Result<()> {
    Run::new(program)
        .args([module])
        .args(["--out-dir".as_ref(), out.as_os_str()])
        .args(["--target", &profile.target, "--typescript"])
        .to(output)
        .run()
}

/// `path` is the PATH with wasm-bindgen.
fn wasm_pack(
    program: &Path,
    file: &WasmPack,
    profile: &Profile,
    out: &Path,
    output: &Output,
    path: &OsStr,
) -> Result<()> {
    Run::new(program)
        .args([
            "build".as_ref(),
            paths::root().join(&file.krate.path).as_os_str(),
        ])
        .args([
            "--target",
            &profile.target,
            "--out-name",
            &file.krate.out_name,
        ])
        .args(["--out-dir".as_ref(), out.as_os_str()])
        .args(["--profile", &profile.cargo_profile])
        // It downloads nothing: wasm-bindgen is on the PATH, wasm-opt is ours to run.
        .args(["--mode", "no-install", "--no-opt", "--no-pack"])
        .env("PATH", path)
        .to(output)
        .run()
}

/// The PATH with the folder of this program in front.
fn path_with(program: &Path) -> Result<std::ffi::OsString> {
    let folder = program.parent().map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folder.into_iter().chain(std::env::split_paths(&path)))
        .context(|| "PATH".into())
}

/// The folder in `target/` of a cargo profile.
fn cargo_folder(cargo_profile: &str) -> &str {
    if cargo_profile == "dev" {
        "debug"
    } else {
        cargo_profile
    }
}

/// What the output depends on.
fn describe(module: &Path, name: &str, profile: &Profile, file: &WasmPack) -> Result<String> {
    let data = std::fs::metadata(module).context(|| paths::show(module))?;
    let changed = data.modified().context(|| paths::show(module))?;
    let since = changed
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!(
        "{name} {} {} {profile:?} {:?}",
        data.len(),
        since.as_nanos(),
        file.tools
    ))
}

/// Optimises a module in place with the wasm-opt of the npm package binaryen.
fn wasm_opt(module: &Path, flags: &[String], output: &Output) -> Result<()> {
    let bench = paths::root().join("bench");
    if !npm::up_to_date(&bench) {
        npm::install(&bench, output)?;
    }
    let program: PathBuf = bench.join("node_modules/.bin/wasm-opt");
    if !program.exists() {
        return Err(Failure::new(format!(
            "{} is missing: bench/package.json must pin binaryen",
            paths::show(&program)
        )));
    }
    let made = module.with_extension("optimised");
    Run::new(&program)
        .args([module.as_os_str(), "-o".as_ref(), made.as_os_str()])
        .args(flags)
        .to(output)
        .run()?;
    std::fs::rename(&made, module).context(|| module.display().to_string())
}
