//! Where deployments are changed: a server, or a state.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use twinfer::{Result, bail, err};
use twinfer_deploy::{By, DeploymentSpec, Record};
use twinfer_package::Reference;

use super::ChangeArgs;
use super::server::Server;
use crate::registry::Registry;
use crate::releases::{Deployments, callers, describe, now};
use crate::serve::StatePlaceArgs;

/// Where deployments are.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The server, such as https://models.example [default: none, the state is changed itself]
    #[arg(long, global = true, value_name = "URL", env = "TWINFER_SERVER")]
    server: Option<String>,

    /// File with an API key of the server that has the scope admin; or the variable TWINFER_KEY
    /// has the key
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    state: StatePlaceArgs,
}

/// How a release begins.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Only where the deployment still has this revision.
    pub if_revision: Option<u64>,
    /// Also where it breaks callers of what is served now.
    pub breaking: bool,
    /// Why.
    pub reason: &'a str,
}

/// An open place.
pub enum Place<'a> {
    Server(Server),
    State {
        deployments: Deployments,
        runtime: Runtime,
        registry: &'a Registry,
    },
}

impl<'a> Place<'a> {
    /// # Errors
    /// `invalid_parameter`, `storage`.
    pub fn open(args: &PlaceArgs, registry: &'a Registry) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| err!(Internal, "no runtime: {e}"))?;
        if let Some(address) = &args.server {
            let key = key(args)?;
            let server = Server::new(address, key, registry.net(), runtime)?;
            return Ok(Self::Server(server));
        }
        let identity = crate::serve::identity(registry.location(), &[]);
        let state = runtime.block_on(async { args.state.connect(&identity) })?;
        Ok(Self::State {
            deployments: Deployments::new(state),
            runtime,
            registry,
        })
    }

    /// What there is to say of a deployment.
    ///
    /// # Errors
    /// `unknown_deployment`; those of the place.
    pub fn status(&self, name: &str) -> Result<Json> {
        match self {
            Self::Server(server) => server.get(&format!("deployments/{name}")),
            Self::State {
                deployments,
                runtime,
                ..
            } => describe(&runtime.block_on(deployments.known(name))?),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// Those of the place.
    pub fn list(&self) -> Result<Json> {
        match self {
            Self::Server(server) => server.get("deployments"),
            Self::State {
                deployments,
                runtime,
                ..
            } => {
                let mut all = Vec::new();
                for (name, record) in runtime.block_on(deployments.all())? {
                    all.push(crate::releases::summary(&name, record)?);
                }
                Ok(json!({"deployments": all}))
            }
        }
    }

    /// Begins a release.
    ///
    /// # Errors
    /// What is wrong with it; `revision_mismatch`; those of the place.
    pub fn apply(&self, spec: &DeploymentSpec, how: How<'_>) -> Result<Json> {
        let name = &spec.name;
        match self {
            Self::Server(server) => server.put(name, spec, &how),
            Self::State {
                deployments,
                runtime,
                registry,
            } => {
                let (index, store) = (registry.index(Some(name))?, registry.store()?);
                let at = now();
                let deployment = spec.resolve(0, at, |tag| {
                    Ok(index.resolve(&Reference::new(name, tag)?)?.digest)
                })?;
                let author = author();
                let by = By {
                    author: &author,
                    at,
                    reason: how.reason,
                };
                let change = |record: Option<&Record>| {
                    let before = record.map(Record::deployment).transpose()?;
                    if !how.breaking {
                        callers::check(store, &deployment, before.as_ref())?;
                    }
                    match record {
                        Some(record) => record.apply(&deployment, by),
                        None => Record::first(&deployment, by),
                    }
                };
                let changed = deployments.change(name, how.if_revision, change);
                describe(&runtime.block_on(changed)?)
            }
        }
    }

    /// `promote`, `rollback`, `pause` or `resume`.
    ///
    /// # Errors
    /// `unknown_deployment`, `deployment_conflict`, `revision_mismatch`; those of the place.
    pub fn turn(
        &self,
        action: &str,
        name: &str,
        variant: Option<&str>,
        change: &ChangeArgs,
    ) -> Result<Json> {
        match self {
            Self::Server(server) => server.turn(action, name, variant, change),
            Self::State {
                deployments,
                runtime,
                ..
            } => {
                let author = author();
                let by = By {
                    author: &author,
                    at: now(),
                    reason: &change.reason,
                };
                let turned = |record: Option<&Record>| {
                    let record = record.ok_or_else(|| crate::releases::unknown(name))?;
                    record.turn(action, variant, by)
                };
                let changed = deployments.change(name, change.if_revision, turned);
                describe(&runtime.block_on(changed)?)
            }
        }
    }

    /// Takes one away.
    ///
    /// # Errors
    /// `unknown_deployment`, `revision_mismatch`; those of the place.
    pub fn delete(&self, name: &str, if_revision: Option<u64>) -> Result<()> {
        match self {
            Self::Server(server) => server.delete(name, if_revision),
            Self::State {
                deployments,
                runtime,
                ..
            } => runtime.block_on(deployments.delete(name, if_revision)),
        }
    }
}

/// Who is at the keyboard.
fn author() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    name.unwrap_or_else(|_| "command line".into())
}

fn key(args: &PlaceArgs) -> Result<Option<String>> {
    let text = match &args.key_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|e| err!(Storage, "the key in {}: {e}", file.display()))?,
        None => std::env::var("TWINFER_KEY").unwrap_or_default(),
    };
    let key = text.trim();
    if key.contains(char::is_whitespace) {
        bail!(InvalidParameter, "the API key has spaces in it");
    }
    Ok((!key.is_empty()).then(|| key.to_owned()))
}
