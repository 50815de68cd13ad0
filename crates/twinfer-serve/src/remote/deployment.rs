//! The deployments beside the index: which version of a model answers, and how that moves.

use std::collections::BTreeSet;

use twinfer::{Result, err};
use twinfer_cache::{Backend, Env, Origin, Policy};
use twinfer_package::limits::MAX_DEPLOYMENT_BYTES;
use twinfer_package::{Reference, tag_version};

use super::Remote;
use super::approved::{Approved, digests, read};
use super::follow::{is_gone, is_transient};
use crate::App;

impl<B: Backend, E: Env, O: Origin> Remote<B, E, O> {
    /// Asks for the deployment of a model, where nobody who shares the cache has; says whether
    /// there is one of which this instance did not know.
    ///
    /// # Errors
    /// `network` when nobody can say: without its deployment any version could answer. Where the
    /// model is in use already, it goes on as it is.
    pub(super) async fn learn_deployment(&self, app: &App, reference: &Reference) -> Result<bool> {
        let name = reference.name();
        if self.options.policy == Policy::Offline || self.knows_deployment(name)? {
            return Ok(false);
        }
        // Nobody makes us ask for what no model is called.
        if !self.has_model(name)? && self.may_ask_early() {
            self.refresh(app, Some(reference)).await;
        }
        if !self.has_model(name)? || self.knows_deployment(name)? {
            return Ok(self
                .approved()?
                .deployments
                .get(name)
                .is_some_and(Option::is_some));
        }
        let document = match self.ask_for_deployment(name).await {
            Ok(document) => document,
            // It goes on as it is, and whether there is one is asked again when it is time.
            Err(error) if self.approved()?.used.contains(name) => {
                (self.options.log)(&format!("the deployment of `{name}` is not known: {error}"));
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(document) = &document {
            read(name, document)?;
        }
        let there = document.is_some();
        self.put_in_force(name, document).await?;
        Ok(there)
    }

    /// Asks for the deployments of the models that this instance uses. One that moved comes into
    /// force when every version in it is loaded and has proved itself. A model that has none is
    /// asked about only when the registry was `asked` for its index: who says how long that holds
    /// is not asked for all else meanwhile.
    pub(super) async fn follow_deployments(&self, app: &App, asked: bool) -> Result<()> {
        let names: BTreeSet<String> = {
            let state = self.state();
            state.used.iter().map(|r| r.name().to_owned()).collect()
        };
        for name in names {
            let known = self.approved()?.deployments.get(&name).cloned().flatten();
            if known.is_none() && !asked {
                continue;
            }
            let newer = match self.ask_for_deployment(&name).await {
                Ok(Some(newer)) => newer,
                // A file that is missing for a moment is no release.
                Ok(None) => continue,
                Err(error) => {
                    (self.options.log)(&format!(
                        "the deployment of `{name}` was not followed: {error}"
                    ));
                    continue;
                }
            };
            let refused = self.state().refused_deployments.get(&name).cloned();
            if Some(&newer) == known.as_ref() || Some(&newer) == refused.as_ref() {
                continue;
            }
            match self.prove_deployment(app, &name, &newer).await {
                Ok(revision) => {
                    (self.options.log)(&format!(
                        "deployment: `{name}` follows revision {revision} from now on"
                    ));
                    self.put_in_force(&name, Some(newer)).await?;
                }
                Err(error) => {
                    self.tell_refused(&name, &error);
                    // The index that has it may be on its way.
                    if !is_transient(&error) && !is_gone(&error) {
                        self.state().refused_deployments.insert(name, newer);
                    }
                }
            }
        }
        Ok(())
    }

    async fn prove_deployment(&self, app: &App, name: &str, document: &str) -> Result<u64> {
        let deployment = read(name, document)?;
        let approved = self.approved()?;
        let mut proved = Vec::new();
        for variant in &deployment.variants {
            let reference: Reference = format!("{name}@{}", variant.digest).parse()?;
            approved.index.resolve(&reference)?;
            proved.push(self.prove_one(app, &approved, &reference).await?);
        }
        self.move_to(app, proved).await;
        Ok(deployment.revision)
    }

    async fn put_in_force(&self, name: &str, document: Option<String>) -> Result<()> {
        let mut next = Approved::clone(&*self.approved()?);
        let before = next.deployments.insert(name.to_owned(), document.clone());
        let before = digests(name, before.flatten().as_deref());
        if let Some(document) = &document {
            let deployment = read(name, document)?;
            let now = digests(name, Some(document));
            let mut state = self.state();
            state.refused_deployments.remove(name);
            // What it answers for moves with it, and what it no longer names is no longer used.
            state.used.retain(|used| {
                let Some(digest) = used.digest() else {
                    let tag = used.tag();
                    let answered = tag.is_none_or(|tag| tag == deployment.alias);
                    let version = tag.is_some_and(|tag| tag_version(tag).is_some());
                    return used.name() != name || !answered || version;
                };
                now.contains(digest) || !before.contains(digest)
            });
        }
        self.approve(next).await;
        Ok(())
    }

    /// The mirrors are asked in turn; who answers counts.
    async fn ask_for_deployment(&self, name: &str) -> Result<Option<String>> {
        let mut problem = err!(Network, "there is no registry to ask");
        for origin in &self.origins {
            match origin.deployment(name).await {
                Ok(None) => return Ok(None),
                Ok(Some(document)) if document.len() as u64 > MAX_DEPLOYMENT_BYTES => {
                    problem = err!(
                        InvalidDeployment,
                        "the deployment of `{name}` has more than {MAX_DEPLOYMENT_BYTES} bytes"
                    );
                }
                Ok(Some(document)) => match String::from_utf8(document) {
                    Ok(document) => return Ok(Some(document)),
                    Err(_) => {
                        problem = err!(
                            InvalidDeployment,
                            "the deployment of `{name}` is not in UTF-8"
                        );
                    }
                },
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    fn knows_deployment(&self, name: &str) -> Result<bool> {
        Ok(self.approved()?.deployments.contains_key(name))
    }

    fn has_model(&self, name: &str) -> Result<bool> {
        let tags = self.approved()?.index.resolve(&name.parse()?);
        Ok(!tags.is_err_and(|error| error.code() == twinfer::ErrorCode::UnknownModel))
    }
}
