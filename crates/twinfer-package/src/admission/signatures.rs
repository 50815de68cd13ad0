//! What the signatures of a package amount to under a policy.

use twinfer::{Error, Result, bail};

use super::Verdict;
use crate::trust::{Terms, Unsigned};
use crate::{Bundle, Manifest};

/// One good signature is enough, whatever lies beside it: who can add bad ones could take
/// the good one away as well. Without a good one, one that claims an accepted key and is
/// wrong is an error even where unsigned packages are allowed: something was damaged.
pub(super) fn judge(
    terms: &Terms,
    manifest: &Manifest,
    attached: usize,
    bundles: &[Result<Bundle>],
) -> Result<Verdict> {
    let mut keys: Vec<String> = Vec::new();
    let mut wrong: Option<Error> = None;
    for bundle in bundles {
        match bundle
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|bundle| signer(terms, manifest, bundle))
        {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(error) => {
                wrong.get_or_insert(error);
            }
        }
    }
    if !keys.is_empty() {
        keys.sort();
        keys.dedup();
        return Ok(Verdict::Allowed { keys });
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let what = match attached {
        0 => "it is not signed",
        _ => "it is signed by no key that the trust policy accepts for this name",
    };
    match terms.unsigned {
        Unsigned::Allow => Ok(Verdict::Allowed { keys }),
        Unsigned::Warn => Ok(Verdict::Warned {
            reason: what.into(),
        }),
        Unsigned::Refuse if attached > 0 => bail!(UntrustedKey, "the package is refused: {what}"),
        Unsigned::Refuse => bail!(UnsignedPackage, "the package is refused: {what}"),
    }
}

/// The key of the policy that made this signature; `None` when none of them did.
fn signer(terms: &Terms, manifest: &Manifest, bundle: &Bundle) -> Result<Option<String>> {
    let mut wrong = None;
    for (name, key) in terms.keys.iter().filter(|(_, key)| bundle.may_be_by(key)) {
        match bundle.verify(key) {
            Ok(statement) => {
                statement.covers(manifest)?;
                return Ok(Some(name.clone()));
            }
            Err(error) => wrong = Some(error),
        }
    }
    match (wrong, bundle.hint()) {
        // It names a key of ours, and that key did not make it.
        (Some(error), Some(_)) => Err(error),
        _ => Ok(None),
    }
}
