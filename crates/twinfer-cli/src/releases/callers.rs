//! Whether the versions of a deployment serve those who call the one that is served now.

use twinfer::Result;
use twinfer_deploy::{Deployment, Variant};
use twinfer_package::{Reference, Store, check_callers};

/// Checks every version against the primary of the deployment before, or of itself.
///
/// # Errors
/// `incompatible_signature`; those of opening the packages.
pub fn check(
    store: &dyn Store,
    deployment: &Deployment,
    before: Option<&Deployment>,
) -> Result<()> {
    let Some(primary) = before.unwrap_or(deployment).primary() else {
        return Ok(());
    };
    let reference = |variant: &Variant| -> Result<Reference> {
        format!("{}@{}", deployment.name, variant.digest).parse()
    };
    let others = deployment.variants.iter();
    for variant in others.filter(|variant| variant.digest != primary.digest) {
        check_callers(store, &reference(primary)?, &reference(variant)?)?;
    }
    Ok(())
}
