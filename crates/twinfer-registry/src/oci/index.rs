//! The index that is made of the answers of a registry.

use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use twinfer::Result;
use twinfer_package::{Descriptor, Reference, SIGNED_TAGS, referrers_tag};

use super::Inner;
use super::read::{Known, Line};
use crate::entries::{highest, index_json};

/// How many tags a message about a missing one needs.
const TOLD: usize = 21;

/// What an index was made of: with it the registry is asked whether anything of that changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// What the reference points to.
    package: Option<Known>,
    /// What is attached to that.
    referrers: Option<Known>,
    signed_tags: Option<Known>,
}

/// An index, and what it was made of; `None` where it could not be made of anything that the
/// registry can be asked about again.
pub(crate) struct Made {
    pub index: Vec<u8>,
    pub parts: Option<Parts>,
}

impl Inner {
    /// The index with what has to do with a reference; `None` where it is the same as before.
    pub(crate) async fn index_of(
        &self,
        reference: &Reference,
        before: Option<&Parts>,
    ) -> Result<Option<Made>> {
        let name = reference.name();
        let repository = self.repository(name);
        let tag = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Some(digest.to_string()),
            (None, Some(tag)) => Some(tag.to_owned()),
            (None, None) => highest(&self.tags(&repository).await?).cloned(),
        };
        let known = |part: fn(&Parts) -> &Option<Known>, what: &str| {
            part(before?).as_ref().filter(|known| known.what == what)
        };
        let package = match &tag {
            Some(tag) => {
                self.ask(&repository, tag, known(|p| &p.package, tag))
                    .await?
            }
            None => None,
        };
        let Some(package) = package else {
            // What there is instead, for the message.
            let lines = self.lines(name, &repository, TOLD).await?;
            return Ok(Some(Made {
                index: index_json(&lines)?,
                parts: None,
            }));
        };
        let digest = package.found.digest;
        let attached = referrers_tag(&digest);
        let before_that = known(|p| &p.referrers, &attached);
        let before_this = known(|p| &p.signed_tags, SIGNED_TAGS);
        let (referrers, signed_tags) = try_join(
            self.referrers(&repository, &digest, before_that),
            self.ask(&repository, SIGNED_TAGS, before_this),
        )
        .await?;
        let parts = Parts {
            package: Some(package),
            referrers,
            signed_tags,
        };
        if before.is_some_and(|before| before.same(&parts)) {
            return Ok(None);
        }
        let tag = reference.tag().map(str::to_owned);
        let shown = tag.or_else(|| {
            reference
                .digest()
                .is_none()
                .then_some(parts.tag())
                .flatten()
        });
        Ok(Some(Made {
            index: index_json(&parts.lines(name, shown))?,
            parts: Some(parts),
        }))
    }
}

impl Parts {
    /// Whether both point to the same. An ETag may change without that.
    fn same(&self, other: &Self) -> bool {
        let pairs = [
            (&self.package, &other.package),
            (&self.referrers, &other.referrers),
            (&self.signed_tags, &other.signed_tags),
        ];
        let points = |known: &Option<Known>| {
            known
                .as_ref()
                .map(|known| (known.what.clone(), known.found.digest))
        };
        pairs
            .iter()
            .all(|(ours, theirs)| points(ours) == points(theirs))
    }

    /// The tag that was asked for.
    fn tag(&self) -> Option<String> {
        self.package.as_ref().map(|known| known.what.clone())
    }

    fn lines(&self, name: &str, tag: Option<String>) -> Vec<Line> {
        let found = |known: &Option<Known>| known.as_ref().map(|known| known.found.clone());
        let line = |tag: String, found: Descriptor| (Some(format!("{name}:{tag}")), found);
        let mut lines = Vec::new();
        if let Some(package) = found(&self.package) {
            let attached = referrers_tag(&package.digest);
            lines.push((tag.map(|tag| format!("{name}:{tag}")), package));
            lines.extend(found(&self.referrers).map(|list| line(attached, list)));
        }
        lines.extend(found(&self.signed_tags).map(|tags| line(SIGNED_TAGS.into(), tags)));
        lines
    }
}
