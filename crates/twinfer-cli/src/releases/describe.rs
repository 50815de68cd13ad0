//! A deployment for people and programs.

use serde_json::{Value as Json, json};
use twinfer::{Result, err};
use twinfer_deploy::Record;

/// What there is to say of a deployment.
///
/// # Errors
/// `internal`: every record has a form in JSON.
pub fn describe(record: &Record) -> Result<Json> {
    let parse = |text: &str| -> Result<Json> {
        serde_json::from_str(text).map_err(|e| err!(Internal, "a deployment is no JSON: {e}"))
    };
    let deployment = parse(record.document())?;
    Ok(json!({
        "name": deployment["name"],
        "revision": record.revision(),
        "phase": deployment["status"]["phase"],
        "deployment": deployment,
        "former": record.former().map(parse).transpose()?,
        "events": record.events(),
    }))
}
