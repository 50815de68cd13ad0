//! The project's commands, run as `cargo xtask COMMAND`.
//!
//! `compare` and `http` are files of the suites' crate. That crate brings the engine with it
//! and takes minutes to build; this one has to be there in seconds.

mod base64;
mod bench;
mod browser;
mod build;
mod cache;
mod check;
mod clients;
#[path = "../../tests/src/compare.rs"]
#[allow(dead_code)] // The suites use more of it.
mod compare;
mod counts;
mod debian;
mod demo;
mod deploy;
mod derived;
mod engines;
mod failure;
mod figures;
mod golden;
#[path = "../../tests/src/http.rs"]
#[allow(dead_code)] // The suites use more of it.
mod http;
mod image;
mod libraries;
mod lint;
mod npm;
mod onnx;
mod paths;
mod profiles;
mod python;
mod run;
mod serve;
mod setup;
mod sizes;
mod soak;
mod steps;
mod table;
mod test;

use failure::{Failure, Result};

const HELP: &str = "\
The project's commands.

usage: cargo xtask COMMAND [OPTIONS]

  setup      install what is missing: wasm targets, wasm-bindgen, wasm-pack, npm packages
  build      build the command, the component, the wasm of the page, the npm package
  demo       setup, build, pack the sample models, serve them, compare all places in a table,
             keep serving until Ctrl-C
               --once            end after the table; exit code 1 when anything differs
               --listen ADDRESS  where to serve (default 127.0.0.1:8080)
  test       setup, build, and every test there is; the last line is `N passed, N failed`
               --only SUITE      one suite only: fmt, xtask, sizes, rust, npm, conformance,
                                 cache, clients, deploy, soak, onnx, python (may be repeated)
  conformance
             how the backend tests of ONNX end
               --json            as JSON
               --write           and make tests/onnx/expected.json say so
  lint       clippy for the native crates and for both wasm targets; cargo-deny when it is there
  generate   write the files that are made from the code (docs/errors.md and alike)
  sizes      raw, gzip and brotli bytes of each artifact, beside the figures of bench/sizes.json
               --json            as JSON
               --write           build, and write the figures that `test` compares with
               --profile NAME    profile of wasm-pack.toml: dev (default) or release
  bench      measure everything, write bench/results/ and docs/benchmarks.md
               --quick           fewer rounds, results are not written to docs/
               --only MEASURE    one measure only: sizes, network, page, trees, component,
                                 fresh, throughput, servers, start, artifacts, native, host-memory,
                                 load-memory;
                                 or prepare: build, and measure nothing (may be repeated)
               --profile NAME    profile of wasm-pack.toml: release (default) or dev
  soak       twinfer serve and a page under mixed load while models change and are released: right answers of
             live versions only, memory and open files that do not grow, a clean end; writes target/soak.json
               --minutes N       how long (default 10)
  image      the container image of the server, without a daemon (needs buildah); prints its digest
               --profile NAME    release (default), or dev: what demo and tests have built
               --format NAME     oci (default): an OCI image layout; docker: an archive for `docker load`
               --tag TAG         its tag (default: the version)
               --output PATH     where it goes (default target/image/oci, target/image/twinfer.tar)
  help       this text
";

fn main() -> std::process::ExitCode {
    run::handle_interrupts();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = dispatch(&arguments);
    run::leave_to_interrupt();
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            run::end_children();
            if !failure.is_silent() {
                eprintln!("\nerror: {failure}");
            }
            std::process::ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    let mut options = Options::new(rest);
    match command.as_str() {
        "setup" => {
            options.end()?;
            setup::install()
        }
        "build" => {
            options.end()?;
            build::everything()?;
            engines::default_engine("dev")
        }
        "demo" => {
            let once = options.flag("--once");
            let listen = options
                .value("--listen")?
                .unwrap_or_else(|| "127.0.0.1:8080".into());
            options.end()?;
            demo::demo(once, &listen)
        }
        "test" => {
            let only = options.values("--only")?;
            options.end()?;
            test::test(&only)
        }
        "conformance" => {
            let (json, write) = (options.flag("--json"), options.flag("--write"));
            options.end()?;
            onnx::conformance(json, write)
        }
        "lint" => {
            options.end()?;
            lint::lint()
        }
        "generate" => {
            options.end()?;
            check::generate()
        }
        "sizes" => {
            let json = options.flag("--json");
            let write = options.flag("--write");
            let profile = options.value("--profile")?.unwrap_or_else(|| "dev".into());
            options.end()?;
            if write {
                sizes::write(&profile)
            } else {
                sizes::sizes(json, &profile)
            }
        }
        "bench" => {
            let quick = options.flag("--quick");
            let profile = options
                .value("--profile")?
                .unwrap_or_else(|| "release".into());
            let only = options.values("--only")?;
            options.end()?;
            bench::bench(quick, &profile, &only)
        }
        "soak" => {
            let minutes = options.value("--minutes")?.unwrap_or_else(|| "10".into());
            options.end()?;
            soak::soak(soak::minutes(&minutes)?)
        }
        "image" => {
            let image = image::Image::new(
                options.value("--profile")?,
                options.value("--tag")?,
                options.value("--format")?.as_deref(),
                options.value("--output")?,
            )?;
            options.end()?;
            image.build()
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::usage(format!(
            "there is no command `{other}`\n\n{HELP}"
        ))),
    }
}

/// What stands behind the command.
struct Options {
    rest: Vec<String>,
}

impl Options {
    fn new(rest: &[String]) -> Self {
        Self {
            rest: rest.to_vec(),
        }
    }

    /// Takes a flag out; says whether it was there.
    fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|argument| argument != name);
        self.rest.len() != before
    }

    /// Takes every `NAME VALUE` and `NAME=VALUE` out.
    fn values(&mut self, name: &str) -> Result<Vec<String>> {
        let mut values = Vec::new();
        while let Some(value) = self.value(name)? {
            values.push(value);
        }
        Ok(values)
    }

    /// Takes `NAME VALUE` or `NAME=VALUE` out.
    fn value(&mut self, name: &str) -> Result<Option<String>> {
        let prefix = format!("{name}=");
        let Some(at) = self
            .rest
            .iter()
            .position(|a| a == name || a.starts_with(&prefix))
        else {
            return Ok(None);
        };
        let argument = self.rest.remove(at);
        if let Some(value) = argument.strip_prefix(&prefix) {
            return Ok(Some(value.to_string()));
        }
        if at >= self.rest.len() {
            return Err(Failure::usage(format!("{name} needs a value")));
        }
        Ok(Some(self.rest.remove(at)))
    }

    /// Refuses what nothing took.
    fn end(&self) -> Result<()> {
        match self.rest.first() {
            None => Ok(()),
            Some(other) => Err(Failure::usage(format!(
                "there is no option `{other}` here\n\n{HELP}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_in_both_forms_and_the_rest_is_refused() {
        let given: Vec<String> = [
            "--once", "--listen", "a:1", "--only=x", "--only", "y", "--typo",
        ]
        .map(Into::into)
        .to_vec();
        let mut options = Options::new(&given);
        assert!(options.flag("--once"));
        assert_eq!(options.value("--listen").unwrap().as_deref(), Some("a:1"));
        assert_eq!(options.values("--only").unwrap(), ["x", "y"]);
        assert_eq!(options.value("--only").unwrap(), None);
        assert!(options.end().is_err());
    }
}
