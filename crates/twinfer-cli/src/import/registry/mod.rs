//! `models:/…`: models from an MLflow registry, in a tracking folder or on a server.

mod folder;
mod http;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};

use twinfer::{Result, bail, err};

use super::args::ImportArgs;
use super::files::is_inside;

/// A model from a registry, in a folder.
pub struct Found {
    pub folder: PathBuf,
    pub registered: Registered,
}

/// What the registry says about it.
pub struct Registered {
    pub name: String,
    /// `None` for a logged model that was never registered.
    pub version: Option<u64>,
    pub description: Option<String>,
}

/// What stands after `models:/` (mlflow, `mlflow/store/artifact/utils/models.py`).
#[derive(Debug, PartialEq, Eq)]
enum Uri {
    Registered {
        name: String,
        which: Which,
    },
    /// A logged model of MLflow 3: `m-` and an identifier.
    Logged(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Which {
    Version(u64),
    Alias(String),
    Latest,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(number) => write!(f, "version {number}"),
            Self::Alias(alias) => write!(f, "alias `{alias}`"),
            Self::Latest => f.write_str("version"),
        }
    }
}

impl Uri {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            err!(
                InvalidReference,
                "`{}` is not models:/NAME, models:/NAME/VERSION or models:/NAME@ALIAS",
                text.chars().take(80).collect::<String>().escape_debug()
            )
        };
        let rest = text.strip_prefix("models:/").ok_or_else(wrong)?;
        if is_model_id(rest) {
            return Ok(Self::Logged(rest.into()));
        }
        let (name, which) = if let Some((name, version)) = rest.split_once('/') {
            let which = match version {
                "latest" => Which::Latest,
                number => Which::Version(number.parse().map_err(|_| {
                    err!(
                        InvalidReference,
                        "`{}` is no version; MLflow's stages are not supported (MLflow deprecates them): use an alias, models:/{name}@ALIAS",
                        number.chars().take(80).collect::<String>().escape_debug()
                    )
                })?),
            };
            (name, which)
        } else if let Some((name, alias)) = rest.rsplit_once('@') {
            (name, Which::Alias(alias.into()))
        } else {
            (rest, Which::Latest)
        };
        let part = |text: &str| is_inside(text) && !text.contains('/');
        if !part(name) || matches!(&which, Which::Alias(alias) if !part(alias)) {
            return Err(wrong());
        }
        Ok(Self::Registered {
            name: name.into(),
            which,
        })
    }
}

fn is_model_id(text: &str) -> bool {
    text.strip_prefix("m-")
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Finds a model in the registry; what is not on this machine is fetched into `target`.
///
/// # Errors
/// `invalid_reference` for another form of address; `unknown_model`, `unknown_version`;
/// `unauthorized`, `network`, `timeout` from a server; `storage`.
pub fn get(text: &str, args: &ImportArgs, target: &Path) -> Result<Found> {
    let uri = Uri::parse(text)?;
    let place = match args.tracking_uri.as_deref().filter(|t| !t.is_empty()) {
        Some(place) => place,
        // What MLflow itself uses where nothing is set.
        None if Path::new("mlruns").is_dir() => "mlruns",
        None => bail!(
            InvalidReference,
            "where is the registry? Give --tracking-uri (or MLFLOW_TRACKING_URI) with the address of the MLflow server or its folder"
        ),
    };
    if place.starts_with("http://") || place.starts_with("https://") {
        return server::get(place, text, &uri, args, target);
    }
    let folder = match place.strip_prefix("file:") {
        Some(path) => file_path(path),
        None if place.contains(':') && !Path::new(place).is_dir() => bail!(
            InvalidReference,
            "the tracking address `{}` is not supported: start `mlflow server` on it and name that address, http://127.0.0.1:5000",
            place.split(':').next().unwrap_or_default()
        ),
        None => PathBuf::from(place),
    };
    folder::get(&folder, &uri)
}

/// The path of a `file:` URI without its scheme.
fn file_path(rest: &str) -> PathBuf {
    let path = match rest.strip_prefix("//") {
        // file://localhost/path and file:///path
        Some(with_host) => with_host.find('/').map_or("", |at| &with_host[at..]),
        None => rest,
    };
    PathBuf::from(
        percent_encoding::percent_decode_str(path)
            .decode_utf8_lossy()
            .as_ref(),
    )
}

fn no_model(name: &str) -> twinfer::Error {
    err!(UnknownModel, "the registry has no model `{name}`")
}

fn no_version(name: &str, which: &Which) -> twinfer::Error {
    err!(
        UnknownVersion,
        "the model `{name}` has no {which} in the registry"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_mlflow() {
        let registered = |name: &str, which| Uri::Registered {
            name: name.into(),
            which,
        };
        for (text, uri) in [
            (
                "models:/Risk Model/3",
                registered("Risk Model", Which::Version(3)),
            ),
            (
                "models:/a@champion",
                registered("a", Which::Alias("champion".into())),
            ),
            ("models:/a", registered("a", Which::Latest)),
            ("models:/a/latest", registered("a", Which::Latest)),
            (
                "models:/m-0123456789abcdef0123456789abcdef",
                Uri::Logged("m-0123456789abcdef0123456789abcdef".into()),
            ),
        ] {
            assert_eq!(Uri::parse(text).unwrap(), uri, "{text}");
        }
        for text in [
            "models:a",
            "models:/",
            "models:/../x",
            "models:/..@a",
            "models:/a/Production",
            "models:/a/-1",
            "models:/a/1/2",
            "models:/a@..",
            "models:/a@",
            "models:///a/1",
        ] {
            let error = Uri::parse(text).unwrap_err();
            assert_eq!(error.code(), twinfer::ErrorCode::InvalidReference, "{text}");
        }
    }

    #[test]
    fn file_addresses_become_paths() {
        for (text, path) in [
            ("///a/b%20c", "/a/b c"),
            ("/a", "/a"),
            ("rel", "rel"),
            ("//localhost/a", "/a"),
        ] {
            assert_eq!(file_path(text), Path::new(path), "{text}");
        }
    }
}
