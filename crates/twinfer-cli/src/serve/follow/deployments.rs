//! Deployments on this server: a document is put in force when all its versions have proved
//! themselves here. Until then the former one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use twinfer::{ErrorCode, Result, bail};
use twinfer_deploy::{Deployment, Record, Variant};
use twinfer_host::LogLevel;
use twinfer_package::{Digest, FolderStore, Index, Parts, Reference};

use super::{Follower, PREPARE, RETRY};
use crate::serve::approved::View;
use crate::serve::change::{Refusal, prove};
use crate::serve::releases::{InForce, Releases, Waiting};

/// What is wanted, and what was found of it.
#[derive(Default)]
pub(super) struct Wanted {
    /// As soon as there are any.
    releases: Option<Arc<Releases>>,
    /// The documents of the state, by the name of the model.
    documents: BTreeMap<String, String>,
    /// Versions that have proved themselves here.
    proved: BTreeSet<Digest>,
    /// Versions that are in force, and that the registry no longer has.
    gone: BTreeSet<Digest>,
    /// Documents with a version that did not, and when it is tried again.
    refused: BTreeMap<String, (String, Option<Instant>)>,
}

impl Wanted {
    /// Looks at what was refused once more.
    pub(super) fn forget_refusals(&mut self) {
        self.refused.clear();
    }
}

impl Follower {
    /// From now on deployments are followed.
    pub fn follow_releases(&mut self, releases: Arc<Releases>) {
        self.wanted.releases = Some(releases);
    }

    /// Takes what the state says now.
    pub fn take_records(&mut self, records: Vec<(String, Result<Record>)>) {
        let mut documents = BTreeMap::new();
        for (name, record) in records {
            match record {
                Ok(record) => drop(documents.insert(name, record.document().to_owned())),
                Err(error) => {
                    // Nobody takes the place of what cannot be read.
                    if let Some(document) = self.wanted.documents.get(&name) {
                        documents.insert(name.clone(), document.clone());
                    }
                    let fields = json!({"name": name, "code": error.code().as_str(), "message": error.message()});
                    self.event(LogLevel::Error, "deployment_unreadable", fields);
                }
            }
        }
        self.wanted.documents = documents;
        self.follow_deployments();
    }

    /// The state cannot be read: what is in force stays.
    pub fn not_read(&self, error: &twinfer::Error) {
        let fields = json!({"code": error.code().as_str(), "message": error.message()});
        self.event(LogLevel::Warn, "deployments_not_read", fields);
    }

    /// What the registry has, and what it no longer has of that which is in force: nobody's request
    /// fails because a tag was taken away. Without a tag, for it is asked by digest only.
    pub(super) fn with_what_is_in_force(&mut self, mut index: Index) -> Index {
        let (approved, there) = (self.approved.index(), index.digests());
        let mut digests: BTreeSet<Digest> = match &self.wanted.releases {
            Some(releases) => releases.versions_here(),
            // At the start nobody knows yet what will be.
            None => approved
                .digests()
                .iter()
                .flat_map(|digest| digest.parse::<Digest>())
                .collect(),
        };
        digests.retain(|digest| !there.contains(&digest.to_string()));
        index.merge(&approved.untagged(&digests, &index));
        self.wanted.gone = digests;
        index
    }

    /// Puts in force what is wanted and can be.
    pub(super) fn follow_deployments(&mut self) {
        let Some(releases) = self.wanted.releases.clone() else {
            return;
        };
        let mut documents = self.wanted.documents.clone();
        // What somebody published into the registry, where the state says nothing.
        for name in self.approved.index().by_name().into_keys() {
            if documents.contains_key(&name) {
                continue;
            }
            if let Ok(Some(document)) = self.source.store().deployment(&name) {
                documents.insert(name, String::from_utf8_lossy(&document).into_owned());
            }
        }
        for (name, _) in releases.all_here() {
            if !documents.contains_key(&name) && self.put_document(&name, None) {
                releases.set_here(&name, None);
                let fields = json!({"name": name});
                self.event(LogLevel::Info, "deployment_removed", fields);
            }
        }
        for (name, document) in documents {
            if *self.stop.borrow() {
                return;
            }
            match releases.here(&name) {
                Some(here) if here.document == document => {
                    self.look_after(&releases, &here.deployment)
                }
                _ => self.put_in_force(&releases, &name, document),
            }
        }
    }

    /// What is in force may lose a version: it is said, and served on.
    fn look_after(&self, releases: &Releases, here: &Deployment) {
        let whole = here.variants.iter().try_for_each(|variant| {
            if self.wanted.gone.contains(&variant.digest) {
                bail!(
                    UnknownVersion,
                    "`{}` ({}) is in force and no longer in the registry: it is served on as long as \
                     this server has it; put it back, or release another version",
                    variant.version,
                    variant.digest
                );
            }
            let reference = reference(&here.name, variant)?;
            self.approved.index().resolve(&reference).map(drop)
        });
        let Err(error) = whole else {
            if releases.forget_waiting(&here.name) {
                let fields = json!({"name": here.name, "revision": here.revision});
                self.event(LogLevel::Info, "deployment_whole", fields);
            }
            return;
        };
        let waiting = Waiting {
            revision: here.revision,
            code: error.code().as_str().into(),
            message: error.message().into(),
        };
        if releases.set_waiting(&here.name, waiting) {
            let fields = json!({
                "name": here.name, "revision": here.revision,
                "code": error.code().as_str(), "message": error.message(),
            });
            self.event(LogLevel::Error, "deployment_broken", fields);
        }
    }

