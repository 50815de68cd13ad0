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

/// A line of a list of deployments.
///
/// # Errors
/// As [`describe`].
pub fn summary(name: &str, record: Result<Record>) -> Result<Json> {
    Ok(match record {
        Ok(record) => {
            let told = describe(&record)?;
            json!({
                "name": name, "revision": told["revision"], "phase": told["phase"],
                "strategy": told["deployment"]["strategy"]["kind"],
                "variants": told["deployment"]["variants"],
            })
        }
        Err(error) => json!({
            "name": name, "error": error.message(), "code": error.code().as_str(),
        }),
    })
}
