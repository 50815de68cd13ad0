//! Who may ask what: the flags, the file, and reading it again.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use twinfer::{Result, err};
use twinfer_gateway::{Scope, Scopes, Settings};
use twinfer_host::{AccessConfig, Handle, Log, LogLevel};

use crate::host_error::host_error;

/// Largest file of settings in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Flags about access.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// Who may ask what (TOML or JSON): API keys, tokens, certificates, rate limits; read again on
    /// SIGHUP [default: on a loopback address everything is open but admin, on others health and
    /// predictions]
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,

    /// What is open without credentials beside that: predict, metrics, packages, page
    /// (repeatable, or with commas)
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = scope)]
    open: Vec<Scope>,
}

impl AccessArgs {
    /// Whether a file says who may ask what.
    pub fn is_given(&self) -> bool {
        self.access.is_some()
    }

    /// As the host takes it.
    ///
    /// # Errors
    /// `invalid_parameter`, `storage`: a file that cannot be read or used.
    pub fn config(&self) -> Result<AccessConfig> {
        let mut config = AccessConfig {
            open: Scopes::of(&self.open),
            ..AccessConfig::default()
        };
        if let Some(file) = &self.access {
            config.settings = Some(read(file)?);
            config.folder = file.parent().map(Path::to_owned);
        }
        Ok(config)
    }

    /// Reads the file again, and says in the log what came of it. One that cannot be used changes
    /// nothing. Says whether it could.
    pub fn reload(&self, handle: &Handle, log: &Log) -> bool {
        let file = &self.access;
        let used = self
            .config()
            .and_then(|config| handle.reload_access(config).map_err(host_error));
        match used {
            Ok(()) => {
                if file.is_some() {
                    log.event(LogLevel::Info, "access_reloaded", json!({"file": file}));
                }
                true
            }
            Err(error) => {
                log.event(
                    LogLevel::Error,
                    "access_reload_failed",
                    json!({
                        "file": file, "code": error.code().as_str(), "error": error.message(),
                        "kept": "the settings from before",
                    }),
                );
                false
            }
        }
    }
}

fn read(file: &Path) -> Result<Settings> {
    let shown = file.display();
    let failed = |e: std::io::Error| err!(Storage, "the access settings {shown}: {e}");
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(err!(
            InvalidParameter,
            "the access settings {shown} have more than {MAX_FILE} bytes"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let settings = match file.extension() {
        Some(extension) if extension == "json" => Settings::from_json(&text),
        _ => Settings::from_toml(&text),
    };
    settings.map_err(|error| err!(InvalidParameter, "the access settings {shown}: {error}"))
}

fn scope(text: &str) -> std::result::Result<Scope, String> {
    match text.parse() {
        Ok(Scope::Admin) => Err("admin is never open: use `--access` with a key for it".into()),
        Ok(scope) => Ok(scope),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: AccessArgs,
    }

    fn parse(arguments: &[&str]) -> std::result::Result<AccessArgs, clap::Error> {
        let arguments = std::iter::once("serve").chain(arguments.iter().copied());
        Command::try_parse_from(arguments).map(|command| command.args)
    }

    #[test]
    fn flags_open_scopes_but_never_admin() {
        let args = parse(&["--open", "page,packages", "--open", "metrics"]).unwrap();
        let config = args.config().unwrap();
        assert_eq!(config.open.to_string(), "metrics,packages,page");
        assert!(config.settings.is_none() && config.guarded);
        assert!(parse(&["--open", "admin"]).is_err());
        assert!(parse(&["--open", "everything"]).is_err());
    }

    #[test]
    fn the_file_is_toml_or_json() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, good) in [
            ("a.toml", "open = ['page']", true),
            ("a.json", "{\"open\": [\"page\"]}", true),
            ("b.toml", "open = ['admin']", false),
            ("b.json", "open = ['page']", false),
        ] {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            let args = parse(&["--access", file.to_str().unwrap()]).unwrap();
            let config = args.config();
            assert_eq!(config.is_ok(), good, "{name}");
            match config {
                Ok(config) => assert_eq!(config.folder.as_deref(), Some(folder.path())),
                Err(error) => {
                    assert_eq!(error.code(), twinfer::ErrorCode::InvalidParameter);
                    assert!(error.message().contains(name), "{error}");
                }
            }
        }
        let missing = parse(&["--access", "/no/such/file"]).unwrap().config();
        assert_eq!(missing.unwrap_err().code(), twinfer::ErrorCode::Storage);
    }
}
