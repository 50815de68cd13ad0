//! `twinfer deploy`

mod place;
mod server;
mod text;
mod wanted;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use twinfer::{Result, err};
use twinfer_package::FolderStore;

use self::place::{Place, PlaceArgs};
use self::wanted::ApplyArgs;
use crate::output::Output;
use crate::registry::Registry;

/// Release versions: which of a model gets which share of the traffic
///
/// Deployments are kept in the state of `twinfer serve`. They are changed over its admin API
/// (`--server`, with a key that has the scope admin), or in the state itself (`--state`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer deploy apply face-detector:1.1.0
      all of the traffic, at once; servers test the version first
  twinfer deploy apply face-detector:1.1.0 --canary 5%:10m,25%:10m,50%:10m --guard 'error_rate<1%' --guard 'p99<1.5x'
      5 % for 10 minutes, and so on; goes back by itself when more than 1 % of the requests fail,
      or one in a hundred takes more than 1.5 times as long as with the version before
  twinfer deploy apply deployment.json --server https://models.example --key-file admin.key
  twinfer deploy status face-detector
  twinfer deploy rollback face-detector --reason 'wrong labels'
  twinfer deploy publish --output /srv/www/registry
      as files, for pages that read the registry from a static host")]
pub struct DeployArgs {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin a release: a version at once, a canary, an A/B test, blue/green, a shadow
    Apply(Box<ApplyArgs>),
    /// Say what is released, and how far it is
    Status {
        /// The model [default: all]
        name: Option<String>,
    },
    /// Give everything to a variant: the candidate, unless another is named
    Promote {
        /// The model
        name: String,
        /// The variant
        #[arg(long, value_name = "NAME")]
        variant: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Go back to the deployment before this release, exactly as it was
    Rollback {
        /// The model
        name: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Let a release go no further by itself; guardrails still roll it back
    Pause {
        /// The model
        name: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Let a paused release go on
    Resume {
        /// The model
        name: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Have no deployment of a model any more: its highest version answers
    Delete {
        /// The model
        name: String,
        /// Only where the deployment still has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Write deployments into a registry folder, as pages and other hosts read them
    Publish {
        /// The models [default: all that have a deployment]
        names: Vec<String>,
        /// The folder of the registry
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
}

/// What every change can be told.
#[derive(Debug, Default, Args)]
pub struct ChangeArgs {
    /// Why, for the log and for `status`
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,

    /// Only where the deployment still has this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
}

/// Does what the command line says.
///
/// # Errors
/// Those of the place, and of what is asked of the deployment.
pub fn run(args: &DeployArgs, registry: &Registry, output: &Output) -> Result<()> {
    let place = Place::open(&args.place, registry)?;
    let turn = |action, name: &str, variant: Option<&str>, change: &ChangeArgs| {
        let told = place.turn(action, name, variant, change)?;
        output.print(&told, || text::one(&told))
    };
    match &args.action {
        Action::Apply(apply) => {
            let told = apply.run(&place)?;
            output.print(&told, || text::one(&told))
        }
        Action::Status { name: Some(name) } => {
            let told = place.status(name)?;
            output.print(&told, || text::one(&told))
        }
        Action::Status { name: None } => {
            let told = place.list()?;
            output.print(&told, || text::list(&told))
        }
        Action::Promote {
            name,
            variant,
            change,
        } => turn("promote", name, variant.as_deref(), change),
        Action::Rollback { name, change } => turn("rollback", name, None, change),
        Action::Pause { name, change } => turn("pause", name, None, change),
        Action::Resume { name, change } => turn("resume", name, None, change),
        Action::Delete { name, if_revision } => {
            place.delete(name, *if_revision)?;
            output.print(&json!({"deleted": name}), || {
                format!("{name} has no deployment any more")
            })
        }
        Action::Publish {
            names,
            output: folder,
        } => publish(&place, names, folder, output),
    }
}

fn publish(place: &Place, names: &[String], folder: &Path, output: &Output) -> Result<()> {
    let mut names = names.to_vec();
    if names.is_empty() {
        let all = place.list()?;
        let all = all["deployments"].as_array().into_iter().flatten();
        names.extend(all.filter_map(|one| Some(one["name"].as_str()?.to_owned())));
    }
    if !folder.is_dir() {
        return Err(err!(
            Storage,
            "there is no folder {}: name the folder of the registry",
            folder.display()
        ));
    }
    let store = FolderStore::new(folder);
    let mut written = Vec::new();
    for name in &names {
        let told = place.status(name)?;
        // The members are kept in their order: this is the document byte for byte.
        let document = told["deployment"].to_string();
        store.put_deployment(name, Some(document.as_bytes()))?;
        written.push(json!({"name": name, "revision": told["deployment"]["revision"]}));
    }
    output.print(&Json::Array(written), || {
        let files = names.iter().map(|name| format!("deployments/{name}.json"));
        files.collect::<Vec<_>>().join("\n")
    })
}