    fn put_in_force(&mut self, releases: &Releases, name: &str, document: String) {
        if let Some((refused, again)) = self.wanted.refused.get(name)
            && *refused == document
            && again.is_none_or(|again| Instant::now() < again)
        {
            return;
        }
        let begin = Instant::now();
        let read = Deployment::from_json(document.as_bytes());
        let revision = read.as_ref().map_or(0, |deployment| deployment.revision);
        let refusal = |error: &twinfer::Error| Refusal::new(name.to_owned(), None, error);
        let admitted = read
            .map_err(|error| refusal(&error))
            .and_then(|deployment| self.admit(name, &deployment).map(|()| deployment));
        match admitted {
            Ok(deployment) => {
                self.wanted.refused.remove(name);
                if !self.put_document(name, Some(&document)) {
                    return;
                }
                let weights: BTreeMap<&str, u16> = deployment
                    .variants
                    .iter()
                    .map(|variant| (variant.version.as_str(), variant.weight))
                    .collect();
                let fields = json!({
                    "name": name, "revision": revision, "weights": weights,
                    "phase": deployment.status.phase.as_str(), "ms": begin.elapsed().as_millis() as u64,
                });
                self.event(LogLevel::Info, "deployment_in_force", fields);
                let here = InForce {
                    document,
                    deployment,
                };
                releases.set_here(name, Some(here));
            }
            Err(refusal) => {
                let waits = is_awaited(&refusal.code);
                let waiting = Waiting {
                    revision,
                    code: refusal.code.clone(),
                    message: refusal.message.clone(),
                };
                if releases.set_waiting(name, waiting) {
                    let fields = json!({
                        "name": name, "revision": revision, "reference": refusal.reference,
                        "code": refusal.code, "message": refusal.message,
                    });
                    let level = match waits {
                        true => LogLevel::Warn,
                        false => LogLevel::Error,
                    };
                    self.event(level, "deployment_waiting", fields);
                }
                // What the registry is yet to bring is looked at again each time: that costs nothing.
                if !waits {
                    let again = refusal.passing.then(|| Instant::now() + RETRY);
                    self.wanted
                        .refused
                        .insert(name.to_owned(), (document, again));
                }
            }
        }
    }

    /// Whether every version may take traffic here: it is approved, trusted, whole, gives its golden
    /// examples, and is loaded by the component. Those that are new are loaded by the instances.
    fn admit(&mut self, name: &str, deployment: &Deployment) -> Result<(), Refusal> {
        let failed = |error: twinfer::Error| Refusal::new(name.to_owned(), None, &error);
        deployment.check_is_of(name).map_err(failed)?;
        let mut references = Vec::new();
        for variant in &deployment.variants {
            let reference = reference(name, variant).map_err(failed)?;
            self.approved.index().resolve(&reference).map_err(failed)?;
            references.push((reference, variant.digest));
        }
        let mut fresh = Vec::new();
        for (reference, digest) in references {
            if self.wanted.proved.contains(&digest) {
                continue;
            }
            let refused =
                |error: twinfer::Error| Refusal::new(reference.to_string(), Some(digest), &error);
            self.prove(name, &reference).map_err(refused)?;
            let path = format!("/v2/models/{name}/versions/{digest}/ready");
            if let Some(host) = &self.host {
                let folder = self
                    .approved
                    .trial(self.approved.index())
                    .map_err(refused)?;
                let tried = host.try_out(&folder, std::slice::from_ref(&path));
                tried.map_err(|no| Refusal {
                    reference: reference.to_string(),
                    digest: Some(digest),
                    passing: crate::serve::change::is_passing(&no.code),
                    code: no.code,
                    message: format!("in the component: {}", no.message),
                })?;
            }
            fresh.push((path, digest));
        }
        if let (Some(host), false) = (&self.host, fresh.is_empty()) {
            let paths: Vec<String> = fresh.iter().map(|(path, _)| path.clone()).collect();
            host.prepare(name, &paths, PREPARE);
        }
        self.wanted
            .proved
            .extend(fresh.into_iter().map(|(_, digest)| digest));
        Ok(())
    }

    fn prove(&self, name: &str, reference: &Reference) -> Result<()> {
        let view = View::new(self.approved.index(), self.source.store())?;
        let last = self.counters.get(name).copied();
        self.trust.consider(&view, reference, last)?;
        prove(&view, reference, Parts::All)
    }

    /// Whether it is written.
    fn put_document(&self, name: &str, document: Option<&str>) -> bool {
        let served = self.approved.served();
        let store = FolderStore::with_index(&served, served.join("index.json"));
        let put = store.put_deployment(name, document.map(str::as_bytes));
        if let Err(error) = &put {
            let fields =
                json!({"name": name, "code": error.code().as_str(), "message": error.message()});
            self.event(LogLevel::Error, "deployment_not_written", fields);
        }
        put.is_ok()
    }
}

fn reference(name: &str, variant: &Variant) -> Result<Reference> {
    format!("{name}@{}", variant.digest).parse()
}

/// Whether the registry may yet bring what is missing.
fn is_awaited(code: &str) -> bool {
    let awaited = [ErrorCode::UnknownModel, ErrorCode::UnknownVersion];
    awaited.iter().any(|awaited| awaited.as_str() == code)
}
