//! Options that several commands have, and how they are read.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use twinfer_registry::Location;

/// How registries on the network are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Reach registries of other machines without TLS
    #[arg(long, global = true)]
    pub plain_http: bool,

    /// Certificates (PEM) of authorities to trust besides those of the system
    #[arg(long, global = true, value_name = "FILE", env = "TWINFER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Where a registry is.
pub fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| Location::parse(&text))
}

/// `NAME=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}
