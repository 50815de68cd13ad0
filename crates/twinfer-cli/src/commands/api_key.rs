//! `twinfer api-key`

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use twinfer::{Result, bail, err};
use twinfer_gateway::{ApiKey, KeySettings, Patterns, Scope, Scopes, Settings};

use crate::output::Output;

/// Make an API key for `twinfer serve`
///
/// Prints the key, which is kept nowhere and cannot be shown again, and the lines with its hash
/// for the file of `twinfer serve --access`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer api-key --id clinic --models 'tumour-*' --expires 90
  twinfer api-key --id operator --scopes predict,metrics,admin
  twinfer api-key --id scraper --scopes metrics --json")]
pub struct ApiKeyArgs {
    /// Its name, for logs and limits
    #[arg(long, value_name = "NAME", default_value = "key")]
    pub id: String,

    /// What it may do: predict, metrics, admin, packages, page (repeatable, or with commas)
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_value = "predict", value_parser = scope)]
    pub scopes: Vec<Scope>,

    /// The models for which it may, as names or patterns with * (repeatable, or with commas)
    /// [default: all]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub models: Vec<String>,

    /// Days until it expires [default: never]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub expires: Option<u32>,
}

fn scope(text: &str) -> std::result::Result<Scope, String> {
    text.parse()
        .map_err(|error: twinfer_gateway::SettingsError| error.to_string())
}

pub fn run(args: &ApiKeyArgs, output: &Output) -> Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| err!(Internal, "the system has no random numbers: {e}"))?;
    let key = ApiKey::new(&random);
    let models = match &args.models[..] {
        [] => Patterns::all(),
        models => Patterns::new(models.to_vec()),
    };
    let settings = Settings {
        keys: vec![KeySettings {
            id: args.id.clone(),
            sha256: key.sha256(),
            scopes: Scopes::of(&args.scopes),
            models,
            rate: None,
            expires: args.expires.map(expiry),
        }],
        ..Settings::default()
    };
    let lines = toml(&settings)?;
    // What is printed must be what the server takes.
    if let Err(error) = Settings::from_toml(&lines) {
        bail!(InvalidParameter, "this key cannot be used: {error}");
    }
    let value = json!({"key": key.secret(), "settings": settings.keys[0]});
    output.print(&value, || {
        format!(
            "{}\n\nThe key is shown this once. For the file of `twinfer serve --access`:\n\n{lines}",
            key.secret()
        )
    })
}

fn expiry(days: u32) -> String {
    let time = SystemTime::now() + Duration::from_secs(u64::from(days) * 86_400);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Only the key: the rest of the file is the operator's.
fn toml(settings: &Settings) -> Result<String> {
    let only = json!({"keys": settings.keys});
    let text = toml::to_string(&only)
        .map_err(|e| err!(Internal, "the settings have no TOML form: {e}"))?;
    Ok(text.trim_end().to_owned())
}
