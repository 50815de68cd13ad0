//! `cargo xtask lint`: clippy for every target that we build for, and the documentation.

use crate::build::native_selection;
use crate::failure::Result;
use crate::run::{Run, find_program};
use crate::steps::step;

/// Runs all of it; the first thing that is wrong ends it.
pub fn lint() -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    step("clippy, native", |output| {
        Run::new("cargo")
            .args(["clippy", "--all-targets"])
            .args(native_selection())
            .args(deny)
            .to(output)
            .run()
    })?;
    step("clippy, the commands", |output| {
        Run::new("cargo")
            .args(["clippy", "--all-targets", "-p", "xtask"])
            .args(deny)
            .to(output)
            .run()
    })?;
    for (package, target) in [
        ("twinfer-web", "wasm32-unknown-unknown"),
        ("twinfer-worker", "wasm32-wasip2"),
        ("twinfer-worker-key-value", "wasm32-wasip2"),
    ] {
        step(&format!("clippy, {package} for {target}"), |output| {
            Run::new("cargo")
                .args([
                    "clippy",
                    "-p",
                    package,
                    "--target",
                    target,
                    "--profile",
                    "wasm-dev",
                ])
                .args(deny)
                .to(output)
                .run()
        })?;
    }
    step("documentation", |output| {
        Run::new("cargo")
            .args(["doc", "--no-deps", "--lib"])
            .args(native_selection())
            .env("RUSTDOCFLAGS", "-D warnings")
            .to(output)
            .run()
    })?;
    if find_program(&["cargo-deny"]).is_some() {
        return step("cargo deny", |output| {
            Run::new("cargo").args(["deny", "check"]).to(output).run()
        });
    }
    println!("==> cargo-deny is not installed: deny.toml is not checked");
    Ok(())
}
