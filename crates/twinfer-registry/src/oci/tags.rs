//! Which models and tags a registry has.

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use twinfer::{ErrorCode, Result, bail, err};
use twinfer_package::limits::MAX_MANIFEST_BYTES;
use twinfer_package::{Reference, SIGNED_TAGS, check_name, media};

use super::read::Line;
use super::{Inner, pull};
use crate::auth::Scope;
use crate::entries::index_json;
use crate::net::{Answer, Call, said};

/// Most tags of a model, and most models, that are listed.
const MOST: usize = 10_000;
/// Entries that are asked for at a time.
const PAGE: usize = 1_000;
/// Requests at the same time, where there is one for each tag.
const TOGETHER: usize = 8;

#[derive(Deserialize)]
struct Tags {
    // Some registries give null for none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Inner {
    /// The tags of a repository; none where it is not there.
    pub(super) async fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let what = format!("the tags of {repository}");
        let path = format!("v2/{repository}/tags/list?n={PAGE}");
        self.pages(&what, &path, &pull(repository), |json| {
            Ok(serde_json::from_slice::<Tags>(json)?.tags)
        })
        .await
    }

    /// The models under the prefix.
    async fn names(&self) -> Result<Vec<String>> {
        let what = "the list of repositories";
        let scope = pull("catalog");
        let all = self
            .pages(what, &format!("v2/_catalog?n={PAGE}"), &scope, |json| {
                Ok(serde_json::from_slice::<Catalog>(json)?.repositories)
            })
            .await;
        let all = all.map_err(|e| match e.code() {
            ErrorCode::Network => e,
            code => twinfer::Error::new(
                code,
                format!("{e}. Not every registry lists what it has: name a model"),
            ),
        })?;
        let own = |repository: &String| -> Option<String> {
            let name = match self.prefix.is_empty() {
                true => repository,
                false => repository.strip_prefix(&self.prefix)?.strip_prefix('/')?,
            };
            check_name(name).is_ok().then(|| name.to_owned())
        };
        Ok(all.iter().filter_map(own).collect())
    }

    /// Follows the pages of a list.
    async fn pages(
        &self,
        what: &str,
        path: &str,
        scope: &Scope,
        read: impl Fn(&[u8]) -> serde_json::Result<Option<Vec<String>>>,
    ) -> Result<Vec<String>> {
        let mut url = self.url(path)?;
        let mut all: Vec<String> = Vec::new();
        loop {
            let call = Call::get(url.clone(), what);
            let answer = self
                .net
                .answer(&call, self.access(scope), MAX_MANIFEST_BYTES)
                .await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if scope.repository != "catalog" => return Ok(Vec::new()),
                _ => bail!(
                    Storage,
                    "{what}: {} answered with {}",
                    self.host,
                    said(&answer)
                ),
            }
            let page = read(&answer.body)
                .map_err(|e| err!(Network, "{what}: {url} does not answer as a registry: {e}"))?
                .unwrap_or_default();
            let none = page.is_empty();
            all.extend(page);
            if all.len() > MOST {
                bail!(Storage, "{what}: there are more than {MOST}");
            }
            match next(&url, &answer) {
                // A page without anything on it, again and again, would be for ever.
                Some(next) if !none && next != url && self.auth.covers(&next) => url = next,
                _ => return Ok(all),
            }
        }
    }

    /// The tags of a model as lines of an index, at most so many.
    pub(super) async fn lines(
        &self,
        name: &str,
        repository: &str,
        most: usize,
    ) -> Result<Vec<Line>> {
        let mut tags = self.tags(repository).await?;
        tags.retain(|tag| Reference::new(name, tag).is_ok());
        tags.truncate(most);
        let line = async |tag: String| -> Result<Option<Line>> {
            // One that has gone in the meantime is none.
            let Some(mut found) = self.head(repository, &tag).await? else {
                return Ok(None);
            };
            if tag == SIGNED_TAGS {
                // What this tag is for is fixed; HEAD does not tell.
                found.artifact_type = Some(media::TAGS.into());
            }
            Ok(Some((Some(format!("{name}:{tag}")), found)))
        };
        let all = iter(tags).map(line).buffer_unordered(TOGETHER);
        let all: Vec<Option<Line>> = all.try_collect().await?;
        let mut lines: Vec<Line> = all.into_iter().flatten().collect();
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        let mut seen = self.seen();
        for (_, descriptor) in &lines {
            seen.repositories
                .insert(descriptor.digest, repository.to_owned());
        }
        drop(seen);
        Ok(lines)
    }

    /// Every tag of every model.
    pub(crate) async fn whole_index(&self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        for name in self.names().await? {
            lines.extend(self.index_of_name(&name).await?);
        }
        index_json(&lines)
    }

    /// Every tag of a model.
    pub(super) async fn index_of_name(&self, name: &str) -> Result<Vec<Line>> {
        self.lines(name, &self.repository(name), MOST).await
    }
}

/// The address of the next page (`Link: <…>; rel="next"`, RFC 8288).
fn next(url: &Url, answer: &Answer) -> Option<Url> {
    let link = answer.header("link")?;
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    url.join(target).ok()
}
